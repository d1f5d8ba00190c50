/** `@fanfare/client/testing`: tests of pages without a server. */

export {
  type Asker,
  createFakeGateway,
  type FakeConnection,
  type FakeEvent,
  type FakeGateway,
  type FakeGatewayOptions,
  type Farewell,
  type Frame,
  type TokenGrant,
  type Topic,
} from './testing/gateway.ts';
