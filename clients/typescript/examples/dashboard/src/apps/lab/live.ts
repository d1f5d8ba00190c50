import type { Rules } from '@fanfare/client/react-query';
import type { Equipment } from './contract.ts';

export const labRules = {
  // The event has all there is to know: it goes straight into the cache, and nothing is fetched.
  equipment_update: {
    channels: ['lab'],
    keys: [['equipment']],
    patch: (queryClient, { data: { equipment } }) =>
      queryClient.setQueryData<Equipment[]>(['equipment'], (all) =>
        all?.map((one) => (one.id === equipment.id ? equipment : one)),
      ),
  },
  session_update: { channels: ['lab'], keys: [['sessions'], ['my-sessions']] },
  // For one user, over her own topic: nothing to subscribe to.
  sample_update: [['inbox'], ['unread-count']],
} satisfies Rules;
