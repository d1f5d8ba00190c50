// @vitest-environment jsdom
import { useClient } from '@fanfare/client/react';
import { renderHook } from '@testing-library/react';
import { expect, test } from 'vitest';
import { complaints, expectThrowingComponent, newApp } from './support/app.tsx';

test('useClient gives the client of the provider', () => {
  const app = newApp();
  const { result } = renderHook(() => useClient(), app);
  expect(result.current).toBe(app.client);
});

test('without a provider a hook says what is missing', () => {
  expectThrowingComponent();
  expect(() => renderHook(() => useClient())).toThrow('there is no <RealtimeProvider client={…}> above this component');
  complaints.mockClear();
});
