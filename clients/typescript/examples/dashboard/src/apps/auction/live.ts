import type { Rules } from '@fanfare/client/react-query';
import type { Lot, Wallet } from './contract.ts';

/** A query's key says which channel it needs: `['squad', 'harbour']` needs `team:harbour`. */
const channels = ([, team]: readonly string[]) => [`team:${team}` as const];

export const auctionRules = {
  squad_update: { channels, keys: [['squad']] },
  lot_opened: { channels, keys: [['lot']] },
  // What has changed stands in the event: nothing is fetched.
  tiebreaker_bid: {
    channels,
    keys: [['lot']],
    patch: (queryClient, { data: { bid_amount, team_id, team_name, closes_at } }) =>
      queryClient.setQueriesData<Lot>({ queryKey: ['lot'] }, (lot) => {
        return lot && { ...lot, bid: bid_amount, leader: { id: team_id, name: team_name }, closesAt: closes_at };
      }),
  },
  wallet_update: {
    channels,
    keys: [['wallet']],
    patch: (queryClient, { channel, data }) =>
      queryClient.setQueryData<Wallet>(['wallet', channel?.replace('team:', '')], (wallet) => {
        return wallet && { ...wallet, balance: data.new_balance };
      }),
  },
} satisfies Rules;
