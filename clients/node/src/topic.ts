/**
 * Tenants and topics, and the rules that every node checks them by. Deliberately without permissions, and without the
 * prefix of Redis keys, which belongs to the publisher.
 */

import { InvalidArgumentError } from './errors.ts';

/** What an event is addressed to, inside one tenant. */
export type Topic = 'tenant' | `user:${string}` | `channel:${string}`;

/** The topic of everyone in the tenant. */
export const TENANT = 'tenant' satisfies Topic;

/** The longest `<id>` or `<name>` of a topic, in bytes of UTF-8. */
const NAME_BYTES_MAX = 200;
/** The longest tenant, in bytes. */
const TENANT_BYTES_MAX = 64;
/** The longest pattern of a token, in bytes. */
const PATTERN_BYTES_MAX = 256;
/** Names that a tenant can't have, since keys of the nodes' own use them under the same prefix. */
const TENANTS_RESERVED = ['node', 'nodes', 'control', 'revoked'];

/** `Cc` are U+0000–U+001F and U+007F–U+009F. */
const FORBIDDEN_IN_TOPIC = /[\p{Cc} {}*?[\]]/u;
const FORBIDDEN_IN_PATTERN = /[\p{Cc} {}?[\]]/u;
const LONE_SURROGATE = /\p{Surrogate}/u;

const utf8 = new TextEncoder();

/** The topic of whoever subscribed to the channel of this name. */
export function channel(name: string): `channel:${string}` {
  checkName('channel', name);
  return `channel:${name}`;
}

/** The topic of every connection of one user. */
export function user(id: string | number): `user:${string}` {
  const text = typeof id === 'number' ? String(id) : id;
  checkName('user', text);
  return `user:${text}`;
}

/** Throws unless it is the name of a tenant. */
export function checkTenant(tenant: unknown, field = 'tenant'): asserts tenant is string {
  if (typeof tenant !== 'string' || tenant === '') {
    throw new InvalidArgumentError(field, 'must be a string and not empty, such as "acme"');
  }
  if (tenant.length > TENANT_BYTES_MAX) {
    throw new InvalidArgumentError(field, `has ${tenant.length} characters; at most ${TENANT_BYTES_MAX} are allowed`);
  }
  const forbidden = /[^A-Za-z0-9_-]/u.exec(tenant);
  if (forbidden) {
    throw new InvalidArgumentError(field, `has ${named(forbidden[0])}; only A-Z, a-z, 0-9, _ and - are allowed`);
  }
  if (TENANTS_RESERVED.includes(tenant)) {
    throw new InvalidArgumentError(field, `"${tenant}" is reserved, like ${TENANTS_RESERVED.join(', ')}`);
  }
}

/** Throws unless it is a topic. */
export function checkTopic(topic: unknown, field = 'topic'): asserts topic is Topic {
  if (topic === TENANT) {
    return;
  }
  const name = typeof topic === 'string' ? /^(?:user|channel):(.*)$/su.exec(topic) : null;
  if (!name) {
    throw new InvalidArgumentError(field, 'must be "tenant", "user:<id>" or "channel:<name>"');
  }
  checkName(field, name[1]);
}

/** Throws unless it can stand after `user:` or `channel:`. */
export function checkName(field: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || name === '') {
    throw new InvalidArgumentError(field, 'must have a name of at least one character');
  }
  checkText(field, name, FORBIDDEN_IN_TOPIC, NAME_BYTES_MAX);
}

/** Throws unless it is a pattern for a token's permissions. */
export function checkPattern(field: string, pattern: unknown): asserts pattern is string {
  if (typeof pattern !== 'string' || pattern === '') {
    throw new InvalidArgumentError(field, 'must be a pattern that is not empty, such as "orders" or "team.*"');
  }
  checkText(field, pattern, FORBIDDEN_IN_PATTERN, PATTERN_BYTES_MAX);
  if (pattern.includes('***')) {
    throw new InvalidArgumentError(field, 'has more than two stars in a row, which mean nothing');
  }
}

/** How many bytes a text has in UTF-8. */
export function bytesOf(text: string): number {
  return utf8.encode(text).length;
}

/** Whether a text can be written in UTF-8 and read again as the same text. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

function checkText(field: string, text: string, forbidden: RegExp, bytesMax: number): void {
  if (!isWellFormed(text)) {
    throw new InvalidArgumentError(field, 'has half a surrogate pair, which is no UTF-8');
  }
  const found = forbidden.exec(text);
  if (found) {
    throw new InvalidArgumentError(
      field,
      `has ${named(found[0])}; spaces, control characters and { } * ? [ ] are not allowed in a name`,
    );
  }
  const bytes = bytesOf(text);
  if (bytes > bytesMax) {
    throw new InvalidArgumentError(field, `has ${bytes} bytes; at most ${bytesMax} are allowed`);
  }
}

function named(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const isVisible = code > 0x20 && (code < 0x7f || code > 0x9f);
  return isVisible
    ? `the character "${character}"`
    : `the character U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
