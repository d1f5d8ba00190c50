// @vitest-environment jsdom
import { useWebSocket } from '@fanfare/client/react';
import { act, render, screen } from '@testing-library/react';
import * as React from 'react';
import { Component, type ReactNode, Suspense, startTransition, useState } from 'react';
import { describe, expect, test, vi } from 'vitest';
import { complaints, expectThrowingComponent, LINGER_MS, newApp, settle, subscribed } from './support/app.tsx';
import { Page } from './support/page.tsx';

const never = new Promise<never>(() => {});

/** Renders the page, and then waits for ever: none of its effects run. */
function Suspended() {
  return (
    <>
      <Page />
      <Wait />
    </>
  );
}

function Wait(): ReactNode {
  throw never;
}

describe('what is rendered and never mounted leaves nothing behind', () => {
  test('a page that suspends for ever', async () => {
    const app = newApp();
    const { unmount } = render(
      <Suspense fallback="loading">
        <Suspended />
      </Suspense>,
      app,
    );
    await settle();
    expect(screen.getByText('loading')).toBeTruthy();
    expect(app.gateway.connections.map(({ topics }) => topics)).toEqual([['tenant', 'user:42']]);
    unmount();
    await settle(LINGER_MS);
    expect(app.gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a transition that is given up', async () => {
    const app = newApp();
    let go: (page: string) => void = () => {};
    function Router() {
      const [page, setPage] = useState('home');
      go = setPage;
      return <Suspense fallback="loading">{page === 'orders' ? <Suspended /> : <p>{page}</p>}</Suspense>;
    }
    render(<Router />, app);
    await settle();
    await act(async () => startTransition(() => go('orders')));
    expect(screen.getByText('home')).toBeTruthy();
    await act(async () => go('about'));
    await settle(LINGER_MS);
    expect(screen.getByText('about')).toBeTruthy();
    expect(subscribed(app)).toEqual([]);
  });

  test('a page that throws', async () => {
    const app = newApp();
    expectThrowingComponent();
    class Boundary extends Component<{ children: ReactNode }> {
      override state = { failed: false };
      static getDerivedStateFromError = () => ({ failed: true });
      override render = () => (this.state.failed ? 'failed' : this.props.children);
    }
    const Broken = (): ReactNode => {
      throw new Error('a bug on this page');
    };
    render(
      <Boundary>
        <Page />
        <Broken />
      </Boundary>,
      app,
    );
    await settle(LINGER_MS);
    expect(subscribed(app)).toEqual([]);
    complaints.mockClear();
  });
});

// React 18 has none.
describe.skipIf(!('Activity' in React))('a page that is hidden by <Activity>', () => {
  test('releases its channels, and has them again when it is shown', async () => {
    const app = newApp();
    function Tabs() {
      const [mode, setMode] = useState<'visible' | 'hidden'>('visible');
      return (
        <>
          <button type="button" onClick={() => setMode(mode === 'visible' ? 'hidden' : 'visible')}>
            switch
          </button>
          <React.Activity mode={mode}>
            <Page />
            <ByHand />
          </React.Activity>
        </>
      );
    }
    function ByHand() {
      const { subscribeToChannel } = useWebSocket();
      return (
        <button type="button" onClick={() => subscribeToChannel('violations')}>
          follow
        </button>
      );
    }
    const topics = () => app.gateway.connections[0]?.topics.filter((topic) => topic.startsWith('channel:')).sort();
    const press = (name: string) => act(async () => screen.getByText(name).click());
    render(<Tabs />, app);
    await press('follow');
    await settle();
    expect(topics()).toEqual(['channel:orders', 'channel:violations']);
    await press('switch');
    await settle(LINGER_MS);
    expect(topics()).toEqual([]);
    await press('switch');
    await settle();
    expect(topics()).toEqual(['channel:orders', 'channel:violations']);
  });
});
