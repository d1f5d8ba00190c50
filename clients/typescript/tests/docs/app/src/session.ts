/** However the application of the documents knows its users. */

export interface User {
  id: string;
  company: string;
  team: string;
}

export async function whoIs(request: unknown): Promise<User | undefined> {
  return request ? { id: '42', company: 'acme', team: 'north' } : undefined;
}
