/** An app on a fake gateway, in StrictMode and with fake timers. Whatever React complains about fails the test. */

import type { Client, ClientOptions } from '@fanfare/client';
import { RealtimeProvider } from '@fanfare/client/react';
import { createFakeGateway, type FakeGateway, type FakeGatewayOptions } from '@fanfare/client/testing';
import { act, cleanup } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { afterEach, beforeEach, expect, type MockInstance, onTestFinished, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';

/** How long the connection outlives those who needed it. */
export const LINGER_MS = 2_500;

/** What was printed as an error or a warning. A test that expects something of it empties it. */
export let complaints: MockInstance<typeof console.error>;

beforeEach(() => {
  vi.useFakeTimers();
  complaints = vi.spyOn(console, 'error').mockImplementation(() => {});
  vi.spyOn(console, 'warn').mockImplementation((...printed) => console.error(...printed));
});

afterEach(() => {
  cleanup();
  const printed = complaints.mock.calls;
  vi.restoreAllMocks();
  vi.useRealTimers();
  expect(printed).toEqual([]);
});

export interface App {
  readonly gateway: FakeGateway;
  readonly client: Client;
  /** For `render` and `renderHook`. */
  readonly wrapper: (props: { children: ReactNode }) => ReactNode;
}

export function newApp(options: Partial<ClientOptions> = {}, gatewayOptions: FakeGatewayOptions = {}): App {
  const gateway = createFakeGateway(gatewayOptions);
  const client = clientOf(gateway, { transports: ['websocket'], ...options });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <RealtimeProvider client={client}>{children}</RealtimeProvider>
    </StrictMode>
  );
  return { gateway, client, wrapper };
}

/** For a test in which a component throws: React 18 has that thrown by the page as well, which jsdom would print. */
export function expectThrowingComponent(): void {
  const keepQuiet = (event: Event) => event.preventDefault();
  window.addEventListener('error', keepQuiet);
  onTestFinished(() => {
    window.removeEventListener('error', keepQuiet);
  });
}

/** All that is under way arrives, modules that are being loaded as well, and `ms` go by. */
export async function settle(ms = 0): Promise<void> {
  await act(async () => {
    await vi.advanceTimersByTimeAsync(ms);
    await vi.dynamicImportSettled();
    await vi.advanceTimersByTimeAsync(0);
  });
}

/** The topics that were subscribed, in the order in which the gateway was asked. */
export function subscribed({ gateway }: App): unknown[] {
  return gateway.received.flatMap(({ op, topic, topics }) => {
    if (op !== 'subscribe') {
      return [];
    }
    return Array.isArray(topics) ? topics.map((each) => each.topic) : [topic];
  });
}
