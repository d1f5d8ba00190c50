/** Sidebar, page, and the connection beside it. */

import { useEffect } from 'react';
import { me } from './api.ts';
import { AgencyPage } from './apps/agency/Page.tsx';
import { AuctionPage } from './apps/auction/Page.tsx';
import { LabPage } from './apps/lab/Page.tsx';
import { ShiftsPage } from './apps/shifts/Page.tsx';
import { WorkshopsPage } from './apps/workshops/Page.tsx';
import { Connection } from './connection/Connection.tsx';
import { useRoute } from './route.ts';
import { sourcesOf } from './sources.ts';
import { Code } from './ui/Code.tsx';
import { Icon, type IconName, Logo } from './ui/icons.tsx';
import { Toasts } from './ui/toasts.tsx';

const APPS = [
  { id: 'workshops', title: 'Workshops', Page: WorkshopsPage },
  { id: 'lab', title: 'Lab', Page: LabPage },
  { id: 'agency', title: 'Agency', Page: AgencyPage },
  { id: 'auction', title: 'Auction', Page: AuctionPage },
  { id: 'shifts', title: 'Shifts', Page: ShiftsPage },
] as const satisfies readonly { id: IconName; [more: string]: unknown }[];

export function App() {
  const route = useRoute();
  const { id, title, Page } = APPS.find((app) => app.id === route) ?? APPS[0];
  useEffect(() => {
    document.title = `${title} · Fanfare`;
  }, [title]);
  return (
    <div className="frame" data-app={id}>
      <div className="sidebar">
        <div className="brand">
          <Logo /> Fanfare
        </div>
        <nav className="nav" aria-label="Applications">
          {APPS.map((app) => (
            <a key={app.id} href={`#/${app.id}`} data-app={app.id} aria-current={app.id === id ? 'page' : undefined}>
              <Icon name={app.id} /> {app.title}
            </a>
          ))}
        </nav>
        <p className="sidebar-foot">
          Signed in as <b>{me}</b>.<br />
          One connection for all five.
        </p>
      </div>
      <main className="page">
        <Page />
        <Code key={id} sources={sourcesOf(id)} />
      </main>
      <Connection app={id} />
      <Toasts />
    </div>
  );
}
