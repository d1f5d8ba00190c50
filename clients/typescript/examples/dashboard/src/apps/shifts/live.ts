import type { Rules } from '@fanfare/client/react-query';

export const shiftRules = {
  // Told to the whole company, which every connection hears: no channels.
  'employee.status_changed': [['shifts']],
  'employee.updated': [['shifts']],
  'dashboard.stats_updated': {
    keys: [['shift-stats']],
    patch: (queryClient, { data }) => queryClient.setQueryData(['shift-stats'], data),
  },
  'violation.detected': { channels: ['violations'], keys: [['violations']] },
  'violation.created': { channels: ['violations'], keys: [['violations']] },
} satisfies Rules;
