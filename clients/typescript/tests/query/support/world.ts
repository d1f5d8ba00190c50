/** An app in a test: a gateway, a client, a query client of some version, and what is mounted. Time is fake. */

import type { Client, ClientOptions } from '@fanfare/client';
import { type Binding, type BindOptions, bindQueryClient } from '@fanfare/client/query';
import { createFakeGateway, type FakeGateway, type FakeGatewayOptions } from '@fanfare/client/testing';
import { afterEach, beforeEach, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { settle } from '../../support/settle.ts';
import { type Backend, backend } from './backend.ts';
import type { AnyQueryClient, Look, Version } from './versions.ts';

export class World {
  readonly gateway: FakeGateway;
  readonly client: Client;
  readonly queryClient: AnyQueryClient;
  readonly #ends: (() => void)[] = [];

  constructor(
    private readonly version: Version,
    { gateway, client, queries }: WorldOptions = {},
  ) {
    this.gateway = createFakeGateway(gateway);
    this.client = clientOf(this.gateway, { reconnect: { intervalMs: 100 }, ...client });
    this.queryClient = version.makeQueryClient(queries);
    this.queryClient.mount();
  }

  bind(options: BindOptions): Binding {
    const binding = bindQueryClient(this.client, this.queryClient, options);
    this.#ends.push(binding);
    return binding;
  }

  /** A component that shows a query. */
  look(queryKey: readonly unknown[], source: Backend = backend(), options: object = {}): Look {
    return this.show({ queryKey, queryFn: source.get, ...options });
  }

  /** A component that shows the query of such options. */
  show(options: { queryKey: readonly unknown[]; queryFn?: unknown }): Look {
    const look = this.version.look(this.queryClient, { ...options });
    this.#ends.push(look.off);
    return look;
  }

  /** A component that shows the pages of an infinite query; each page is a request. */
  lookAtPages(queryKey: readonly unknown[], source: Backend): Look {
    const getNextPageParam = (_: unknown, pages: unknown[]) => pages.length;
    const options = { queryKey, queryFn: source.get, initialPageParam: 0, getNextPageParam };
    const look = this.version.lookAtPages(this.queryClient, options);
    this.#ends.push(look.off);
    return look;
  }

  /** What is mounted is live, and what had to be fetched for that has been. */
  async live(): Promise<void> {
    this.client.connect();
    await this.wait(5_000);
  }

  async publish(type: string, data: unknown = {}, topic: 'tenant' | `channel:${string}` = 'tenant'): Promise<void> {
    this.gateway.publish(topic, { type, data });
    await settle();
  }

  async wait(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  /** The network is away for so long. */
  async interruption(ms = 0, meanwhile = () => {}): Promise<void> {
    this.gateway.stop();
    await this.wait(ms);
    meanwhile();
    this.gateway.start();
    await this.wait(1_500);
  }

  setOnline(isOnline: boolean): void {
    this.version.setOnline(isOnline);
  }

  /** The channels that the gateway has subscribed for the client. */
  get channels(): string[] {
    const topics = this.gateway.connections.flatMap((connection) => connection.topics);
    return topics.filter((topic) => topic.startsWith('channel:')).sort();
  }

  end(): void {
    this.setOnline(true);
    for (const end of this.#ends) {
      end();
    }
    this.client.disconnect();
    this.queryClient.unmount();
    this.queryClient.clear();
  }
}

export interface WorldOptions {
  gateway?: FakeGatewayOptions;
  client?: Partial<ClientOptions>;
  /** Default options of queries. */
  queries?: object;
}

/** Worlds for tests, which end with them. */
export function worldsOf(version: Version): (options?: WorldOptions) => World {
  let worlds: World[] = [];
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    for (const world of worlds) {
      world.end();
    }
    worlds = [];
    vi.useRealTimers();
  });
  return (options) => {
    const world = new World(version, options);
    worlds.push(world);
    return world;
  };
}
