/** What the auction's backend and pages say to each other. Amounts are in millions. */

export interface Team {
  id: string;
  name: string;
}

export interface Player {
  id: string;
  name: string;
  position: 'Goalkeeper' | 'Defender' | 'Midfielder' | 'Forward';
}

export interface Lot {
  player: Player;
  /** The highest bid, and who made it. */
  bid: number;
  leader: Team | null;
  /** Unix ms. Each bid moves it. */
  closesAt: number;
}

export interface Wallet {
  balance: number;
  budget: number;
}

export interface SquadMember extends Player {
  price: number;
}

export interface AuctionEvents {
  squad_update: { player_id: string; player_name: string; action: 'acquired' | 'removed'; price: number };
  wallet_update: { new_balance: number; amount_spent: number; currency_type: 'million' };
  /** `closes_at`: until when it can be outbid, Unix ms. */
  tiebreaker_bid: {
    player_id: string;
    team_id: string;
    team_name: string;
    bid_amount: number;
    closes_at: number;
  };
  /** The next player is up. */
  lot_opened: { player_id: string };
}

export interface AuctionChannels {
  [team: `team:${string}`]: keyof AuctionEvents;
}

export interface AuctionMethods {
  /** Refused when somebody has bid more, or the wallet is too small. */
  'bids.place': { input: { team: string; amount: number }; output: { amount: number } };
}
