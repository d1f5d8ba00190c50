/** All that a test file needs: Redis, a node, the network before it, an app with its backend, and a browser. */

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { until } from '../../support/until.ts';
import { App, type Visit } from './app.ts';
import { Backend } from './backend.ts';
import { launch } from './chromium.ts';
import { complaints, type Entry } from './ledger.ts';
import { Network } from './network.ts';
import { FanfareNode } from './node.ts';
import { RedisServer } from './redis.ts';

const TENANT = 'acme';

/** Everything runs before the tests of the file, and until they have ended. Tabs are closed after each test. */
export class Stage {
  redis!: RedisServer;
  node!: FanfareNode;
  /** Between the browser and the node. */
  network!: Network;
  app!: App;
  backend!: Backend;
  browser!: Browser;
  readonly #contexts: BrowserContext[] = [];
  /** What went wrong in pages. */
  readonly #pageErrors: string[] = [];
  readonly #publishedBefore = new WeakMap<Page, number>();

  /** To be made at the top of a test file. `settings` are the node's, by their environment variables. */
  constructor(settings: Record<string, string> = {}) {
    beforeAll(() => this.#set(settings));
    afterEach(() => this.#clear());
    afterAll(() => this.browser?.close());
  }

  /** A browser of its own, with its own cookies and storage: somebody. */
  async somebody(): Promise<BrowserContext> {
    const context = await this.browser.newContext();
    context.on('weberror', (error) => this.#pageErrors.push(String(error.error())));
    this.#contexts.push(context);
    return context;
  }

  /** Opens a page in a tab, and resolves when it is live and shows what it has fetched. `prepare` comes before the page is loaded. */
  async open(
    page: string,
    visit: Visit = {},
    { context, prepare }: { context?: BrowserContext; prepare?: (tab: Page) => Promise<void> } = {},
  ): Promise<Page> {
    const tab = await (context ?? (await this.somebody())).newPage();
    tab.setDefaultTimeout(20_000);
    await prepare?.(tab);
    await tab.goto(await this.app.pageUrl(page, visit));
    await live(tab);
    await settled(tab);
    this.#publishedBefore.set(tab, this.backend.published.length);
    return tab;
  }

  /** Redis is killed and comes back empty. `meanwhile`: what happens while it is away. */
  async restartRedis(meanwhile: () => unknown = () => {}): Promise<void> {
    await this.redis.kill();
    await meanwhile();
    await this.redis.restart();
    await this.node.ready();
    await this.backend.ready();
  }

  /**
   * The promise that everything rests on: of all events of a topic that were published since the page was opened, each came
   * once and in order, or a gap told of it.
   */
  async accountsFor(topic: string, tab: Page): Promise<void> {
    const published = this.backend.published.slice(this.#publishedBefore.get(tab));
    await expect
      .poll(async () => complaints(topic, published, await heard(tab)), { timeout: 20_000, interval: 20 })
      .toEqual([]);
  }

  async #set(settings: Record<string, string>): Promise<void> {
    this.redis = await RedisServer.start();
    [this.node, this.backend, this.browser] = await Promise.all([
      FanfareNode.start(this.redis.url, settings),
      Backend.start(this.redis, TENANT),
      launch(),
    ]);
    this.network = await Network.before({ host: '127.0.0.1', port: this.node.port });
    this.app = await App.start(TENANT, `ws://127.0.0.1:${this.network.port}/ws`);
  }

  /** Leaves the next test a network that works, and a node without connections. */
  async #clear(): Promise<void> {
    await Promise.all(this.#contexts.splice(0).map((context) => context.close()));
    this.network.heal();
    this.network.cut();
    await until('nobody is connected', async () => (await this.node.connections()) === 0);
    expect(this.#pageErrors.splice(0)).toEqual([]);
  }
}

/** Resolves when the page is connected, and all that it subscribes is live. */
export async function live(tab: Page): Promise<void> {
  await tab.waitForFunction(() => window.page?.client.state.get().status === 'connected');
}

/** Resolves when nothing is being fetched. */
export async function settled(tab: Page): Promise<void> {
  await tab.waitForFunction(() => window.page?.queryClient.isFetching() === 0);
}

/** What the page was told, in order. */
function heard(tab: Page): Promise<Entry[]> {
  return tab.evaluate(() => window.page?.heard ?? []);
}
