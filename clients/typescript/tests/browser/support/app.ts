/** An app's own server: its pages, its API, and the route that mints tokens. It counts what it is asked. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';
import { bundle } from './bundle.ts';
import { mintToken } from './token.ts';

const started: App[] = [];

afterAll(() => {
  for (const app of started) {
    app.close();
  }
});

/** Who looks at a page (`user`), and what else the page wants to know. */
export type Visit = Record<string, string>;

/** The server of one app, whose users are all of one tenant. */
export class App {
  /** How long tokens are valid, in seconds. */
  tokenLifetimeS = 600;
  readonly #endpoints = new Map<string, () => unknown>();
  readonly #calls: string[] = [];
  readonly #bundles = new Map<string, Promise<string>>();

  private constructor(
    private readonly server: Server,
    private readonly address: string,
    readonly tenant: string,
    /** The address of the node that pages are told. */
    private readonly realtime: string,
  ) {
    server.on('request', (request, response) => this.#answer(request, response));
    started.push(this);
  }

  static async start(tenant: string, realtime: string, address = '127.0.0.1'): Promise<App> {
    const server = createServer();
    server.listen(0, address);
    await once(server, 'listening');
    return new App(server, address, tenant, realtime);
  }

  /** The address of a page, for somebody. Rejects when the page can't be built. */
  async pageUrl(page: string, visit: Visit = {}): Promise<string> {
    await this.#bundle(page);
    return `${this.origin}/${page}?${new URLSearchParams({ user: 'ana', realtime: this.realtime, ...visit })}`;
  }

  private get origin(): string {
    return `http://${this.address}:${(this.server.address() as AddressInfo).port}`;
  }

  /** Serves `/api/<path>`: what the function returns, as JSON. */
  serve(path: string, endpoint: () => unknown): void {
    this.#endpoints.set(`/api/${path}`, endpoint);
  }

  /** How often the API was asked, for one path or at all. */
  calls(path?: string): number {
    const prefix = path === undefined ? '/api/' : `/api/${path}`;
    return this.#calls.filter((asked) => (path === undefined ? asked.startsWith(prefix) : asked === prefix)).length;
  }

  /** How many tokens were minted. */
  get tokens(): number {
    return this.#calls.filter((asked) => asked === '/token').length;
  }

  /** Forgets what it was asked. */
  forgetCalls(): void {
    this.#calls.length = 0;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.origin);
    const endpoint = this.#endpoints.get(pathname);
    this.#calls.push(pathname);
    try {
      if (pathname === '/token') {
        const grant = { tenant: this.tenant, user: searchParams.get('user') ?? '', lifetimeS: this.tokenLifetimeS };
        send(response, 200, 'text/plain', mintToken(grant));
      } else if (endpoint) {
        send(response, 200, 'application/json', JSON.stringify(endpoint()));
      } else if (pathname.endsWith('.js')) {
        send(response, 200, 'text/javascript', await this.#bundle(pathname.slice(1, -3)));
      } else if (pathname.startsWith('/api/') || pathname.includes('.')) {
        send(response, 404, 'text/plain', 'there is nothing here');
      } else {
        send(response, 200, 'text/html', html(pathname.slice(1)));
      }
    } catch (error) {
      send(response, 500, 'text/plain', String(error));
    }
  }

  #bundle(page: string): Promise<string> {
    const bundled = this.#bundles.get(page) ?? bundle(page);
    this.#bundles.set(page, bundled);
    return bundled;
  }
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'no-store' });
  response.end(body);
}

function html(page: string): string {
  return `<!doctype html><meta charset="utf-8"><title>${page}</title><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/${page}.js"></script>`;
}
