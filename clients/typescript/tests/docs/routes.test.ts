import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from './run.ts';
import { snippet } from './snippets.ts';

const SECRET = 'a secret of thirty-two characters';

beforeEach(() => {
  vi.stubEnv('FANFARE_JWT_HS256_SECRET', SECRET);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

/** A token's claims, if a node with the secret would believe it. */
function claimsOf(token: string): unknown {
  const [header, claims, signature] = token.split('.') as [string, string, string];
  expect(createHmac('sha256', SECRET).update(`${header}.${claims}`).digest('base64url')).toBe(signature);
  return JSON.parse(Buffer.from(claims, 'base64url').toString());
}

const ANA = { sub: '42', tenant: 'acme', channels: ['orders', 'team.north'], exp: expect.any(Number) };

test('the route for Next.js gives out a token, to whoever is logged in', async () => {
  const { GET } = (await run(snippet('README.md', 'route next'))) as { GET(request: unknown): Promise<Response> };
  const answer = await GET(new Request('http://localhost/api/realtime-token'));
  expect(claimsOf(await answer.text())).toMatchObject(ANA);
  expect(answer.headers.get('Cache-Control')).toBe('no-store');
  expect((await GET(undefined)).status).toBe(401);
});

test('the route for Express gives out the same', async () => {
  await run(snippet('README.md', 'route express'));
  const handler = globalThis.routes.get('/api/realtime-token');
  const sent: string[] = [];
  const response = { set: () => response, send: (body: string) => sent.push(body), sendStatus: vi.fn() };
  await handler?.({}, response);
  expect(claimsOf(sent[0] ?? '')).toMatchObject(ANA);
});

test('the route for FastAPI is Python', () => {
  const { text } = snippet('README.md', 'route');
  execFileSync('python3', ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], { input: text });
});
