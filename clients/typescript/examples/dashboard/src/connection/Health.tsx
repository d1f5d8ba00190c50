/** How the connection does, in figures, and buttons that break it. */

import { ConnectionStatus, useClient, useConnectionHealth } from '@fanfare/client/react';
import { post } from '../api.ts';
import { binding } from '../realtime.ts';
import type { Tone } from '../ui/parts.tsx';

const TONES: Record<string, Tone> = { connected: 'good', connecting: 'warn', reconnecting: 'warn', failed: 'bad' };

export function Health() {
  const health = useConnectionHealth();
  const client = useClient();
  return (
    <section className="card">
      <header className="card-head">
        <ConnectionStatus>
          {({ label, retryInSec, state }) => (
            <span className="status" role="status" data-tone={TONES[state.status] ?? 'plain'}>
              <i />
              <span>
                {label}
                {retryInSec ? <span aria-hidden="true"> in {retryInSec} s</span> : null}
              </span>
            </span>
          )}
        </ConnectionStatus>
      </header>
      <dl className="figures">
        <dt>Round trip</dt>
        <dd>{health.latencyMs === undefined ? '–' : `${health.latencyMs.toFixed(0)} ms`}</dd>
        <dt>Topics</dt>
        <dd>{health.subscriptions}</dd>
        <dt>Frames in / out</dt>
        <dd>
          {health.received} / {health.sent}
        </dd>
        <dt>Reconnects</dt>
        <dd>{health.reconnects}</dd>
        <dt>Gaps</dt>
        <dd>{health.gaps}</dd>
        <dt>Queries kept fresh</dt>
        <dd>{binding.cacheSize}</dd>
      </dl>
      <div className="faults">
        <button className="button" type="button" onClick={() => post('/demo/cut')}>
          Cut the network
        </button>
        <button className="button" type="button" onClick={() => post('/demo/kill')}>
          Kill the node
        </button>
        <button className="button" type="button" onClick={() => client.reconnect()}>
          Reconnect now
        </button>
      </div>
    </section>
  );
}
