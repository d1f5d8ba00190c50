/**
 * Minting the tokens that clients connect with: JWTs signed with HS256 by WebCrypto, so it works in Node and on the edge.
 * Deliberately only minting, and only with a shared secret: nodes verify, and whoever has a private key has a library.
 */

import { InvalidArgumentError } from './errors.ts';
import { checkWhole } from './publishing.ts';
import { checkName, checkPattern, checkTenant, checkTopic, type Topic } from './topic.ts';

export { FanfareError, type FanfareErrorCode, InvalidArgumentError } from './errors.ts';

/** What a token says. */
export interface TokenGrant {
  /** The secret that nodes know (`FANFARE_JWT_HS256_SECRET`): at least 32 bytes. */
  secret: string | Uint8Array;
  tenant: string;
  /** The user, who gets `user:<user>` without asking. */
  user: string;
  /** Names of channels that the user may subscribe to, as patterns: `orders`, `team.*`, `**`. None when left out. */
  channels?: readonly string[];
  /** Topics that the user may publish to, as patterns with the kind: `channel:cursors:*`. None when left out. */
  publish?: readonly string[];
  /** Requests that the user may make, as patterns: `dashboard.*`. None when left out. */
  methods?: readonly string[];
  /** Topics that the node subscribes for the user. */
  subscribe?: readonly Topic[];
  /** How long it is good, in seconds: 600. Clients renew it before. */
  expiresInS?: number;
  /** The id by which it can be revoked. */
  jti?: string;
  /** For nodes that are configured to ask for it. */
  issuer?: string;
  audience?: string | readonly string[];
  /** Which of several secrets, for nodes that know them by name. */
  kid?: string;
  /** Further claims; none of those that the options above make. */
  claims?: Readonly<Record<string, unknown>>;
}

const SECRET_BYTES_MIN = 32;
const OWN_CLAIMS = ['sub', 'tenant', 'iat', 'exp', 'channels', 'publish', 'methods', 'subscribe', 'jti', 'iss', 'aud'];
const TOKEN_BYTES_MAX = 8192;

/** Signs a token. Throws `InvalidArgumentError` for what no node would accept. */
export async function mintToken(grant: TokenGrant): Promise<string> {
  const { secret, tenant, user, expiresInS = 600 } = grant;
  checkTenant(tenant);
  checkName('user', user);
  checkWhole(expiresInS, 1, 'expiresInS', 's');
  for (const name of ['channels', 'publish', 'methods'] as const) {
    eachOf(grant[name], name, (pattern, field) => checkPattern(field, pattern));
  }
  eachOf(grant.subscribe, 'subscribe', (topic, field) => checkOwnTopic(topic, field, user));
  const own = Object.keys(grant.claims ?? {}).find((name) => OWN_CLAIMS.includes(name));
  if (own !== undefined) {
    throw new InvalidArgumentError(`claims.${own}`, 'is made from the other options');
  }
  const issuedAt = Math.floor(Date.now() / 1000);
  const claims = {
    ...grant.claims,
    ...{ sub: user, tenant, iat: issuedAt, exp: issuedAt + expiresInS },
    ...given({
      channels: grant.channels,
      publish: grant.publish,
      methods: grant.methods,
      subscribe: grant.subscribe,
      jti: grant.jti,
      iss: grant.issuer,
      aud: grant.audience,
    }),
  };
  const header = { alg: 'HS256', typ: 'JWT', ...given({ kid: grant.kid }) };
  const signed = `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(JSON.stringify(claims)))}`;
  const token = `${signed}.${base64url(await sign(secret, signed))}`;
  if (token.length > TOKEN_BYTES_MAX) {
    const rule = `makes a token of ${token.length} bytes; nodes take at most ${TOKEN_BYTES_MAX}: grant by patterns`;
    throw new InvalidArgumentError('grant', rule);
  }
  return token;
}

async function sign(secret: string | Uint8Array, text: string): Promise<Uint8Array> {
  const bytes = typeof secret === 'string' ? utf8(secret) : secret;
  if (!(bytes instanceof Uint8Array) || bytes.length < SECRET_BYTES_MIN) {
    throw new InvalidArgumentError('secret', `must have at least ${SECRET_BYTES_MIN} bytes: openssl rand -hex 32`);
  }
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', Uint8Array.from(bytes), algorithm, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8(text)));
}

function checkOwnTopic(topic: unknown, field: string, user: string): void {
  checkTopic(topic, field);
  if (topic.startsWith('user:') && topic !== `user:${user}`) {
    throw new InvalidArgumentError(field, 'is the topic of another user');
  }
}

function eachOf(list: unknown, name: string, check: (item: unknown, field: string) => void): void {
  if (list === undefined) {
    return;
  }
  if (!Array.isArray(list)) {
    throw new InvalidArgumentError(name, 'must be an array of strings');
  }
  for (const [at, item] of list.entries()) {
    check(item, `${name}[${at}]`);
  }
}

function given(claims: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new TextEncoder().encode(text));
}

function base64url(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) {
    binary += String.fromCharCode(byte);
  }
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
