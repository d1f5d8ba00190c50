import { describe, expect, test } from 'vitest';
import { InvalidArgumentError } from '../src/errors.ts';
import { encodeEvent, levelsOf } from '../src/event.ts';
import { channel, checkTenant, checkTopic, TENANT, user } from '../src/topic.ts';

const BYTES_MAX = 1000;
const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidArgumentError);
    const { field, rule, message, code } = error as InvalidArgumentError;
    expect(message).toBe(`${field}: ${rule}`);
    expect(code).toBe('invalid_argument');
    return field;
  }
  return 'taken';
}

describe('topics', () => {
  test('are made from names', () => {
    expect([channel('orders'), user('42'), user(42), TENANT]).toEqual([
      'channel:orders',
      'user:42',
      'user:42',
      'tenant',
    ]);
    expect(channel('team:42/a.b')).toBe('channel:team:42/a.b');
    expect(refusal(() => channel(''))).toBe('channel');
    expect(refusal(() => user('a b'))).toBe('user');
  });

  test.each([
    'tenant',
    'user:42',
    'channel:a',
    'channel:ünï',
    `channel:${'x'.repeat(200)}`,
    'channel:tenant',
    'channel:a~',
    'channel:\u{a0}',
  ])('%j is one', (topic) => {
    expect(() => checkTopic(topic)).not.toThrow();
  });

  test.each([
    '',
    'orders',
    'channel',
    'channel:',
    'user:',
    'tenant:a',
    'Channel:a',
    'channel:a b',
    'channel:a\nb',
    'channel:\0',
    'channel:\u{7f}',
    'channel:\u{9f}',
    'channel:{a}',
    'channel:a*',
    'channel:a?',
    'channel:[a]',
    `channel:${'x'.repeat(201)}`,
    `channel:${'ü'.repeat(101)}`,
    'channel:\ud800',
    7,
    null,
    undefined,
  ])('%j is none', (topic) => {
    expect(refusal(() => checkTopic(topic))).toBe('topic');
  });

  test.each(['acme', 'A-b_9', 'x'.repeat(64), 'Nodes'])('%j is a tenant', (tenant) => {
    expect(() => checkTenant(tenant)).not.toThrow();
  });

  test.each(['', 'x'.repeat(65), 'a.b', 'a:b', 'ä', 'a\n', 'node', 'nodes', 'control', 'revoked', 7, null])(
    '%j is no tenant',
    (tenant) => {
      expect(refusal(() => checkTenant(tenant))).toBe('tenant');
    },
  );
});

describe('events', () => {
  test('are written as they are given', () => {
    const event = { type: 'a', data: { b: [1, null, 'ü'] }, id: null, at: 1, key: 'k', other: { x: 1 } };
    expect(JSON.parse(encodeEvent(event, BYTES_MAX))).toEqual(event);
    expect(encodeEvent({ type: 'a', data: undefined }, BYTES_MAX)).toBe('{"type":"a"}');
  });

  test.each<[string, unknown, string]>([
    ['null', null, 'event'],
    ['an array', [], 'event'],
    ['a text', '{"type":"a"}', 'event'],
    ['no type', { data: 1 }, 'event.type'],
    ['an empty type', { type: '' }, 'event.type'],
    ['a long type', { type: 'ü'.repeat(101) }, 'event.type'],
    ['half a surrogate in the type', { type: 'a\udc00' }, 'event.type'],
    ['half a surrogate in a name', { type: 'a', '\ud800': 1 }, 'event'],
    ['a fraction for at', { type: 'a', at: 1.5 }, 'event.at'],
    ['a text for at', { type: 'a', at: '2026' }, 'event.at'],
    ['a number for id', { type: 'a', id: 7 }, 'event.id'],
    ['a number for key', { type: 'a', key: 7 }, 'event.key'],
    ['a number for except', { type: 'a', except: 7 }, 'event.except'],
    ['a function for data', { type: 'a', data: () => 1 }, 'event.data'],
    ['a bigint in data', { type: 'a', data: [1n] }, 'event.data'],
    ['too many levels', { type: 'a', data: nested(64) }, 'event.data'],
    ['too many bytes', { type: 'a', data: 'ü'.repeat(490) }, 'event'],
  ])('%s is refused', (_, event, field) => {
    expect(refusal(() => encodeEvent(event, BYTES_MAX))).toBe(field);
  });

  test('the limits themselves are allowed', () => {
    expect(refusal(() => encodeEvent({ type: 'ü'.repeat(100), data: nested(63) }, BYTES_MAX))).toBe('taken');
    const rest = 1000 - '{"type":"a","data":""}'.length;
    expect(refusal(() => encodeEvent({ type: 'a', data: 'x'.repeat(rest) }, BYTES_MAX))).toBe('taken');
    expect(refusal(() => encodeEvent({ type: 'a', data: 'x'.repeat(rest + 1) }, BYTES_MAX))).toBe('event');
  });

  test('levels are counted outside of strings only', () => {
    expect(levelsOf('[{"a":"[[[","b\\"[[":[]}]')).toBe(3);
    expect(levelsOf('["\\\\",[]]')).toBe(2);
    expect(levelsOf('[[],[],[]]')).toBe(2);
  });
});
