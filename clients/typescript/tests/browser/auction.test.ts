import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { shows } from './support/chromium.ts';
import { Stage, settled } from './support/stage.ts';

const stage = new Stage();

/** One team's data, and the API that serves it. */
class Team {
  squad: string[] = [];
  balance = 1000;
  highestBid = 0;

  /** `prefix` tells the calls of several pages apart. */
  constructor(
    readonly name: string,
    ...prefixes: string[]
  ) {
    for (const prefix of prefixes) {
      stage.app.serve(`${prefix}/squad`, () => this.squad);
      stage.app.serve(`${prefix}/wallet`, () => ({ balance: this.balance }));
      stage.app.serve(`${prefix}/tiebreaker`, () => ({ highest: this.highestBid }));
    }
  }

  async acquires(player: string, price: number): Promise<void> {
    this.squad = [...this.squad, player];
    this.balance -= price;
    await this.#tell('squad_update', { player_name: player, action: 'acquired', price });
    await this.#tell('wallet_update', { new_balance: this.balance });
  }

  async bids(amount: number): Promise<void> {
    this.highestBid = amount;
    await this.#tell('tiebreaker_bid', { bid_amount: amount });
  }

  /** What a page that is up to date shows. */
  async isShownOn(tab: Page): Promise<void> {
    await shows(tab, '#squad', new RegExp(`^${this.squad.join(', ')}$`));
    await shows(tab, '#wallet', new RegExp(`^${this.balance}$`));
    await shows(tab, '#tiebreaker', new RegExp(`^${this.highestBid}$`));
  }

  #tell(type: string, data: object): Promise<void> {
    return stage.backend.publish(`channel:team:${this.name}`, type, data);
  }
}

test('an acquisition shows in squad and wallet, and raises one toast; other teams hear nothing of it', async () => {
  const team = new Team('t1', 'one');
  new Team('t2', 'two');
  const tab = await stage.open('auction', { team: 't1', app: 'one' });
  const rival = await stage.open('auction', { team: 't2', app: 'two' });
  await shows(tab, '#live', 'live');
  await team.isShownOn(tab);

  await team.acquires('Pelé', 300);
  await team.bids(40);

  await team.isShownOn(tab);
  await shows(tab, '#toasts', /^Pelé acquired!$/);
  await stage.accountsFor('channel:team:t1', tab);
  expect(await rival.evaluate(() => window.page?.heard)).toEqual([]);
});

/** A session of ten minutes: what happens at which second. */
const SESSION_S = 600;
const SCRIPT: Record<number, (team: Team) => Promise<void>> = {
  30: (team) => team.acquires('Banks', 50),
  31: (team) => team.acquires('Moore', 80),
  120: (team) => team.acquires('Charlton', 120),
  200: (team) => team.bids(10),
  205: (team) => team.bids(15),
  207: (team) => team.bids(20),
  300: (team) => team.acquires('Hurst', 90),
  // While the connection is away.
  402: (team) => team.acquires('Ball', 60),
  480: (team) => team.acquires('Peters', 70),
  550: (team) => team.bids(25),
};
const AWAY = { from: 400, to: 405 };

/**
 * The pages' clock is the test's: ten minutes pass in steps of a second, for both pages at once, and after each step the pages
 * finish what they have asked for. So the polling page really asks each second, and the live one when it has a reason to.
 */
test('a live page asks the API at most a twentieth as often as one that polls each second, and shows the same', async () => {
  const team = new Team('t3', 'live', 'polling');
  const [liveTab, pollingTab] = await Promise.all([
    openWithClock({ team: 't3', app: 'live' }),
    openWithClock({ team: 't3', app: 'polling', polling: 'yes' }),
  ]);
  const tabs = [liveTab, pollingTab];
  await Promise.all(tabs.map((tab) => team.isShownOn(tab)));

  for (let second = 1; second <= SESSION_S; second += 1) {
    if (second === AWAY.from) {
      stage.network.refuses = true;
      stage.network.cut();
      await shows(liveTab, '#live', 'offline');
    }
    if (second === AWAY.to) {
      stage.network.refuses = false;
    }
    await SCRIPT[second]?.(team);
    await Promise.all(tabs.map((tab) => passSecond(tab)));
  }

  await Promise.all(tabs.map((tab) => team.isShownOn(tab)));
  const [asked, polled] = [stage.app.calls('live/squad'), stage.app.calls('polling/squad')];
  const all = (app: string) => ['squad', 'wallet', 'tiebreaker'].map((kind) => stage.app.calls(`${app}/${kind}`));
  expect(polled).toBeGreaterThanOrEqual(SESSION_S);
  expect(asked).toBeGreaterThan(AWAY.to - AWAY.from - 2);
  expect(sum(all('live'))).toBeLessThanOrEqual(0.05 * sum(all('polling')));
  await stage.accountsFor('channel:team:t3', liveTab);
});

async function openWithClock(visit: Record<string, string>): Promise<Page> {
  const tab = await stage.open('auction', visit, { prepare: (tab) => tab.clock.install() });
  await shows(tab, '#wallet', /\d/);
  await tab.clock.pauseAt(Date.now() + 1000);
  return tab;
}

/** A second goes by on the page, and what it has asked for meanwhile is answered. */
async function passSecond(tab: Page): Promise<void> {
  await tab.clock.runFor(1000);
  await settled(tab);
}

function sum(numbers: number[]): number {
  return numbers.reduce((one, other) => one + other, 0);
}
