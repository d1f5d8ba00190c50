/** An auction of players: bids, squads and wallets are told to each team's channel, and kept for those who are away. */

import { channel, RequestError } from '@fanfare/server';
import type { AuctionEvents, Lot, Player, SquadMember, Team, Wallet } from '../../src/apps/auction/contract.ts';
import { firstNames, lastNames } from '../names.ts';
import type { World } from '../world.ts';

const BUDGET = 120;
const OPEN_MS = 14_000;
const SQUAD_SIZE = 11;
const POSITIONS = ['Goalkeeper', 'Defender', 'Midfielder', 'Forward'] as const;
const TEAMS: Team[] = [
  { id: 'harbour', name: 'Harbour FC' },
  { id: 'forge', name: 'Forge United' },
  { id: 'meadow', name: 'Meadow Rovers' },
  { id: 'summit', name: 'Summit Athletic' },
];

interface Entrant {
  team: Team;
  wallet: Wallet;
  squad: SquadMember[];
}

export function auction({ routes, worker, random, publishDurable, every }: World): void {
  let count = 0;
  const entrants = TEAMS.map((team): Entrant => {
    const squad = Array.from({ length: random.whole(3, 5) }, () => ({ ...player(), price: random.whole(4, 14) }));
    const spent = squad.reduce((sum, { price }) => sum + price, 0);
    return { team, squad, wallet: { balance: BUDGET - spent, budget: BUDGET } };
  });
  let lot = nextLot();

  routes.get('/auction/teams', () => TEAMS);
  routes.get('/auction/lot', () => lot);
  routes.get('/auction/teams/:id/squad', ({ param }) => entrant(param('id'))?.squad);
  routes.get('/auction/teams/:id/wallet', ({ param }) => entrant(param('id'))?.wallet);
  worker.method('bids.place', ({ data: { team, amount } }) => {
    const bidder = entrant(String(team));
    if (!bidder) throw new RequestError('forbidden', 'there is no such team');
    if (!(amount > lot.bid)) throw new RequestError('forbidden', `somebody has bid ${lot.bid} M already`);
    if (amount > bidder.wallet.balance) throw new RequestError('forbidden', 'the wallet is too small for that');
    bid(bidder, amount);
    return { amount };
  });

  every(1400, () => {
    if (Date.now() > lot.closesAt) {
      hammer();
      return;
    }
    const rival = random.pick(entrants.filter(({ team, wallet }) => team !== lot.leader && wallet.balance > lot.bid));
    if (rival && random.chance(lot.bid < 8 ? 0.8 : 0.25)) bid(rival, lot.bid + random.whole(1, 2));
  });

  function bid({ team }: Entrant, amount: number): void {
    lot = { ...lot, bid: amount, leader: team, closesAt: Math.max(lot.closesAt, Date.now() + 6000) };
    tellAll({
      type: 'tiebreaker_bid',
      data: {
        player_id: lot.player.id,
        team_id: team.id,
        team_name: team.name,
        bid_amount: amount,
        closes_at: lot.closesAt,
      },
    });
  }

  /** The highest bidder gets the player; a team that is full, or poor, starts anew. */
  function hammer(): void {
    const winner = lot.leader && entrant(lot.leader.id);
    if (winner) {
      const { wallet, squad } = winner;
      wallet.balance -= lot.bid;
      squad.unshift({ ...lot.player, price: lot.bid });
      tell(winner, squadUpdate(lot.player, 'acquired', lot.bid));
      tell(winner, walletUpdate(wallet, lot.bid));
      while (squad.length > SQUAD_SIZE || wallet.balance < 15) {
        const sold = squad.pop();
        if (!sold) break;
        wallet.balance = Math.min(BUDGET, wallet.balance + sold.price);
        tell(winner, squadUpdate(sold, 'removed', sold.price));
        tell(winner, walletUpdate(wallet, -sold.price));
      }
    }
    lot = nextLot();
    tellAll({ type: 'lot_opened', data: { player_id: lot.player.id } });
  }

  type Event = { [T in keyof AuctionEvents]: { type: T; data: AuctionEvents[T] } }[keyof AuctionEvents];

  function tell({ team }: Entrant, event: Event): void {
    publishDurable(channel(`team:${team.id}`), event);
  }

  function tellAll(event: Event): void {
    for (const each of entrants) tell(each, event);
  }

  function squadUpdate(of: Player, action: 'acquired' | 'removed', price: number): Event {
    return { type: 'squad_update', data: { player_id: of.id, player_name: of.name, action, price } };
  }

  function walletUpdate({ balance }: Wallet, spent: number): Event {
    return { type: 'wallet_update', data: { new_balance: balance, amount_spent: spent, currency_type: 'million' } };
  }

  function nextLot(): Lot {
    return { player: player(), bid: random.whole(2, 5), leader: null, closesAt: Date.now() + OPEN_MS };
  }

  function player(): Player {
    count += 1;
    const name = `${random.pick(firstNames)} ${random.pick(lastNames)}`;
    return { id: `p-${count}`, name, position: random.pick(POSITIONS) ?? 'Forward' };
  }

  function entrant(id: string): Entrant | undefined {
    return entrants.find(({ team }) => team.id === id);
  }
}
