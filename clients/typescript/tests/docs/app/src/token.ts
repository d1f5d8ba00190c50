/** What fetches a token. */

export const getToken = (): Promise<string> => fetch('/api/realtime-token').then((answer) => answer.text());
