// @vitest-environment jsdom
import type { ConnectionState } from '@fanfare/client';
import { ConnectionStatus } from '@fanfare/client/react';
import { act, render, screen } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { newApp, settle } from './support/app.tsx';

test('a dot and a label, which tell how the connection is', async () => {
  const app = newApp({ reconnect: { maxAttempts: 1, intervalMs: 500 } });
  render(<ConnectionStatus className="badge" />, app);
  const shown = () => [screen.getByRole('status').textContent, screen.getByRole('status').dataset.status];
  expect(shown()).toEqual(['● Connecting', 'connecting']);
  expect(screen.getByRole('status').className).toBe('badge');
  await settle();
  expect(shown()).toEqual(['● Live', 'connected']);
  app.gateway.stop();
  await settle();
  expect(shown()).toEqual(['● Reconnecting (1 s)', 'reconnecting']);
  await settle(1_000);
  expect(shown()).toEqual(['● Disconnected', 'failed']);
  await act(async () => app.client.disconnect());
  expect(shown()).toEqual(['● Offline', 'closed']);
});

test('the countdown is not read out', async () => {
  const app = newApp({ reconnect: { intervalMs: 10_000 } });
  render(<ConnectionStatus />, app);
  await settle();
  app.gateway.stop();
  await settle();
  const status = screen.getByRole('status').cloneNode(true) as HTMLElement;
  for (const hidden of status.querySelectorAll('[aria-hidden=true]')) {
    hidden.remove();
  }
  expect(status.textContent?.trim()).toBe('Reconnecting');
});

test('counts down once a second while reconnecting, and only then', async () => {
  const app = newApp();
  const views: [string, number | undefined][] = [];
  render(
    <ConnectionStatus>
      {({ state, retryInSec }) => {
        views.push([state.status, retryInSec]);
        return retryInSec;
      }}
    </ConnectionStatus>,
    app,
  );
  await settle();
  app.gateway.disconnect({ code: 1012, after_ms: 3_500 });
  views.length = 0;
  const everyHalfSecond: unknown[] = [];
  for (let ms = 0; ms < 3_500; ms += 500) {
    await settle(ms === 0 ? 499 : 500);
    everyHalfSecond.push(views.at(-1)?.[1]);
  }
  expect(everyHalfSecond).toEqual([4, 3, 3, 2, 2, 1, 1]);
  // Four seconds were shown; StrictMode calls components twice.
  expect(views.length).toBeLessThanOrEqual(2 * 4);
  await settle(1);
  expect(views.at(-1)).toEqual(['connected', undefined]);
  views.length = 0;
  await settle(10_000);
  expect(views).toEqual([]);
});

test('while a try is under way it says 0, and no timer runs for it', async () => {
  const app = newApp({ reconnect: { intervalMs: 1_000 } });
  let shown: { retryInSec: number | undefined; state: ConnectionState } | undefined;
  render(
    <ConnectionStatus>
      {(view) => {
        shown = view;
        return null;
      }}
    </ConnectionStatus>,
    app,
  );
  await settle();
  app.gateway.drop();
  app.gateway.latencyMs = 5_000;
  await settle(2_000);
  const setTimer = vi.spyOn(globalThis, 'setTimeout');
  await settle(1_000);
  expect(shown).toMatchObject({ retryInSec: 0, state: { status: 'reconnecting' } });
  expect(setTimer).not.toHaveBeenCalled();
});

test('other words', async () => {
  const app = newApp();
  render(<ConnectionStatus labels={{ connected: 'En direct' }} />, app);
  await settle();
  expect(screen.getByRole('status').textContent).toBe('● En direct');
});
