import type { Rules } from '@fanfare/client/query';

// Each step of each attendee refreshes the list, the tiles and the detail page, whichever is open.
// The channel is subscribed while one of these queries is on the screen, and a burst of steps makes
// one fetch a second, not fifty.
export const workshopRules = {
  status_update: {
    channels: ['workshops'],
    keys: ({ data }) => [['workshops'], ['workshop', data.workshop_id], ['attendees', data.workshop_id]],
  },
} satisfies Rules;
