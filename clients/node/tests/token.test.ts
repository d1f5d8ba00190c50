import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mintToken, type TokenGrant } from '../src/token.ts';
import { Listener } from './support/listener.ts';
import { FanfareNode, SECRET } from './support/node.ts';

const grant: TokenGrant = { secret: SECRET, tenant: 'acme', user: '42' };

function partsOf(token: string) {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
  return { header: read(header), claims: read(claims), signature, signed: `${header}.${claims}` };
}

describe('what a token says', () => {
  test('every grant has its claim, and the signature is HS256', async () => {
    const before = Math.floor(Date.now() / 1000);
    const token = await mintToken({
      ...grant,
      user: 'ünï-🎉',
      channels: ['orders', 'team.**'],
      publish: ['channel:cursors:*'],
      methods: ['dashboard.*'],
      subscribe: ['channel:news', 'user:ünï-🎉'],
      expiresInS: 60,
      jti: 't1',
      issuer: 'https://issuer',
      audience: ['a'],
      kid: 'k1',
      claims: { name: 'Ana' },
    });
    const { header, claims, signature, signed } = partsOf(token);
    expect(header).toEqual({ alg: 'HS256', typ: 'JWT', kid: 'k1' });
    expect(claims).toEqual({
      name: 'Ana',
      sub: 'ünï-🎉',
      tenant: 'acme',
      iat: expect.any(Number),
      exp: claims.iat + 60,
      channels: ['orders', 'team.**'],
      publish: ['channel:cursors:*'],
      methods: ['dashboard.*'],
      subscribe: ['channel:news', 'user:ünï-🎉'],
      jti: 't1',
      iss: 'https://issuer',
      aud: ['a'],
    });
    expect(claims.iat).toBeGreaterThanOrEqual(before);
    expect(signature).toBe(createHmac('sha256', SECRET).update(signed).digest('base64url'));
  });

  test('a secret may be bytes', async () => {
    const secret = new Uint8Array(32).fill(200);
    const { signature, signed } = partsOf(await mintToken({ ...grant, secret }));
    expect(signature).toBe(createHmac('sha256', secret).update(signed).digest('base64url'));
  });

  test.each<[string, Partial<TokenGrant>, string]>([
    ['a reserved tenant', { tenant: 'nodes' }, 'tenant'],
    ['a user that makes no topic', { user: 'a b' }, 'user'],
    ['no user', { user: '' }, 'user'],
    ['a short secret', { secret: 'short' }, 'secret'],
    ['a pattern with a question mark', { channels: ['orders', 'a?'] }, 'channels[1]'],
    ['three stars', { publish: ['channel:***'] }, 'publish[0]'],
    ['a list that is none', { methods: 'a' as never }, 'methods'],
    ['the topic of another user', { subscribe: ['user:7'] }, 'subscribe[0]'],
    ['no lifetime', { expiresInS: 0 }, 'expiresInS'],
    ['a claim that an option makes', { claims: { tenant: 'other' } }, 'claims.tenant'],
    ['more than a node reads', { channels: Array.from({ length: 100 }, (_, at) => 'x'.repeat(200) + at) }, 'grant'],
  ])('%s is refused', async (_, change, field) => {
    await expect(mintToken({ ...grant, ...change })).rejects.toMatchObject({ code: 'invalid_argument', field });
  });

  test('an error never has the secret in it', async () => {
    const error = await mintToken({ ...grant, secret: 'hunter2' }).catch(String);
    expect(error).not.toContain('hunter2');
  });
});

describe('a node', () => {
  let node: FanfareNode;

  beforeAll(async () => {
    node = await FanfareNode.start();
  });

  afterAll(() => node?.stop());

  test('takes the token, and grants what it says', async () => {
    const listener = await Listener.connect(node, {
      channels: ['orders'],
      subscribe: ['channel:news'],
      expiresInS: 100,
    });
    const welcome = await listener.frame('welcome', ({ op }) => op === 'welcome');
    expect(welcome).toMatchObject({ tenant: 'acme', user: '42' });
    expect(welcome.topics.map(({ topic }: { topic: string }) => topic)).toEqual(
      expect.arrayContaining(['tenant', 'user:42', 'channel:news']),
    );
    await listener.subscribe('channel:orders');
    listener.send({ op: 'subscribe', id: 2, topic: 'channel:invoices' });
    expect(await listener.frame('the refusal', ({ id }) => id === 2)).toMatchObject({ op: 'error', code: 'forbidden' });
    listener.close();
  });

  test('refuses the token of another secret', async () => {
    const listener = await Listener.connect(node, { secret: `another ${SECRET}` });
    expect(listener.frames[0]).toMatchObject({ op: 'disconnect', code: 4401 });
    listener.close();
  });
});
