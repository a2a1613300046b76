/** One who comes between a client and its server over TLS. */
import { readFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls';
import { sslRequest } from '@sluice/wire';
import type { Pair } from './certificates.ts';

/** Answers as the server, with his own certificate, and relays what he reads to the real one. */
export class ManInTheMiddle {
  port = 0;
  relayed = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async start(target: number, { key, cert }: Pair): Promise<ManInTheMiddle> {
    const secureContext = createSecureContext({ key: readFileSync(key), cert: readFileSync(cert) });
    const middle = new ManInTheMiddle((socket) => middle.#accept(socket, secureContext, target));
    await new Promise<void>((resolve) => middle.#server.listen(0, '127.0.0.1', resolve));
    middle.port = (middle.#server.address() as { port: number }).port;
    return middle;
  }

  private constructor(accept: (socket: Socket) => void) {
    this.#server = createServer(accept);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket, secureContext: ReturnType<typeof createSecureContext>, target: number): void {
    const onward = connectTcp(target, '127.0.0.1');
    for (const one of [socket, onward]) {
      this.#sockets.add(one);
      one.on('error', () => {});
    }
    socket.once('data', () => {
      onward.write(sslRequest());
      onward.once('data', () => {
        const there = connectTls({ socket: onward, rejectUnauthorized: false });
        socket.write('S');
        const here = new TLSSocket(socket, { isServer: true, secureContext });
        for (const [from, to] of [[here, there] as const, [there, here] as const]) {
          from.on('error', () => {});
          from.on('close', () => to.destroy());
          from.on('data', (chunk) => {
            this.relayed += chunk.length;
            to.write(chunk);
          });
        }
      });
    });
  }
}
