/** Listening sockets: TCP and Unix. Hands each new connection to its owner as a `Conn`. */
import { lookup } from 'node:dns/promises';
import { chmodSync, chownSync, existsSync, linkSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { type AddressInfo, connect, createServer, isIP, type Server, type Socket } from 'node:net';
import { boundSocket, isAbstract } from './abstract-socket.ts';
import { acceptWaiting, HANDSHAKE_MS, refuseHandshakes, undeafen } from './closing-time.ts';
import { type Conn, DISCARD } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import { HotListener } from './hot-listener.ts';
import { PlainConn } from './plain-conn.ts';
import { reusePortSocket } from './reuse-port.ts';
import { fastConnsWork, type SocketHandle } from './straight-read.ts';

export interface ListenTarget {
  /** An address or '*'; for a Unix socket, its path (NUL first: an abstract name). */
  host: string;
  port: number;
  unix: boolean;
  /** Length of the kernel's queue of connections not yet accepted (PgBouncer listen_backlog). */
  backlog: number;
  /** Permissions and group of a Unix socket's file (unix_socket_mode, unix_socket_group). */
  mode?: number;
  group?: number;
  /** Other processes listen on the same address (so_reuseport). */
  shared?: boolean;
  /** A listening descriptor that exists already (socket activation, take-over) instead of a new one. */
  fd?: number;
  /** `fd` is of a pooler that this one takes the place of: a Unix socket's file is ours to remove now. */
  inherited?: boolean;
  /** Somebody listens on this Unix socket: a new one takes the place of its file, at once. With `inherited`. */
  replaces?: boolean;
}

export interface Listener {
  readonly target: ListenTarget;
  /** The port it really listens on (target.port 0 asks for any). */
  readonly port: number;
  /** All that it listens on, by TCP. */
  readonly addresses: readonly string[];
  readonly fd: number;
  /** Another process has it. */
  readonly released: boolean;
  /** It does not listen here any more. */
  readonly isOver: boolean;
  /** Somebody has removed the file of the Unix socket that it listens on. */
  readonly isLost: boolean;
  close(): void;
  /**
   * Closes it when everybody who has connected is in: the kernel would reset those it has not handed out yet. Where other
   * processes listen on the same port that takes a moment, in which people still come in; resolves when it is closed.
   */
  closeAfterLast(): Promise<void>;
  /** Closes it here; another process goes on with it, and with the file of a Unix socket. */
  release(): void;
  /** Closes it here, when everybody who has connected is in; another one has its file. */
  giveWay(): void;
  /** Who connects is let in by libuv again until there is load. */
  cool(): void;
}

/** Behind the name of a Unix socket that is to take another one's place. */
export const UNTIL_RENAMED = '.new';

export type Accept = (conn: Conn, socket: Socket | null) => void;

/** What '*' is, where the machine has IPv6: one socket for both. */
const BOTH = ['0.0.0.0', '::'];

interface ListeningHandle {
  fd: number;
  onconnection: ((status: number, handle: SocketHandle | undefined) => void) | undefined;
}

/**
 * Rejects with the system's error (EADDRINUSE, EACCES, …) when it cannot listen. '*' is every address, IPv6 too where the
 * machine has it; the file of a Unix socket that nobody listens on any more is taken over.
 */
export async function listen(target: ListenTarget, accept: Accept): Promise<Listener> {
  if (target.unix && target.fd === undefined && !target.replaces) await removeStale(target.host);
  if (target.host !== '*') return listenOn(target, target.host, accept);
  try {
    return await listenOn(target, '::', accept);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
    return listenOn(target, '0.0.0.0', accept);
  }
}

/** As PgBouncer has it, a name stands for all its addresses; one that cannot be looked up is left for `listen` to refuse. */
export async function resolved(targets: readonly ListenTarget[]): Promise<ListenTarget[]> {
  const found = targets.map(async (target) => {
    if (target.unix || target.host === '*' || isIP(target.host) !== 0) return [target];
    const addresses = await lookup(target.host, { all: true }).catch(() => []);
    const hosts = new Set(addresses.map(({ address }) => address));
    return hosts.size === 0 ? [target] : [...hosts].map((host) => ({ ...target, host }));
  });
  return (await Promise.all(found)).flat();
}

/** Removes a socket file whose owner is gone; one that answers is left, and listening on it will fail. */
async function removeStale(path: string): Promise<void> {
  if (path.startsWith('\0') || !existsSync(path)) return;
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (!answers) unlinkSync(path);
}

function listenOn(target: ListenTarget, host: string, letIn: Accept): Promise<Listener> {
  const unixPort = target.unix ? target.port : -1;
  const path = target.replaces ? `${host}${UNTIL_RENAMED}` : host;
  const door = { deaf: false };
  const accept: Accept = (conn, socket) => {
    if (door.deaf) undeafen(conn.fd);
    letIn(conn, socket);
  };
  const server = createServer({ noDelay: !target.unix, pauseOnConnect: false }, (socket) => {
    accept(new PlainConn(socket, DISCARD, unixPort), socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.removeListener('error', reject);
      if (target.unix && target.fd === undefined && !target.host.startsWith('\0')) {
        if (target.group !== undefined) chownSync(path, -1, target.group);
        if (target.mode !== undefined) chmodSync(path, target.mode);
        if (path !== target.host) renameSync(path, target.host);
      }
      server.on('error', () => {});
      const handle = (server as unknown as { _handle?: ListeningHandle })._handle;
      const hot = handle === undefined ? null : HotListener.of(handle, unixPort, (conn) => accept(conn, null));
      if (fastConnsWork && handle !== undefined && typeof handle.onconnection === 'function')
        handle.onconnection = (status, client) => {
          if (status !== 0 || client === undefined) return;
          if (unixPort < 0) client.setNoDelay?.(true);
          accept(FastConn.accepted(client, DISCARD, unixPort), null);
          hot?.knocked();
        };
      const address = server.address();
      const bound = typeof address === 'object' ? address : null;
      resolve(new NodeListener(server, accept, door, target, bound, handle?.fd ?? -1, hot));
    });
    const { backlog } = target;
    if (path !== host) rmSync(path, { force: true });
    const fd = target.fd ?? ownSocket(target, host);
    if (fd !== undefined) server.listen({ fd, backlog });
    else if (target.unix) server.listen({ path, backlog });
    else server.listen({ host, port: target.port, backlog });
  });
}

/** What Node cannot make. */
function ownSocket({ unix, shared, port }: ListenTarget, host: string): number | undefined {
  if (unix) return isAbstract(host) ? boundSocket(host) : undefined;
  return shared ? reusePortSocket(host, port) : undefined;
}

class NodeListener implements Listener {
  readonly target: ListenTarget;
  readonly port: number;
  readonly addresses: readonly string[];
  readonly fd: number;
  readonly #server: Server;
  readonly #accept: Accept;
  readonly #door: { deaf: boolean };
  readonly #hot: HotListener | null;
  released = false;
  #closed = false;

  constructor(
    server: Server,
    accept: Accept,
    door: { deaf: boolean },
    target: ListenTarget,
    bound: AddressInfo | null,
    fd: number,
    hot: HotListener | null,
  ) {
    this.#hot = hot;
    this.#server = server;
    this.#accept = accept;
    this.#door = door;
    this.target = target;
    this.port = bound?.port ?? target.port;
    this.addresses = bound === null ? [] : target.host === '*' && bound.address === '::' ? BOTH : [bound.address];
    this.fd = fd;
  }

  close(): void {
    if (this.isOver) return;
    this.#closed = true;
    this.#hot?.shut();
    this.#server.close();
    if (this.target.inherited && this.#file !== null) rmSync(this.#file, { force: true });
  }

  async closeAfterLast(): Promise<void> {
    const { shared } = this.target;
    if (this.isOver) return;
    if (shared && fastConnsWork && refuseHandshakes(this.fd)) {
      this.#door.deaf = true;
      await new Promise((resolve) => setTimeout(resolve, HANDSHAKE_MS));
    }
    if (this.isOver) return;
    this.#letLastIn();
    this.close();
  }

  #letLastIn(): void {
    const { unix, port } = this.target;
    if (process.platform !== 'linux' || !fastConnsWork || this.fd < 0) return;
    for (const fd of acceptWaiting(this.fd)) this.#accept(FastConn.adopted(fd, DISCARD, unix ? port : -1), null);
  }

  giveWay(): void {
    if (this.isOver) return;
    this.#letLastIn();
    this.release();
  }

  get isOver(): boolean {
    return this.released || this.#closed;
  }

  get isLost(): boolean {
    const isOurs = this.target.fd === undefined || this.target.inherited === true;
    return !this.isOver && isOurs && this.#file !== null && !existsSync(this.#file);
  }

  release(): void {
    this.released = true;
    this.#hot?.shut();
    if (this.#file === null) {
      this.#server.close();
      return;
    }
    // Closing a socket that was bound here removes its file; the second name keeps it.
    const kept = `${this.#file}.${process.pid}.kept`;
    linkSync(this.#file, kept);
    this.#server.close();
    renameSync(kept, this.#file);
    rmSync(kept, { force: true });
  }

  cool(): void {
    this.#hot?.cool();
  }

  get #file(): string | null {
    const { unix, host } = this.target;
    return unix && !host.startsWith('\0') ? host : null;
  }
}
