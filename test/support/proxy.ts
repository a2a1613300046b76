/** A TCP relay in front of a server that can hang, cut and refuse. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Coordinates } from './global-setup.ts';

export class FaultyProxy {
  port = 0;
  /** Accepted and passed nothing on, as a black hole does. */
  hanging = false;
  /** What becomes of what the server says. */
  rewrite: (chunk: Buffer) => Buffer = (chunk) => chunk;
  /** Connections that were ever made to it. */
  accepted = 0;
  readonly #target: Coordinates;
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();

  static async start(target: Coordinates, host = '127.0.0.1', port = 0): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(port, host, resolve);
    });
    proxy.port = (proxy.#server.address() as { port: number }).port;
    return proxy;
  }

  private constructor(target: Coordinates) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Nothing passes any more, on old connections and new ones. */
  hang(): void {
    this.hanging = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  heal(): void {
    this.hanging = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** Resets every connection. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    this.accepted++;
    const server = connect({ host: this.#target.host, port: this.#target.port });
    const pair: [Socket, Socket] = [client, server];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [server, client]] as const) {
      from.on('data', (chunk) => to.write(from === server ? this.rewrite(chunk) : chunk));
      from.on('error', () => {});
      from.on('close', () => {
        this.#pairs.delete(pair);
        to.destroy();
      });
      if (this.hanging) from.pause();
    }
  }
}
