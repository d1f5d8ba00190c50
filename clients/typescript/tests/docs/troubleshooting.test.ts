import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectionState, createClient } from '@fanfare/client';
import { createFakeGateway } from '@fanfare/client/testing';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ROOT } from './snippets.ts';

const text = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');

/** The table of close codes: each code, the client's state then, with its reason if it failed, and the error's code. */
const ROWS = [...text.matchAll(/^\| (\d{4}[^|]*) \|[^|]*\| ([^|]*) \| `(\w+)` \|/gm)].flatMap(
  ([, codes = '', state = '', error = '']) => {
    const [, reason] = /`failed`, `(\w+)`/.exec(state) ?? [];
    return [...codes.matchAll(/\d{4}/g)].map(([code]) => [Number(code), reason ?? 'reconnecting', error] as const);
  },
);

const summaryOf = (state: ConnectionState) => (state.status === 'failed' ? state.reason : state.status);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('the table has all close codes of the protocol', () => {
  const protocol = readFileSync(join(ROOT, '../../docs/protocol.md'), 'utf8');
  const [, table = ''] = /## When the connection ends\n(.*?)\n## /s.exec(protocol) ?? [];
  const codes = [...table.matchAll(/^\| ([\d, ]+)/gm)]
    .flatMap(([, cell = '']) => cell.match(/\d{4}/g) ?? [])
    .map(Number);
  expect(codes.length).toBeGreaterThan(15);
  expect(ROWS.map(([code]) => code).sort()).toEqual(codes.sort());
});

test.each(ROWS)('after %i the client is as the table says: %s, with the error %s', async (code, state, error) => {
  const gateway = createFakeGateway();
  const { url, WebSocket, fetch } = gateway;
  const reconnect = { intervalMs: 60_000 };
  const client = createClient({ url, WebSocket, fetch, getToken: () => gateway.token(), reconnect });
  const errors: string[] = [];
  client.onError((error) => errors.push(error.code));
  client.connect();
  await vi.waitFor(() => expect(client.state.get().status).toBe('connected'));

  gateway.refuseTokens();
  gateway.drop(code);
  await vi.waitFor(() => expect(errors).toEqual([error]));
  expect(summaryOf(client.state.get())).toBe(state);
  client.disconnect();
});
