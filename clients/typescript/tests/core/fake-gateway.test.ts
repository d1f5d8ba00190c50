/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { settle } from '../support/settle.ts';
import { welcomed, wireTo } from '../support/wire.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_767_225_600_000 });
});

afterEach(() => {
  vi.useRealTimers();
});

/** The number of a position. */
const seqOf = (position: string) => Number(position.split('-')[1]);

describe('a connection', () => {
  test('is welcomed to the tenant and to its own topic', async () => {
    const gateway = createFakeGateway({ tenant: 'acme' });
    const wire = await wireTo(gateway);
    await wire.send({ op: 'auth', token: gateway.token({ user: 'ana', subscribe: ['channel:news'], ttlMs: 60_000 }) });
    const [welcome] = wire.frames;
    expect(welcome).toMatchObject({ op: 'welcome', version: 1, tenant: 'acme', user: 'ana', ping_ms: 25_000 });
    expect(welcome.expires_at - welcome.server_time).toBe(60_000);
    expect(welcome.topics.map(({ topic }: { topic: string }) => topic)).toEqual(['tenant', 'user:ana', 'channel:news']);
    expect(gateway.connections).toMatchObject([{ id: welcome.connection, user: 'ana', transport: 'websocket' }]);
  });

  test('takes the token from a subprotocol, too, and never sends it back', async () => {
    const gateway = createFakeGateway();
    const socket = new gateway.WebSocket(gateway.url, ['fanfare.v1.json', 'fanfare.token.x']);
    await settle();
    expect(socket.protocol).toBe('fanfare.v1.json');
    expect(gateway.connections).toMatchObject([{ user: '42' }]);
  });

  test('may only send auth before it is known, and has five seconds for it', async () => {
    const gateway = createFakeGateway();
    const wire = await wireTo(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 1, code: 'unauthenticated' }]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4401, reconnect: false }]);
    expect(wire.closes).toMatchObject([{ code: 4401 }]);
    expect(gateway.connections).toEqual([]);
  });

  test('is closed when its token is refused', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens(1);
    const refused = await wireTo(gateway);
    await refused.send({ op: 'auth', token: 'x' });
    expect(refused.frames).toMatchObject([{ op: 'disconnect', code: 4401, reconnect: false }]);
    const wire = await welcomed(gateway);
    expect(wire.closes).toEqual([]);
  });

  test('is closed when its token expires, unless it renews it', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 60_000 });
    const wire = await welcomed(gateway);
    await vi.advanceTimersByTimeAsync(50_000);
    await wire.send({ op: 'auth', token: gateway.token() });
    expect(wire.news()).toContainEqual({ op: 'renewed', expires_at: Date.now() + 60_000 });
    await vi.advanceTimersByTimeAsync(30_000);
    await wire.send({ op: 'pong' });
    expect(wire.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(wire.closes).toEqual([{ code: 4409, reason: 'token_expired' }]);
  });

  test('keeps its old token when the new one is refused, or is another user’s', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'auth', token: gateway.token({ user: 'eve' }) });
    expect(wire.news()).toMatchObject([{ op: 'error', code: 'forbidden' }]);
    gateway.refuseTokens();
    await wire.send({ op: 'auth', token: 'x' });
    expect(wire.news()).toMatchObject([{ op: 'error', code: 'unauthenticated' }]);
    expect(wire.closes).toEqual([]);
  });

  test('loses the topics that a renewed token no longer allows', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:team.7' });
    wire.news();
    await wire.send({ op: 'auth', token: gateway.token({ channels: ['orders'] }) });
    expect(wire.news()).toMatchObject([
      { op: 'renewed' },
      { op: 'unsubscribed', topic: 'channel:team.7', code: 'forbidden' },
    ]);
  });

  test('is pinged when it is quiet, and closed when it leaves two pings unanswered', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const wire = await welcomed(gateway);
    await vi.advanceTimersByTimeAsync(10_000);
    await wire.send({ op: 'pong' });
    expect(wire.news()).toEqual([{ op: 'ping' }]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(wire.news()).toEqual([{ op: 'ping' }, { op: 'ping' }]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4408, reconnect: true }]);
  });

  test('is closed for what is no frame, and told of what is none that the gateway knows', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'dance', id: 7 });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 7, code: 'bad_frame' }]);
    await wire.send({ op: 'subscribe', id: 'seven', topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', topic: 'channel:orders', code: 'bad_frame' }]);
    await wire.send([] as never);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4400, reconnect: false }]);
  });

  test('closes as a browser has it: with its own code, or 1005 without one', async () => {
    const gateway = createFakeGateway();
    const [one, other] = [await welcomed(gateway), await welcomed(gateway)];
    expect(() => one.close(1001)).toThrow('1001');
    gateway.publish('tenant', { type: 'too.late' });
    one.close(4000);
    other.close();
    expect(one.closes).toEqual([]);
    await settle();
    expect(one.news()).toEqual([]);
    expect([one.closes, other.closes]).toMatchObject([[{ code: 4000 }], [{ code: 1005 }]]);
    expect(gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('topics', () => {
  test('are subscribed in their order, and what is refused doesn’t stop the others', async () => {
    const gateway = createFakeGateway({ durable: ['channel:ledger'] });
    const wire = await welcomed(gateway, gateway.token({ channels: ['orders', 'ledger', 'busy'] }));
    const lift = gateway.refuse('channel:busy', 'unavailable');
    const topics = ['channel:orders', 'channel:secret', 'nonsense', 'channel:ledger', 'channel:busy'];
    await wire.send({ op: 'subscribe', id: 1, topics: topics.map((topic) => ({ topic })) });
    expect(wire.news()).toMatchObject([
      { op: 'subscribed', id: 1, topic: 'channel:orders' },
      { op: 'error', id: 1, topic: 'channel:secret', code: 'forbidden' },
      { op: 'error', id: 1, topic: 'nonsense', code: 'invalid_topic' },
      { op: 'subscribed', id: 1, topic: 'channel:ledger', durable: true },
      { op: 'error', id: 1, topic: 'channel:busy', code: 'unavailable' },
    ]);
    lift();
    await wire.send({ op: 'subscribe', id: 2, topic: 'channel:busy' });
    expect(wire.news()).toMatchObject([{ op: 'subscribed', id: 2, topic: 'channel:busy' }]);
    gateway.refuse('channel:busy', 'too_large');
    await wire.send({ op: 'publish', id: 3, topic: 'channel:busy', event: { type: 'x' } });
    await wire.send({ op: 'history', id: 4, topic: 'channel:busy', limit: 1 });
    expect(wire.news()).toMatchObject([
      { op: 'error', id: 3, code: 'too_large' },
      { op: 'error', id: 4, code: 'too_large' },
    ]);
  });

  test('bring events after their answer and until they are left', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    gateway.publish('channel:orders', { type: 'order.touched', data: { id: 7 } });
    const position = gateway.publish('channel:orders', { type: 'order.updated' }, { durable: true });
    gateway.publish('channel:other', { type: 'order.updated' });
    gateway.publish('user:42', { type: 'export.ready' });
    await settle();
    expect(wire.news()).toEqual([
      expect.objectContaining({ op: 'subscribed' }),
      { op: 'event', topic: 'channel:orders', event: { type: 'order.touched', data: { id: 7 } } },
      { op: 'event', topic: 'channel:orders', position, event: { type: 'order.updated' } },
      { op: 'event', topic: 'user:42', event: { type: 'export.ready' } },
    ]);
    await wire.send({ op: 'unsubscribe', id: 2, topic: 'channel:orders' });
    gateway.publish('channel:orders', { type: 'order.touched' });
    await wire.send({ op: 'unsubscribe', id: 3, topic: 'tenant' });
    expect(wire.news()).toMatchObject([
      { op: 'unsubscribed', id: 2, topic: 'channel:orders' },
      { op: 'error', id: 3, code: 'forbidden' },
    ]);
  });

  describe('for a client that comes back', () => {
    async function withHistory(options: Parameters<typeof createFakeGateway>[0] = {}) {
      const gateway = createFakeGateway(options);
      const positions = [1, 2, 3, 4].map(
        (n) => gateway.publish('channel:orders', { type: 'order.updated', data: n }, { durable: true }) as string,
      );
      const wire = await welcomed(gateway);
      const back = async (since: string | undefined) => {
        await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders', ...(since && { since }) });
        const [answer] = wire.news();
        return { ...answer, data: answer.events?.map(({ event }: { event: { data: number } }) => event.data) };
      };
      return { gateway, positions, back };
    }

    test('tell nothing of the past to who asks for none', async () => {
      const { positions, back } = await withHistory();
      const answer = await back(undefined);
      expect(answer.position).toBe(positions[3]);
      expect(answer).not.toHaveProperty('recovered');
    });

    test('have what was missed', async () => {
      const { positions, back } = await withHistory();
      expect(await back(positions[1])).toMatchObject({ position: positions[3], recovered: true, data: [3, 4] });
      expect(await back(positions[3])).toMatchObject({ recovered: true, data: [] });
    });

    test('have it piece by piece when it doesn’t fit', async () => {
      const { positions, back } = await withHistory({ answerEvents: 2 });
      const first = await back(positions[0]);
      expect(first).toMatchObject({ recovered: true, more: true, data: [2, 3], position: positions[3] });
      const second = await back(first.events[1].position);
      expect(second).toMatchObject({ recovered: true, data: [4] });
      expect(second).not.toHaveProperty('more');
    });

    test('say so when the history doesn’t go back that far', async () => {
      const { gateway, positions, back } = await withHistory();
      gateway.trim('channel:orders', 1);
      expect(await back(positions[1])).toMatchObject({ recovered: false, reason: 'expired', data: [4] });
      expect(await back(positions[2])).toMatchObject({ recovered: true, data: [4] });
      expect(await back('0-0')).toMatchObject({ recovered: false, reason: 'expired', data: [4] });
      const ahead = positions[3]?.replace(/-4$/, '-5');
      expect(await back(ahead)).toMatchObject({ recovered: false, reason: 'epoch', data: [] });
    });

    test('say so when the history is another one', async () => {
      const { gateway, positions, back } = await withHistory();
      gateway.forget('channel:orders');
      gateway.publish('channel:orders', { type: 'order.updated', data: 5 }, { durable: true });
      const answer = await back(positions[3]);
      expect(answer).toMatchObject({ recovered: false, reason: 'epoch', data: [5] });
      expect(seqOf(answer.position)).toBe(1);
      expect(await back('nonsense')).toMatchObject({ op: 'error', code: 'bad_frame', topic: 'channel:orders' });
    });
  });

  test('bring what was missed of the own ones with the welcome', async () => {
    const gateway = createFakeGateway();
    const first = await wireTo(gateway);
    await first.send({ op: 'auth', token: 'x' });
    const seen = first.frames[0].topics[1].position;
    gateway.drop();
    const position = gateway.publish('user:42', { type: 'export.ready' }, { durable: true });
    const wire = await wireTo(gateway);
    await wire.send({ op: 'auth', token: 'x', since: { 'user:42': seen, 'channel:ignored': 'whatever' } });
    const [tenant, own] = wire.frames[0].topics;
    expect(tenant).not.toHaveProperty('recovered');
    expect(own).toEqual({
      topic: 'user:42',
      position,
      recovered: true,
      events: [{ position, event: { type: 'export.ready' } }],
    });
  });

  test('keep a thousand events, and let the oldest go', async () => {
    const gateway = createFakeGateway();
    const publish = () => gateway.publish('channel:orders', { type: 'x' }, { durable: true }) as string;
    const [first] = Array.from({ length: 1_001 }, publish);
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders', since: first as string });
    publish();
    await wire.send({ op: 'subscribe', id: 2, topic: 'channel:orders', since: first as string });
    expect(wire.news()).toMatchObject([
      { id: 1, recovered: true },
      { op: 'event' },
      { id: 2, recovered: false, reason: 'expired' },
    ]);
  });

  test('are told of gaps', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    const [{ position }] = wire.news();
    gateway.gap('channel:orders');
    gateway.gap('channel:orders', { lost: 'all', reason: 'epoch' });
    gateway.gap('channel:other');
    await settle();
    expect(wire.news()).toEqual([
      { op: 'gap', topic: 'channel:orders', lost: 'ephemeral', reason: 'backplane' },
      { op: 'gap', topic: 'channel:orders', lost: 'all', reason: 'epoch', position },
    ]);
  });

  test('have a history to leaf through, the newest page first', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    for (const data of [1, 2, 3]) {
      gateway.publish('channel:orders', { type: 'order.updated', data }, { durable: true });
    }
    await wire.send({ op: 'history', id: 1, topic: 'channel:orders', limit: 2 });
    const [page] = wire.news();
    expect(page).toMatchObject({ op: 'history', id: 1, more: true, events: [{ event: { data: 2 } }, {}] });
    const before = page.events[0].position;
    await wire.send({ op: 'history', id: 2, topic: 'channel:orders', limit: 2, before });
    expect(wire.news()).toMatchObject([{ id: 2, more: false, events: [{ event: { data: 1 } }] }]);
    await wire.send({ op: 'history', id: 3, topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 3, code: 'bad_frame' }]);
  });
});

describe('what clients publish', () => {
  test('reaches all who are subscribed, the publisher too unless it says otherwise', async () => {
    const gateway = createFakeGateway();
    const [ana, bob] = [await welcomed(gateway), await welcomed(gateway)];
    for (const wire of [ana, bob]) {
      await wire.send({ op: 'subscribe', id: 1, topic: 'channel:board' });
      wire.news();
    }
    const event = { type: 'card.moved', data: { card: 3 } };
    await ana.send({ op: 'publish', id: 2, topic: 'channel:board', event });
    expect(ana.news()).toEqual([
      { op: 'published', id: 2 },
      { op: 'event', topic: 'channel:board', event },
    ]);
    const except = gateway.connections[0]?.id;
    await ana.send({ op: 'publish', id: 3, topic: 'channel:board', event: { ...event, except }, durable: true });
    expect(ana.news()).toMatchObject([{ op: 'published', id: 3, position: expect.stringMatching(/-1$/) }]);
    expect(bob.news()).toMatchObject([{ op: 'event' }, { op: 'event', event: { type: 'card.moved' } }]);
  });

  test('is refused when it isn’t allowed, or is no event', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway, gateway.token({ publish: ['channel:cursors:*'] }));
    const publish = async (topic: string, event: object) => {
      await wire.send({ op: 'publish', id: 1, topic, event });
      return wire.news();
    };
    expect(await publish('channel:board', { type: 'x' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7:8', { type: 'x' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7', { data: 1 })).toMatchObject([{ code: 'bad_frame' }]);
    expect(await publish('channel:cursors:7', { type: 'x', except: 'b' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7', { type: 'x' })).toEqual([{ op: 'published', id: 1 }]);
  });

  test('is kept where all events are', async () => {
    const gateway = createFakeGateway({ durable: ['channel:ledger'] });
    const wire = await welcomed(gateway);
    await wire.send({ op: 'publish', id: 1, topic: 'channel:ledger', event: { type: 'x' } });
    expect(wire.news()).toMatchObject([{ op: 'published', position: expect.stringMatching(/-1$/) }]);
  });
});

describe('requests', () => {
  async function asking(gateway: FakeGateway, frame: object) {
    const wire = await welcomed(gateway);
    await wire.send({ op: 'request', id: 1, ...frame });
    return wire;
  }

  test('are answered by whoever takes them', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('orders.cancel', async (input, { user }) => ({ cancelled: input.id, by: user }));
    const wire = await asking(gateway, { method: 'orders.cancel', data: { id: 7 } });
    expect(wire.news()).toEqual([{ op: 'reply', id: 1, data: { cancelled: 7, by: '42' } }]);
    expect(gateway.received).toMatchObject([{ op: 'auth' }, { op: 'request', method: 'orders.cancel' }]);
  });

  test('are refused in the backend’s words', async () => {
    const gateway = createFakeGateway();
    const errors = [{ code: 'forbidden', message: 'not yours' }, { code: 'gone', message: 'odd' }, new Error('a bug')];
    gateway.onRequest('orders.cancel', () => {
      throw errors.shift();
    });
    const told = [];
    for (let n = 0; n < 3; n++) {
      told.push(...(await asking(gateway, { method: 'orders.cancel' })).news());
    }
    expect(told).toEqual([
      { op: 'error', id: 1, code: 'forbidden', message: 'not yours' },
      { op: 'error', id: 1, code: 'internal', message: 'odd' },
      { op: 'error', id: 1, code: 'internal', message: 'a bug' },
    ]);
  });

  test('that nobody takes, or answers in time, fail', async () => {
    const gateway = createFakeGateway();
    const untaken = await asking(gateway, { method: 'orders.cancel' });
    expect(untaken.news()).toMatchObject([{ op: 'error', id: 1, code: 'no_backend' }]);
    const off = gateway.onRequest('orders.cancel', () => new Promise(() => {}));
    const unanswered = await asking(gateway, { method: 'orders.cancel', timeout_ms: 500 });
    await vi.advanceTimersByTimeAsync(499);
    expect(unanswered.news()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(unanswered.news()).toMatchObject([{ op: 'error', id: 1, code: 'timeout' }]);
    off();
    expect((await asking(gateway, { method: 'orders.cancel' })).news()).toMatchObject([{ code: 'no_backend' }]);
  });
});

describe('presence', () => {
  async function watching(gateway: FakeGateway, user: string) {
    const wire = await welcomed(gateway, gateway.token({ user, info: { name: user } }));
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:team', presence: true });
    wire.news();
    return wire;
  }

  test('is told to those who watch, but nobody is told of herself', async () => {
    const gateway = createFakeGateway();
    const ana = await watching(gateway, 'ana');
    const bob = await watching(gateway, 'bob');
    const again = await watching(gateway, 'bob');
    expect(ana.news()).toEqual([{ op: 'joined', topic: 'channel:team', user: 'bob', info: { name: 'bob' } }]);
    bob.close();
    await settle();
    expect(ana.news()).toEqual([]);
    await again.send({ op: 'unsubscribe', id: 2, topic: 'channel:team' });
    expect(ana.news()).toEqual([{ op: 'left', topic: 'channel:team', user: 'bob', info: { name: 'bob' } }]);
    gateway.join('channel:team', 'eve');
    gateway.leave('channel:team', 'eve');
    await settle();
    expect(ana.news()).toEqual([
      { op: 'joined', topic: 'channel:team', user: 'eve' },
      { op: 'left', topic: 'channel:team', user: 'eve' },
    ]);
  });

  test('comes in pages', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    for (const user of ['a', 'b', 'c']) {
      gateway.join('channel:team', user);
    }
    await wire.send({ op: 'presence', id: 1, topic: 'channel:team', limit: 2 });
    const [{ cursor, ...page }] = wire.news();
    const topic = 'channel:team';
    expect(page).toEqual({ op: 'presence', id: 1, topic, count: 3, users: [{ user: 'a' }, { user: 'b' }] });
    await wire.send({ op: 'presence', id: 2, topic, limit: 2, cursor });
    expect(wire.news()).toEqual([{ op: 'presence', id: 2, topic, count: 3, users: [{ user: 'c' }] }]);
  });

  test('is only a number in a crowd', async () => {
    const gateway = createFakeGateway({ crowd: 2 });
    const wire = await watching(gateway, 'ana');
    gateway.join('channel:team', 'b');
    gateway.join('channel:team', 'c');
    gateway.leave('channel:team', 'c');
    await settle();
    expect(wire.news()).toMatchObject([{ op: 'joined' }, { op: 'presence', count: 3 }, { op: 'left', user: 'c' }]);
  });
});

describe('faults', () => {
  test('a gateway that is down breaks its connections and refuses new ones', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.stop();
    await settle();
    expect(wire.closes).toEqual([{ code: 1006, reason: '' }]);
    const refused = await wireTo(gateway);
    expect(refused.closes).toMatchObject([{ code: 1006 }]);
    await expect(gateway.fetch('https://fanfare.test/sse')).rejects.toThrow(TypeError);
    gateway.start();
    expect((await welcomed(gateway)).closes).toEqual([]);
    expect(gateway.opened).toBe(3);
  });

  test('a proxy lets no WebSocket through', async () => {
    const gateway = createFakeGateway();
    gateway.blocksWebSockets = true;
    expect((await wireTo(gateway)).closes).toMatchObject([{ code: 1006 }]);
  });

  test('a connection in a dead network hears nothing, not even its end', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.freeze();
    gateway.publish('tenant', { type: 'x' });
    await wire.send({ op: 'ping' });
    wire.close(1000);
    const unborn = await wireTo(gateway);
    gateway.thaw();
    await vi.advanceTimersByTimeAsync(200_000);
    expect([...wire.news(), ...wire.closes, ...unborn.news(), ...unborn.closes]).toEqual([]);
    expect(gateway.connections).toEqual([]);
    expect((await welcomed(gateway)).closes).toEqual([]);
  });

  test('a slow network keeps the order', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.latencyMs = 300;
    gateway.publish('tenant', { type: 'first' });
    gateway.latencyMs = 0;
    gateway.publish('tenant', { type: 'second' });
    await vi.advanceTimersByTimeAsync(300);
    expect(wire.news()).toMatchObject([{ event: { type: 'first' } }, { event: { type: 'second' } }]);
  });

  test('one says farewell with a code', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.disconnect({ code: 1012, after_ms: 1_840 });
    await settle();
    expect(wire.frames.at(-1)).toEqual({
      op: 'disconnect',
      code: 1012,
      reason: 'draining',
      reconnect: true,
      after_ms: 1_840,
    });
    expect(wire.closes).toEqual([{ code: 1012, reason: 'draining' }]);
  });

  test('minted tokens expire all at once', async () => {
    const gateway = createFakeGateway();
    const token = gateway.token();
    const wire = await welcomed(gateway, token);
    gateway.expireTokens();
    await settle();
    expect(wire.closes).toMatchObject([{ code: 4409 }]);
    expect((await welcomed(gateway, token)).closes).toMatchObject([{ code: 4401 }]);
    expect((await welcomed(gateway)).closes).toEqual([]);
  });
});

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
