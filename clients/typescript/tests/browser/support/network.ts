/** What lies between a browser and its node, and does to connections what networks do. */

import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import { afterAll } from 'vitest';

const started: Network[] = [];

afterAll(() => {
  for (const network of started) {
    network.close();
  }
});

/** One connection through it. */
interface Link {
  client: Socket;
  node: Socket;
}

/** A TCP proxy in front of a node. */
export class Network {
  /** Whether new connections are reset. */
  refuses = false;
  /** Whether upgrades to a WebSocket are answered with 403, as some companies' proxies do. */
  blocksWebSockets = false;
  /** Upgrades to a WebSocket ever asked for, blocked ones included. */
  upgrades = 0;
  readonly #links = new Set<Link>();

  private constructor(
    private readonly server: Server,
    private readonly target: { host: string; port: number },
  ) {
    server.on('connection', (client) => this.#accept(client));
    started.push(this);
  }

  static async before(target: { host: string; port: number }): Promise<Network> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Network(server, target);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Resets every connection. */
  cut(): void {
    for (const { client, node } of this.#links) {
      client.resetAndDestroy();
      node.resetAndDestroy();
    }
  }

  /** Lets no byte of these connections through any more, in either direction, and closes nothing: they are silently dead. */
  stall(): void {
    for (const { client, node } of this.#links) {
      client.pause();
      node.pause();
    }
  }

  /** New connections get through again. */
  heal(): void {
    this.refuses = false;
    this.blocksWebSockets = false;
  }

  close(): void {
    this.cut();
    this.server.close();
  }

  #accept(client: Socket): void {
    client.on('error', () => client.destroy());
    if (this.refuses) {
      client.resetAndDestroy();
      return;
    }
    client.once('data', (head) => {
      const isUpgrade = /^upgrade: websocket\r$/im.test(head.toString('latin1'));
      this.upgrades += isUpgrade ? 1 : 0;
      if (isUpgrade && this.blocksWebSockets) {
        client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      this.#link(client, head);
    });
  }

  /** Passes on what was read already, and all that follows. */
  #link(client: Socket, head: Buffer): void {
    const node = dial(this.target);
    const link = { client, node };
    this.#links.add(link);
    const pass = (from: Socket, to: Socket) => {
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => from.destroy());
      from.on('close', () => {
        this.#links.delete(link);
        to.destroySoon();
      });
    };
    node.write(head);
    pass(client, node);
    pass(node, client);
  }
}
