/** Players under the hammer. The page polls only while it isn't live. */

import { useEvent, useEventState, useRequest } from '@fanfare/client/react';
import { useLiveInterval } from '@fanfare/client/react-query';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { get } from '../../api.ts';
import { Avatar, Bar, Card, Flash, PageHead, Segments } from '../../ui/parts.tsx';
import { toast } from '../../ui/toasts.tsx';
import type { AuctionEvents, Lot, SquadMember, Wallet } from './contract.ts';
import './auction.css';

const TEAMS = [
  { value: 'harbour', label: 'Harbour' },
  { value: 'forge', label: 'Forge' },
  { value: 'meadow', label: 'Meadow' },
  { value: 'summit', label: 'Summit' },
] as const;
type TeamId = (typeof TEAMS)[number]['value'];

export function AuctionPage() {
  const [team, setTeam] = useState<TeamId>('harbour');
  useEvent(
    'squad_update',
    ({ data: { action, player_name, price } }) =>
      action === 'acquired'
        ? toast(`${player_name} is yours`, `for ${price} M`, 'good')
        : toast(`${player_name} was sold`, `for ${price} M`),
    { channel: `team:${team}` },
  );
  return (
    <>
      <PageHead
        title="Auction"
        about="Bids, squad and wallet of one team, over its own channel. Polling begins only when the connection is away."
      >
        <Segments label="Your team" options={TEAMS} value={team} onChange={setTeam} />
      </PageHead>
      <div className="grid auction">
        <div className="grid">
          <LotCard team={team} />
          <Squad team={team} />
        </div>
        <div className="grid">
          <WalletCard team={team} />
          <Bids team={team} />
        </div>
      </div>
    </>
  );
}

function LotCard({ team }: { team: TeamId }) {
  const refetchInterval = useLiveInterval(1000);
  const { data: lot } = useQuery({ queryKey: ['lot', team], queryFn: () => get<Lot>('/auction/lot'), refetchInterval });
  const { request: bid, isPending } = useRequest('bids.place');
  if (!lot) return <Card title="On the block">…</Card>;
  const place = (more: number) =>
    bid({ team, amount: lot.bid + more }).catch((error) => toast('Not accepted', error.message, 'bad'));
  return (
    <Card title="On the block" note={<Countdown to={lot.closesAt} />}>
      <div className="lot" key={lot.player.id}>
        <Avatar name={lot.player.name} />
        <div className="grow">
          <b>{lot.player.name}</b>
          <span className="soft">{lot.player.position}</span>
        </div>
        <div className="price">
          <Flash of={String(lot.bid)}>{lot.bid} M</Flash>
          <span className="soft">
            {lot.leader ? (lot.leader.id === team ? 'your team' : lot.leader.name) : 'opening price'}
          </span>
        </div>
      </div>
      <div className="bids">
        {[1, 2, 5].map((more) => (
          <button
            key={more}
            className="button"
            data-kind="primary"
            type="button"
            disabled={isPending || lot.leader?.id === team}
            onClick={() => place(more)}
          >
            Bid {lot.bid + more} M
          </button>
        ))}
      </div>
    </Card>
  );
}

function Countdown({ to }: { to: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const ticking = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(ticking);
  }, []);
  const seconds = Math.max(0, Math.ceil((to - now) / 1000));
  return <span className="number">{seconds > 0 ? `${seconds} s left` : 'going, gone'}</span>;
}

/** The last bids, as they are told: nothing is fetched for them. */
function Bids({ team }: { team: TeamId }) {
  const bids = useEventState(
    'tiebreaker_bid',
    (bids, { data }) => [data, ...bids].slice(0, 6),
    [] as AuctionEvents['tiebreaker_bid'][],
    { channel: `team:${team}` },
  );
  return (
    <Card title="Bids" note="as they are told">
      {bids.length === 0 && <p className="empty">Waiting for the next one …</p>}
      <ol className="rows">
        {bids.map(({ player_id, team_id, team_name, bid_amount }) => (
          <li key={`${player_id} ${bid_amount}`} className="flash">
            <i className="dot" data-team={team_id} />
            <span className="grow cut">{team_name}</span>
            <b className="number">{bid_amount} M</b>
          </li>
        ))}
      </ol>
    </Card>
  );
}

function WalletCard({ team }: { team: TeamId }) {
  const refetchInterval = useLiveInterval(1000);
  const { data: wallet } = useQuery({
    queryKey: ['wallet', team],
    queryFn: () => get<Wallet>(`/auction/teams/${team}/wallet`),
    refetchInterval,
  });
  return (
    <Card title="Wallet">
      {wallet && (
        <div className="wallet">
          <span className="price">
            <Flash of={`${team} ${wallet.balance}`}>{wallet.balance} M</Flash>
          </span>
          <Bar share={wallet.balance / wallet.budget} label="Left in the wallet" />
          <span className="soft">of {wallet.budget} M</span>
        </div>
      )}
    </Card>
  );
}

function Squad({ team }: { team: TeamId }) {
  const refetchInterval = useLiveInterval(1000);
  const { data: squad } = useQuery({
    queryKey: ['squad', team],
    queryFn: () => get<SquadMember[]>(`/auction/teams/${team}/squad`),
    refetchInterval,
  });
  return (
    <Card title="Squad" note={`${squad?.length ?? 0} players`}>
      <ul className="squad">
        {squad?.map(({ id, name, position, price }) => (
          <li key={id} className="flash">
            <Avatar name={name} />
            <span className="grow">
              <span className="cut">{name}</span>
              <span className="soft">{position}</span>
            </span>
            <span className="number">{price} M</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
