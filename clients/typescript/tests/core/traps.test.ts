/** What other SDKs get wrong, trap by trap. Those of pages and of queries have their tests where pages and queries are. */

import { createClient } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { settle } from '../support/settle.ts';
import { sleeper } from '../support/wake.ts';
import { errorsOf, gapsOf, statusesOf } from '../support/watch.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_767_225_600_000 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const subscribes = (gateway: FakeGateway) => gateway.received.filter(({ op }) => op === 'subscribe');
const dataOf = (messages: readonly { data: unknown }[]) => messages.map(({ data }) => data);

describe('1. two sockets where one was meant', () => {
  test('making a client opens nothing, and asks for nothing', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn(() => 'x');
    const url = vi.fn(() => gateway.url);
    const client = clientOf(gateway, { getToken, url });
    client.channel('orders');
    client.state.get();
    client.health.get();
    client.channel('orders').presence.get();
    client.on('order.updated', () => {});
    client.onGap(() => {});
    client.onError(() => {});
    statusesOf(client);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([gateway.opened, getToken.mock.calls.length, url.mock.calls.length]).toEqual([0, 0, 0]);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('a client is made where there is neither page nor network, as on a server', () => {
    for (const name of ['window', 'document', 'navigator', 'location', 'WebSocket', 'fetch', 'crypto']) {
      vi.stubGlobal(name, undefined);
    }
    const client = createClient({ url: '/ws', getToken: () => null });
    expect(client.channel('orders').state.get()).toEqual({ status: 'idle' });
  });

  test('mounting, unmounting and mounting again is one socket and one subscribe', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const mount = () => client.channel('orders').on('*', () => {});
    const unmount = mount();
    unmount();
    mount();
    await settle();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.received).toMatchObject([
      { op: 'auth' },
      { op: 'subscribe', topics: [{ topic: 'channel:orders' }] },
    ]);
    expect(gateway.opened).toBe(1);
  });

  test('so it is when the token and the url still have to be fetched', async () => {
    const gateway = createFakeGateway();
    const later = <T>(value: T) => new Promise<T>((resolve) => setTimeout(() => resolve(value), 1_000));
    const getToken = vi.fn(() => later('x'));
    const client = clientOf(gateway, { getToken, url: () => later(gateway.url) });
    client.retain()();
    await vi.advanceTimersByTimeAsync(500);
    client.retain();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([gateway.opened, getToken.mock.calls.length]).toEqual([1, 1]);
    expect(gateway.connections).toHaveLength(1);
  });

  test('a socket is not left behind when nobody needs it any more before its token came', async () => {
    const gateway = createFakeGateway();
    const getToken = () => new Promise<string>((resolve) => setTimeout(() => resolve('x'), 5_000));
    const client = clientOf(gateway, { getToken });
    client.retain()();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(gateway.opened).toBe(0);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('many components share one connection and one subscription, asked for in one frame', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    for (const name of ['orders', 'orders', 'team:7', 'orders', 'team:7']) {
      client.channel(name).on('*', () => {});
    }
    await settle();
    expect(gateway.opened).toBe(1);
    const topics = [{ topic: 'channel:orders' }, { topic: 'channel:team:7' }];
    expect(subscribes(gateway)).toMatchObject([{ topics }]);
  });

  test('the last one who goes is waited for: the socket lingers, then it goes', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const release = client.retain();
    await settle();
    release();
    await vi.advanceTimersByTimeAsync(2_499);
    expect(client.state.get().status).toBe('connected');
    const again = client.retain();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([gateway.connections.length, gateway.opened]).toEqual([1, 1]);
    again();
    again();
    await vi.advanceTimersByTimeAsync(2_500);
    expect(client.state.get()).toEqual({ status: 'idle' });
    expect(gateway.connections).toEqual([]);
  });
});

describe('2. one listener stops the others', () => {
  test('all are called, whatever one throws, and the error is told', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const heard: string[] = [];
    const bug = new Error('a bug');
    const faulty = () => {
      throw bug;
    };
    client.channel('orders').on('*', faulty);
    client.channel('orders').on('order.updated', () => heard.push('channel'));
    client.on('order.updated', faulty);
    client.on('*', () => heard.push('client'));
    client.onGap(faulty);
    client.onGap(() => heard.push('gap'));
    client.state.subscribe(faulty);
    client.state.subscribe(({ status }) => heard.push(status));
    await settle();
    gateway.publish('channel:orders', { type: 'order.updated' });
    gateway.gap('channel:orders');
    await settle();
    expect(heard).toEqual(['idle', 'connecting', 'connected', 'channel', 'client', 'gap'].slice(1));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['listener']));
    expect(errors.every(({ cause }) => cause === bug)).toBe(true);
    expect(printed).toHaveBeenCalledWith(bug);
  });

  test('an error listener that throws stops nobody either', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway);
    client.onError(() => {
      throw new Error('a bug');
    });
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(errors.length).toBeGreaterThan(0);
    expect(client.state.get().status).toBe('connected');
  });

  test('no message is lost to another one that comes at the same moment', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const seen: unknown[] = [];
    client.channel('orders').on('*', ({ data }) => seen.push(data));
    await settle();
    for (const data of [1, 2, 3]) {
      gateway.publish('channel:orders', { type: 'order.updated', data });
    }
    await settle();
    expect(seen).toEqual([1, 2, 3]);
  });

  test('a listener that takes off another one is the last who is heard by it', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const heard: string[] = [];
    client.channel('orders').on('*', () => {
      heard.push('first');
      off();
    });
    const off = client.channel('orders').on('*', () => heard.push('second'));
    await settle();
    gateway.publish('channel:orders', { type: 'order.updated' });
    await settle();
    expect(heard).toEqual(['first']);
  });
});

describe('3. everybody comes back at the same moment', () => {
  /** How long the client waits before each of its tries, the gateway being down. */
  async function waits(random: number, tries: number): Promise<number[]> {
    vi.spyOn(Math, 'random').mockReturnValue(random);
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway, { transports: ['websocket'] });
    const times: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting' && state.retryAt > Date.now()) {
        times.push(state.retryAt - Date.now());
      }
    });
    client.connect();
    await settle();
    while (times.length < tries) {
      await vi.advanceTimersToNextTimerAsync();
    }
    client.disconnect();
    return times.slice(0, tries);
  }

  test('the wait is random, up to a limit that doubles', async () => {
    expect(await waits(0.5, 9)).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    expect(await waits(0.999, 3)).toEqual([499.5, 999, 1_998]);
  });

  test('a connection that is dropped as soon as it was accepted doesn’t start the count over', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const attempts: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'connected') {
        Promise.resolve().then(() => gateway.drop());
      } else if (state.status === 'reconnecting') {
        attempts.push(state.attempt);
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(attempts.slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(gateway.opened).toBeLessThan(10);
  });

  test('one that has lasted does', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { reconnect: { stableAfterMs: 5_000 } });
    const attempts: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting') {
        attempts.push(state.attempt);
      }
    });
    client.connect();
    for (const lastsMs of [0, 4_999, 5_000]) {
      while (client.state.get().status !== 'connected') {
        await vi.advanceTimersByTimeAsync(1);
      }
      await vi.advanceTimersByTimeAsync(lastsMs);
      gateway.drop();
      await settle();
    }
    expect(attempts).toEqual([1, 2, 1]);
  });

  test('what the gateway says is obeyed: neither more nor less than after_ms', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.disconnect({ code: 1012, after_ms: 1_840 });
    await settle();
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 1_840 });
    await vi.advanceTimersByTimeAsync(1_839);
    expect(gateway.opened).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(gateway.opened).toBe(2);
  });

  test('a farewell without a time is no reason to come back at once, again and again', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.state.subscribe(({ status }) => {
      if (status === 'connected') {
        Promise.resolve().then(() => gateway.disconnect({ code: 1011 }));
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.opened).toBeLessThan(10);
  });

  test('waking up doesn’t cut short what the gateway has ordered', async () => {
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    client.connect();
    await settle();
    gateway.disconnect({ code: 1013, after_ms: 8_000 });
    await vi.advanceTimersByTimeAsync(4_000);
    lifecycle.wake();
    await settle();
    expect(gateway.opened).toBe(1);
  });
});

describe('4. one way to open a connection forgets the token', () => {
  test('every way goes through one refresh, asked for once at a time', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    let underWay = 0;
    const reasons: string[] = [];
    const lifecycle = sleeper();
    const client = clientOf(gateway, {
      lifecycle,
      getToken: async ({ reason }) => {
        reasons.push(reason);
        underWay += 1;
        expect(underWay).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 100));
        underWay -= 1;
        return gateway.token();
      },
    });
    client.connect();
    client.reconnect();
    client.reconnect();
    await vi.advanceTimersByTimeAsync(100);
    expect(client.state.get().status).toBe('connected');
    expect(reasons).toEqual(['connect']);

    // Asleep until long after the token has expired.
    gateway.freeze();
    vi.setSystemTime(Date.now() + 3_600_000);
    gateway.thaw();
    lifecycle.wake();
    client.reconnect();
    await vi.advanceTimersByTimeAsync(100);
    expect(client.state.get().status).toBe('connected');
    expect(reasons).toEqual(['connect', 'connect']);
  });

  test('it is renewed in band, before it expires', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
    expect(gateway.opened).toBe(1);
    expect(getToken.mock.calls.length).toBeGreaterThanOrEqual(6);
    expect(getToken.mock.calls.length).toBeLessThan(9);
    expect(getToken).toHaveBeenLastCalledWith({ reason: 'renew' });
  });

  test('also when the page’s clock is wrong by hours', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    const renewals = () => gateway.received.filter(({ op }) => op === 'auth').length - 1;
    const node = Date.now() + 7_200_000;
    const [connection] = gateway.connections;
    // The node's clock is two hours ahead: what it says of its own time counts, not what it says of the end alone.
    const welcome = {
      op: 'welcome',
      connection: connection?.id,
      tenant: 'acme',
      user: '42',
      ping_ms: 25_000,
      topics: [],
    };
    const limits = { message_bytes: 65_536 };
    connection?.send({ ...welcome, limits, server_time: node, expires_at: node + 600_000 });
    await vi.advanceTimersByTimeAsync(539_000);
    expect(renewals()).toBe(0);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(renewals()).toBe(1);
    expect(statuses).not.toContain('reconnecting');
  });

  test('a token that the node says has expired is not used again', async () => {
    const gateway = createFakeGateway();
    const tokens: string[] = [];
    const client = clientOf(gateway, {
      getToken: () => {
        tokens.push(gateway.token());
        return tokens.at(-1) as string;
      },
    });
    client.connect();
    await settle();
    gateway.expireTokens();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(client.state.get().status).toBe('connected');
    const used = gateway.received.filter(({ op }) => op === 'auth').map(({ token }) => token);
    expect(used).toEqual(tokens);
    expect(tokens).toHaveLength(2);
  });

  test('refused twice: failed, and nothing is tried again', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens();
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    const errors = errorsOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'auth', error: { code: 'unauthenticated' } });
    expect(getToken.mock.calls).toEqual([[{ reason: 'connect' }], [{ reason: 'refused' }]]);
    expect(errors.map(({ code }) => code)).toEqual(['unauthenticated']);
    gateway.refuseTokens(0);
    client.reconnect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('refused once: the next one may do', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens(1);
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });
});

describe('5. a connection is taken for dead, or alive, by timers that browsers slow down', () => {
  test('silence is asked about, and only an unanswered question is death', async () => {
    const gateway = createFakeGateway({ pingMs: 25_000 });
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.freeze();
    await vi.advanceTimersByTimeAsync(34_999);
    expect(client.state.get().status).toBe('connected');
    gateway.thaw();
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state.get().status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(client.state.get().status).toBe('connected');
  });

  test('a quiet connection lives for ever', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(24 * 3_600_000);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
    expect(gateway.opened).toBe(1);
  });

  test('a machine that slept asks at once, and comes back in seconds', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    client.connect();
    await settle();
    gateway.freeze();
    // The clock on the wall goes on, the timers don't.
    vi.setSystemTime(Date.now() + 8 * 3_600_000);
    gateway.thaw();
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(client.state.get().status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(500);
    expect(client.state.get().status).toBe('connected');
  });

  test('one whose connection has survived stays as it is', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    vi.setSystemTime(Date.now() + 60_000);
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(gateway.received.filter(({ op }) => op === 'ping').length).toBeGreaterThan(0);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('a timer that rings late proves nothing: the question is asked once more', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    gateway.latencyMs = 100;
    lifecycle.wake();
    // The page is frozen with the question under way; when it goes on, its timers ring before what has arrived is read.
    gateway.latencyMs = 6_000;
    vi.setSystemTime(Date.now() + 600_000);
    await vi.advanceTimersByTimeAsync(5_000);
    gateway.latencyMs = 100;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(gateway.received.filter(({ op }) => op === 'ping').length).toBeGreaterThan(1);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('the page’s own events wake it: seen again, online again, back from the cache, resumed', async () => {
    const [page, sheet] = [new EventTarget(), Object.assign(new EventTarget(), { visibilityState: 'visible' })];
    vi.stubGlobal('window', page);
    vi.stubGlobal('document', sheet);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const pings = () => gateway.received.filter(({ op }) => op === 'ping').length;
    const events: [EventTarget, string][] = [
      [sheet, 'visibilitychange'],
      [sheet, 'resume'],
      [page, 'pageshow'],
      [page, 'online'],
    ];
    for (const [index, [target, type]] of events.entries()) {
      target.dispatchEvent(new Event(type));
      await settle();
      expect([type, pings()]).toEqual([type, index + 1]);
    }
    sheet.visibilityState = 'hidden';
    sheet.dispatchEvent(new Event('visibilitychange'));
    await settle();
    expect(pings()).toBe(events.length);
    client.disconnect();
    page.dispatchEvent(new Event('online'));
    await settle();
    expect(gateway.opened).toBe(1);
  });

  test('waking up tries again at once, but not each time that a page is looked at', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle, transports: ['websocket'] });
    gateway.stop();
    client.connect();
    await vi.advanceTimersByTimeAsync(120_000);
    while (gateway.opened < 10) {
      await vi.advanceTimersToNextTimerAsync();
    }
    await vi.advanceTimersByTimeAsync(2_000);
    lifecycle.wake();
    await settle();
    lifecycle.wake();
    await settle();
    expect([client.state.get().status, gateway.opened]).toEqual(['reconnecting', 11]);
    await vi.advanceTimersByTimeAsync(2_000);
    gateway.start();
    lifecycle.wake();
    await settle();
    expect([client.state.get().status, gateway.opened]).toEqual(['connected', 12]);
  });
});

describe('6. what was missed meanwhile is missing for ever', () => {
  /** A client on a channel, with what it has heard. */
  async function listening(gateway: FakeGateway, options: Parameters<typeof clientOf>[1] = {}) {
    const client = clientOf(gateway, options);
    const messages: { data: number; recovered: boolean; status: string }[] = [];
    const gaps = gapsOf(client);
    const order: string[] = [];
    client.state.subscribe(({ status }) => order.push(status));
    client.channel('orders').on('*', ({ data, recovered }) => {
      messages.push({ data, recovered, status: client.state.get().status });
      order.push(`event ${data}`);
    });
    client.onGap(({ topic, reason }) => order.push(`gap ${topic} ${reason}`));
    await settle();
    return { client, messages, gaps, order };
  }

  const durable = (gateway: FakeGateway, data: number) =>
    gateway.publish('channel:orders', { type: 'order.updated', data }, { durable: true }) as string;

  const back = () => vi.advanceTimersByTimeAsync(500);

  test('durable events come with the answer on coming back, each once and in order', async () => {
    const gateway = createFakeGateway();
    const { messages, order } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    durable(gateway, 2);
    durable(gateway, 3);
    await back();
    durable(gateway, 4);
    await settle();
    expect(dataOf(messages)).toEqual([1, 2, 3, 4]);
    expect(messages.map(({ recovered }) => recovered)).toEqual([false, true, true, false]);
    // Live is live: what was missed is told before.
    expect(order.slice(order.indexOf('reconnecting'))).toEqual([
      'reconnecting',
      'gap tenant reconnect',
      'gap user:42 reconnect',
      'event 2',
      'event 3',
      'gap channel:orders reconnect',
      'connected',
      'event 4',
    ]);
  });

  test('events that are only for whoever is there are told as a gap', async () => {
    const gateway = createFakeGateway();
    const { client, gaps } = await listening(gateway);
    gateway.drop();
    gateway.publish('channel:orders', { type: 'order.touched', data: 1 });
    await back();
    expect(gaps).toContainEqual(
      expect.objectContaining({ topic: 'channel:orders', channel: 'orders', lost: 'ephemeral', reason: 'reconnect' }),
    );
    expect(client.state.get()).toMatchObject({ status: 'connected', resumed: false });
  });

  test('no gap where all events are durable, by the operator’s rule or by the app’s word', async () => {
    for (const [kept, said] of [
      [['channel:orders', 'tenant', 'user:42'], []],
      [[], ['channel:ord*', 'tenant', 'user:*']],
    ] as const) {
      const gateway = createFakeGateway({ durable: kept });
      const { client, gaps, messages } = await listening(gateway, { durable: said });
      // What was told while it was connected is no matter of coming back.
      gateway.gap('channel:orders');
      await settle();
      expect(gaps.splice(0)).toHaveLength(1);
      gateway.drop();
      durable(gateway, 1);
      await back();
      expect(gaps).toEqual([]);
      expect(dataOf(messages)).toEqual([1]);
      expect(client.state.get()).toMatchObject({ status: 'connected', resumed: true });
    }
  });

  test('a rule that is new says nothing of the time before it', async () => {
    const rules: string[] = [];
    const gateway = createFakeGateway({ durable: rules });
    const { gaps } = await listening(gateway, { durable: ['tenant', 'user:42'] });
    gateway.drop();
    rules.push('channel:orders');
    await back();
    expect(gaps).toMatchObject([{ topic: 'channel:orders', reason: 'reconnect' }]);
    gateway.drop();
    await back();
    expect(gaps).toHaveLength(1);
  });

  test.each([
    ['channel:team:*', ['channel:team:7', 'channel:team:7:chat'], ['channel:team', 'channel:orders', 'tenant']],
    ['channel:orders', ['channel:orders'], ['channel:orders:7', 'channel:order', 'tenant']],
    ['*', ['channel:orders', 'tenant', 'user:42'], []],
  ])('the app’s word may end with a star: %s', async (durable, silent, told) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { durable: ['user:42', durable] });
    const gaps = gapsOf(client);
    for (const topic of [...silent, ...told].filter((name) => name.startsWith('channel:'))) {
      client.channel(topic.slice('channel:'.length)).subscribe();
    }
    await settle();
    gateway.drop();
    await back();
    expect(gaps.map(({ topic }) => topic).sort()).toEqual([...told].sort());
  });

  test('whoever mounts fetches anyway: the first connection has no gap, and what came before doesn’t come', async () => {
    const gateway = createFakeGateway();
    durable(gateway, 1);
    const { client, gaps, messages } = await listening(gateway);
    expect([gaps, messages]).toEqual([[], []]);
    expect(client.state.get()).toMatchObject({ status: 'connected', resumed: false });
  });

  test.each([
    ['expired', (gateway: FakeGateway) => gateway.trim('channel:orders', 1)],
    ['epoch', (gateway: FakeGateway) => gateway.forget('channel:orders')],
  ] as const)('a history that can’t prove it (%s) is a gap, with what there still is', async (reason, damage) => {
    const gateway = createFakeGateway();
    const { gaps, messages } = await listening(gateway);
    const since = durable(gateway, 1);
    await settle();
    gateway.drop();
    durable(gateway, 2);
    durable(gateway, 3);
    damage(gateway);
    const position = reason === 'epoch' ? durable(gateway, 4) : expect.stringMatching(/-3$/);
    await back();
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toEqual([
      { topic: 'channel:orders', channel: 'orders', lost: 'all', reason, since, position },
    ]);
    expect(dataOf(messages)).toEqual(reason === 'epoch' ? [1, 4] : [1, 3]);
  });

  test('more than fits into an answer is asked for until all is there', async () => {
    const gateway = createFakeGateway({ answerEvents: 2, durable: ['channel:orders'] });
    const { client, messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    await settle();
    const missed = [2, 3, 4, 5, 6, 7, 8];
    for (const data of missed) {
      durable(gateway, data);
    }
    gateway.latencyMs = 100;
    while (messages.length < 5) {
      await vi.advanceTimersByTimeAsync(10);
    }
    // A live one comes before the rest has, and must be neither early nor doubled.
    durable(gateway, 9);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(dataOf(messages)).toEqual([1, ...missed, 9]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toEqual([]);
    expect(messages.slice(1, 8).map(({ status }) => status)).toEqual(missed.map(() => 'reconnecting'));
    expect(client.state.get().status).toBe('connected');
  });

  test('more than fits, of a history that doesn’t go back far enough, is one gap and all that there still is', async () => {
    const gateway = createFakeGateway({ answerEvents: 2 });
    const { messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    for (const data of [2, 3, 4, 5, 6, 7]) {
      durable(gateway, data);
    }
    gateway.trim('channel:orders', 5);
    await back();
    expect(dataOf(messages)).toEqual([1, 3, 4, 5, 6, 7]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toMatchObject([{ lost: 'all', reason: 'expired' }]);
  });

  test('a connection that breaks in the middle of what was missed goes on there', async () => {
    const gateway = createFakeGateway({ answerEvents: 2 });
    const { messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    await settle();
    gateway.latencyMs = 100;
    const missed = [2, 3, 4, 5, 6, 7, 8];
    for (const data of missed) {
      durable(gateway, data);
    }
    while (messages.length < 5) {
      await vi.advanceTimersByTimeAsync(10);
    }
    gateway.drop();
    gateway.latencyMs = 0;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(dataOf(messages)).toEqual([1, ...missed]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toMatchObject([{ reason: 'reconnect' }]);
  });

  test('a live event that stands in the replay as well comes once', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    const position = durable(gateway, 1);
    await settle();
    const event = { type: 'order.updated', data: 1 };
    gateway.connections[0]?.send({ op: 'event', topic: 'channel:orders', position, event });
    gateway.drop();
    const second = durable(gateway, 2);
    await back();
    gateway.connections[0]?.send({
      op: 'event',
      topic: 'channel:orders',
      position: second,
      event: { type: 'order.updated', data: 2 },
    });
    await settle();
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('an event that arrives while the same is asked for comes once', async () => {
    const gateway = createFakeGateway();
    const { client, messages } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.latencyMs = 100;
    // Subscribes once more, for presence, with the position of 1; 2 is on its way to the client by then.
    client.channel('orders').presence.subscribe(() => {});
    await vi.advanceTimersByTimeAsync(50);
    durable(gateway, 2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(subscribes(gateway).at(-1)?.topics).toMatchObject([{ since: expect.stringMatching(/-1$/), presence: true }]);
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('a gap moves on what is asked for after it', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    const [connection] = gateway.connections;
    const position = durable(gateway, 2).replace(/-2$/, '-7');
    connection?.send({ op: 'gap', topic: 'channel:orders', lost: 'all', reason: 'invalid', position });
    await settle();
    gateway.drop();
    await back();
    expect(subscribes(gateway).at(-1)?.topics).toEqual([{ topic: 'channel:orders', since: position }]);
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('positions are not numbers: the tenth comes after the ninth, and so does a higher one in a new epoch', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    const all = Array.from({ length: 12 }, (_, n) => n);
    for (const data of all) {
      durable(gateway, data);
    }
    await settle();
    gateway.drop();
    gateway.forget('channel:orders');
    durable(gateway, 100);
    await back();
    durable(gateway, 101);
    await settle();
    expect(dataOf(messages)).toEqual([...all, 100, 101]);
  });

  test('the own topics go on where they were left, too', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const seen: unknown[] = [];
    client.on('export.ready', ({ data, recovered, topic, channel }) => seen.push([data, recovered, topic, channel]));
    client.connect();
    await settle();
    gateway.drop();
    gateway.publish('user:42', { type: 'export.ready', data: 1 }, { durable: true });
    await back();
    expect(seen).toEqual([[1, true, 'user:42', undefined]]);
  });

  test('a gap that the gateway tells is handed on, and recovery goes on from there', async () => {
    const gateway = createFakeGateway();
    const { client, gaps, messages } = await listening(gateway);
    const channelGaps: string[] = [];
    client.channel('orders').onGap(({ reason }) => channelGaps.push(reason));
    client.channel('other').onGap(({ reason }) => channelGaps.push(`other ${reason}`));
    await settle();
    gateway.gap('channel:orders');
    gateway.gap('channel:orders', { lost: 'all', reason: 'a word of a later version' });
    await settle();
    expect(gaps).toMatchObject([
      { topic: 'channel:orders', lost: 'ephemeral', reason: 'backplane' },
      { topic: 'channel:orders', lost: 'all', reason: 'a word of a later version' },
    ]);
    expect(channelGaps).toEqual(['backplane', 'a word of a later version']);
    expect(client.health.get().gaps).toBe(2);
    durable(gateway, 1);
    await settle();
    expect(dataOf(messages)).toEqual([1]);
  });

  test('a channel that one token takes away and the next one brings back goes on with a gap', async () => {
    const gateway = createFakeGateway();
    const grants = [{}, { channels: [] }, {}];
    const { client, gaps, messages } = await listening(gateway, { getToken: () => gateway.token(grants.shift()) });
    await Promise.all([client.refreshToken(), settle()]);
    expect(client.channel('orders').state.get().status).toBe('failed');
    gateway.publish('channel:orders', { type: 'order.touched', data: 1 });
    durable(gateway, 2);
    await Promise.all([client.refreshToken(), settle()]);
    await settle();
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
    expect(dataOf(messages)).toEqual([2]);
    expect(gaps).toMatchObject([{ topic: 'channel:orders', lost: 'ephemeral' }]);
  });

  test('a channel that nobody listens to any more forgets where it was', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    const off = client.channel('orders').on('*', () => {});
    await settle();
    durable(gateway, 1);
    await settle();
    off();
    await vi.advanceTimersByTimeAsync(2_500);
    expect(gateway.received.at(-1)).toMatchObject({ op: 'unsubscribe', topic: 'channel:orders' });
    const heard: unknown[] = [];
    durable(gateway, 2);
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await settle();
    expect(subscribes(gateway).at(-1)?.topics).toEqual([{ topic: 'channel:orders' }]);
    expect(heard).toEqual([]);
  });

  test('so does a client that logs out', async () => {
    const gateway = createFakeGateway();
    const { client, messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    client.disconnect();
    await settle();
    durable(gateway, 2);
    client.connect();
    await settle();
    expect(gateway.received.filter(({ op }) => op === 'auth').at(-1)).not.toHaveProperty('since.tenant');
    expect(dataOf(messages)).toEqual([1]);
    expect(gaps).toEqual([]);
    durable(gateway, 3);
    await settle();
    expect(dataOf(messages)).toEqual([1, 3]);
  });
});

describe('10. a page on plain http:// lacks what only secure pages have', () => {
  test('it connects, subscribes, publishes and asks without it', async () => {
    const whole = crypto;
    vi.stubGlobal('crypto', { getRandomValues: (array: Uint8Array<ArrayBuffer>) => whole.getRandomValues(array) });
    vi.stubGlobal('isSecureContext', false);
    vi.stubGlobal('navigator', { onLine: true });
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    const own: boolean[] = [];
    client.channel('orders').on('*', (message) => own.push(message.own));
    await settle();
    const [published, answer] = [client.channel('orders').publish('order.touched', 1), client.request('echo', 2)];
    await settle();
    expect(await published).toEqual({ position: undefined });
    expect(await answer).toBe(2);
    expect(own).toEqual([true]);
  });
});
