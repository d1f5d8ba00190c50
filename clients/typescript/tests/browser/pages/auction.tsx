/** Auction: a team's squad, wallet and tiebreaker, with toasts. It polls each second while it isn't live, or all the time. */

import { bindQueryClient } from '@fanfare/client/query';
import { useWebSocket } from '@fanfare/client/react';
import { useLiveInterval } from '@fanfare/client/react-query';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, render, setUp, visit } from './shell.tsx';

const POLL_MS = 1000;
const team = visit.get('team') ?? '';
const pollsAlways = visit.has('polling');

const page = setUp();
if (!pollsAlways) {
  const channels = [`team:${team}`];
  bindQueryClient(page.client, page.queryClient, {
    rules: {
      squad_update: { channels, keys: [['squad', team]] },
      wallet_update: { channels, keys: [['wallet', team]] },
      tiebreaker_bid: { channels, keys: [['tiebreaker', team]] },
    },
  });
}

function useTeam<T>(kind: string): T | undefined {
  const whileNotLive = useLiveInterval(POLL_MS);
  const { data } = useQuery({
    queryKey: [kind, team],
    queryFn: () => api<T>(`${visit.get('app')}/${kind}`),
    refetchInterval: pollsAlways ? POLL_MS : whileNotLive,
    staleTime: 300_000,
  });
  return data;
}

function Dashboard() {
  const squad = useTeam<string[]>('squad');
  const wallet = useTeam<{ balance: number }>('wallet');
  const tiebreaker = useTeam<{ highest: number }>('tiebreaker');
  const [toasts, setToasts] = useState<string[]>([]);
  const { isConnected } = useWebSocket({
    channel: `team:${team}`,
    enabled: !pollsAlways,
    onMessage: ({ type, data }) => {
      if (type === 'squad_update') {
        setToasts((toasts) => [...toasts, `${data.player_name} acquired!`]);
      }
    },
  });
  return (
    <>
      <p id="live">{isConnected ? 'live' : 'offline'}</p>
      <p id="squad">{squad?.join(', ')}</p>
      <p id="wallet">{wallet?.balance}</p>
      <p id="tiebreaker">{tiebreaker?.highest}</p>
      <ul id="toasts">
        {toasts.map((toast) => (
          <li key={toast}>{toast}</li>
        ))}
      </ul>
    </>
  );
}

render(page, <Dashboard />);
