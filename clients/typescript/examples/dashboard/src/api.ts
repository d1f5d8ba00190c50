/** The backend's HTTP API, as any app has one. It knows nothing of Fanfare. */

/** Who looks at the pages: open `/?as=grace` as well, in another window. A real app has its users log in. */
export const me = new URLSearchParams(location.search).get('as') ?? 'ada';

let requests = 0;
/** How many requests were made: for the figures that the pages show about themselves. */
export const requestCount = () => requests;

export function get<T>(path: string): Promise<T> {
  return call<T>('GET', path);
}

export function post(path: string): Promise<unknown> {
  return call('POST', path);
}

async function call<T>(method: string, path: string): Promise<T> {
  requests += 1;
  const answer = await fetch(`/api${path}`, { method, headers: { 'x-user': me } });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
}
