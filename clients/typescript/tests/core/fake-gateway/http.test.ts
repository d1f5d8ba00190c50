/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';

stopTime();

describe('over HTTP', () => {
  const authorization = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });

  /** Opens a stream and keeps its messages: what `data` says, and the newest `id`. */
  async function stream(gateway: FakeGateway, topics: string, init: RequestInit = authorization('x')) {
    const response = await gateway.fetch(`https://fanfare.test/sse?topics=${topics}`, init);
    const state = { response, frames: [] as { op: string }[], id: '', comments: 0, end: undefined as unknown };
    const read = async () => {
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        for (const message of new TextDecoder().decode(part.value).split('\n\n').filter(Boolean)) {
          const line = (name: string) => message.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1];
          state.comments += message.startsWith(':') ? 1 : 0;
          state.id = line('id') ?? state.id;
          state.frames.push(...(line('data') ? [JSON.parse(line('data') as string)] : []));
        }
      }
    };
    read().then(
      () => {
        state.end = 'closed';
      },
      (error) => {
        state.end = error;
      },
    );
    await settle();
    return state;
  }

  test('a stream brings the same frames, and goes on from its id', async () => {
    const gateway = createFakeGateway({ answerEvents: 1 });
    const first = await stream(gateway, 'channel:orders,channel:team.7,nonsense');
    expect(first.response.headers.get('Content-Type')).toBe('text/event-stream');
    gateway.publish('channel:orders', { type: 'a' }, { durable: true });
    await settle();
    expect(first.frames).toMatchObject([
      { op: 'welcome' },
      { op: 'subscribed', topic: 'channel:orders' },
      { op: 'subscribed', topic: 'channel:team.7' },
      { op: 'error', topic: 'nonsense', code: 'invalid_topic' },
      { op: 'event', event: { type: 'a' } },
    ]);
    gateway.drop();
    await settle();
    expect(first.end).toBeInstanceOf(TypeError);
    gateway.publish('channel:orders', { type: 'b' }, { durable: true });
    gateway.publish('channel:orders', { type: 'c' }, { durable: true });
    const headers = { Authorization: 'Bearer x', 'Last-Event-ID': first.id };
    const second = await stream(gateway, 'channel:orders', { headers });
    expect(second.frames).toMatchObject([
      { op: 'welcome' },
      { op: 'subscribed', recovered: true, more: true, events: [{ event: { type: 'b' } }] },
      { op: 'subscribed', recovered: true, events: [{ event: { type: 'c' } }] },
    ]);
    gateway.disconnect({ code: 1012 });
    await settle();
    expect(second.frames.at(-1)).toMatchObject({ op: 'disconnect', code: 1012 });
    expect(second.end).toBe('closed');
  });

  test('a quiet stream has comments, and ends when its client goes', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const abort = new AbortController();
    const quiet = await stream(gateway, '', { ...authorization('x'), signal: abort.signal });
    await vi.advanceTimersByTimeAsync(50_000);
    expect(quiet.comments).toBe(6);
    expect(gateway.connections).toMatchObject([{ transport: 'sse' }]);
    abort.abort();
    await settle();
    expect(quiet.end).toMatchObject({ name: 'AbortError' });
    expect(gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  async function refusal(answer: Promise<Response>) {
    const response = await answer;
    return [response.status, (await response.json()).code];
  }

  test('a stream is refused with a status', async () => {
    const gateway = createFakeGateway();
    const open = (query: string, init?: RequestInit) =>
      refusal(gateway.fetch(`https://fanfare.test/sse${query}`, init));
    const many = Array.from({ length: 33 }, (_, n) => `channel:${n}`).join();
    expect(await open('')).toEqual([401, 'unauthenticated']);
    expect(await open(`?topics=${many}`, authorization('x'))).toEqual([400, 'too_many_subscriptions']);
    expect(await open('?last_event_id=nonsense', authorization('x'))).toEqual([400, 'bad_frame']);
  });

  test('commands are answered as their frames are', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const post = (command: string, body: object) =>
      gateway.fetch(`https://fanfare.test/client/v1/${command}`, {
        method: 'POST',
        body: JSON.stringify(body),
        ...authorization('x'),
      });
    const done = async (command: string, body: object) => (await post(command, body)).json();
    const event = { type: 'card.moved' };
    expect(await done('publish', { topic: 'channel:board', event })).toEqual({ op: 'published' });
    expect(await done('request', { method: 'echo', data: 7 })).toEqual({ op: 'reply', data: 7 });
    expect(await done('presence', { topic: 'channel:board' })).toMatchObject({ op: 'presence', count: 0, users: [] });
    expect(await done('history', { topic: 'channel:board', limit: 1 })).toMatchObject({ op: 'history', events: [] });
    expect(await refusal(post('request', { method: 'none' }))).toEqual([503, 'no_backend']);
    expect(await refusal(post('subscribe', {}))).toEqual([404, 'not_found']);
    const excepting = { topic: 'channel:board', event: { ...event, except: 'me' } };
    expect(await refusal(post('publish', excepting))).toEqual([403, 'forbidden']);
    expect(gateway.received.map(({ op }) => op)).toEqual([
      'publish',
      'request',
      'presence',
      'history',
      'request',
      'publish',
    ]);
  });
});
