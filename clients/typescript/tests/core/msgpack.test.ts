/** The same in MessagePack. */

import { msgpack } from '@fanfare/client/msgpack';
import { createFakeGateway } from '@fanfare/client/testing';
import { expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';
import { errorsOf } from '../support/watch.ts';

stopTime();

test('frames go in MessagePack, and come so, bytes in them as bytes', async () => {
  const gateway = createFakeGateway({ codec: msgpack() });
  gateway.onRequest('echo', (input) => input);
  const sockets: { protocol: string; binaryType: string }[] = [];
  const WebSocket = class extends gateway.WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  };
  const client = clientOf(gateway, { WebSocket, codec: msgpack() });
  const errors = errorsOf(client);
  const heard: unknown[] = [];
  client.channel('orders').on('*', ({ data }) => heard.push(data));
  await settle();
  expect(sockets).toMatchObject([{ protocol: 'fanfare.v1.msgpack', binaryType: 'arraybuffer' }]);
  const data = { id: 7, total: '19.90', picture: new Uint8Array([1, 2, 3]), at: 1_767_225_600_000 };
  gateway.publish('channel:orders', { type: 'order.updated', data });
  const [answer] = await Promise.all([client.request('echo', { left: undefined, n: -1.5 }), settle()]);
  expect(heard).toEqual([data]);
  expect(answer).toEqual({ n: -1.5 });
  expect(errors).toEqual([]);
});

test('what can’t be read ends the connection: it would come again', async () => {
  const gateway = createFakeGateway({
    codec: { ...msgpack(), encode: () => new Uint8Array([0xc1]) },
  });
  const client = clientOf(gateway, { codec: msgpack(), transports: ['websocket'] });
  client.connect();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'protocol' });
  expect(gateway.connections).toEqual([]);
});
