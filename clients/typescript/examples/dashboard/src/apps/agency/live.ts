import type { MethodOutput } from '@fanfare/client';
import { liveQueryOptions } from '@fanfare/client/query';
import { useRealtimeMutation } from '@fanfare/client/react-query';
import { get } from '../../api.ts';
import { toast } from '../../ui/toasts.tsx';
import type { AgencyData, Timer } from './contract.ts';
import { switched } from './timer.ts';

/** How long each kind of data is good for while nothing is heard of it. */
export const agencyTtl = [
  { queryKey: ['agency', 'metrics'], staleTime: 5 * 60_000 },
  { queryKey: ['agency', 'team'], staleTime: 3 * 60_000 },
  { queryKey: ['agency', 'clients'], staleTime: 10 * 60_000 },
  { queryKey: ['agency', 'timers'], staleTime: 30_000 },
];

/** Asked over the socket, or by HTTP without one. What is pushed goes straight into the cache. */
export const agencyQuery = <Kind extends keyof AgencyData>(kind: Kind) =>
  liveQueryOptions({
    queryKey: ['agency', kind],
    method: `dashboard.${kind}`,
    fallback: () => get<MethodOutput<`dashboard.${Kind}`>>(`/agency/${kind}`),
    patchOn: `dashboard.${kind}_updated`,
    channels: ['agency'],
  });

/** Shown as switched at once; switched back when the backend refuses, which it does every third time. */
export const useTimerSwitch = () =>
  useRealtimeMutation({
    method: 'timers.update',
    optimistic: ({ id, running }) => [
      {
        queryKey: ['agency', 'timers'],
        update: (timers: Timer[]) => timers.map((timer) => (timer.id === id ? switched(timer, running) : timer)),
      },
    ],
    onError: (error) => toast('Switched back', error.message, 'bad'),
  });
