// @vitest-environment jsdom
import { version } from 'react';
import { version as domVersion } from 'react-dom';
import { expect, test, vi } from 'vitest';

// The same stories on React 18. Packages that Node loads by itself, as Testing Library, are led there as well.
await vi.hoisted(async () => {
  const { default: Module } = await import('node:module');
  const loader = Module as unknown as { _resolveFilename(request: string, ...rest: unknown[]): string };
  const resolve = loader._resolveFilename;
  loader._resolveFilename = (request, ...rest) =>
    resolve.call(loader, request.replace(/^(react|react-dom)(?=$|\/)/, '$118'), ...rest);
});
vi.mock('react', () => vi.importActual('react18'));
vi.mock('react/jsx-runtime', () => vi.importActual('react18/jsx-runtime'));
vi.mock('react/jsx-dev-runtime', () => vi.importActual('react18/jsx-dev-runtime'));
vi.mock('react-dom', () => vi.importActual('react-dom18'));
vi.mock('react-dom/client', () => vi.importActual('react-dom18/client'));
vi.mock('react-dom/server', () => vi.importActual('react-dom18/server'));

test('this is React 18', () => {
  expect([version, domVersion]).toEqual(['18.3.1', '18.3.1']);
});

import './concurrent.test.tsx';
import './connection-status.test.tsx';
import './hydration.test.tsx';
import './leaks.test.tsx';
import './provider.test.tsx';
import './server.test.tsx';
import './strict-mode.test.tsx';
import './use-channel.test.tsx';
import './use-connection-health.test.tsx';
import './use-event.test.tsx';
import './use-event-state.test.tsx';
import './use-presence.test.tsx';
import './use-reconnect-toast.test.tsx';
import './use-request.test.tsx';
import './use-web-socket.test.tsx';
