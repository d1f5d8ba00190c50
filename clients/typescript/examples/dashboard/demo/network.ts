/** The network between pages and node, which can be cut. */

import { connect, createServer, type Socket } from 'node:net';

export class Network {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((page) => {
    if (this.#cut) {
      page.destroy();
      return;
    }
    const node = connect(this.nodePort, '127.0.0.1');
    for (const [socket, other] of [
      [page, node],
      [node, page],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  #cut = false;

  /** From `port` to the node's. */
  constructor(
    private readonly port: number,
    private readonly nodePort: number,
  ) {}

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve));
  }

  /** Ends all connections, and lets none through for so long. */
  cut(ms: number): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
    setTimeout(() => {
      this.#cut = false;
    }, ms).unref();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
