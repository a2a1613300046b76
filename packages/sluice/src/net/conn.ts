/**
 * What the rest of the daemon knows of a connection: bytes arrived, write, writable again, pause, resume, close.
 * Owns nothing; fast-conn.ts and plain-conn.ts implement it. Nobody above net/ touches a socket.
 */

/** Who hears what a connection does. Replaceable at any time: login first, then the relay. */
export interface ConnHandler {
  /** Bytes `start` to `end` of `buffer` arrived. They are valid during the call only: copy what must outlive it. */
  onData(buffer: Buffer, start: number, end: number): void;
  /** Everything queued has left; called only after a `write` that returned false. */
  onDrain(): void;
  /** The connection is over: the other side ended it, an error broke it, or `destroy` was called. Once. */
  onClose(error: Error | null): void;
}

export interface Conn {
  handler: ConnHandler;
  /** Bytes accepted by `write` that the kernel has not taken yet. */
  readonly queued: number;
  /** So much is queued that whoever writes should stop until `onDrain`. */
  readonly full: boolean;
  /** No more can be written: closed, or `end` was called. */
  readonly closed: boolean;
  /** Sends a part of a buffer, which may be reused afterwards. False: it is `full` now. Never throws. */
  write(buffer: Uint8Array, start: number, end: number): boolean;
  /** From now on small writes may wait for the end of the event loop's turn, to leave with those of others. */
  gather(): void;
  pause(): void;
  resume(): void;
  /** While held nothing is read, whatever `pause` and `resume` say (SUSPEND); afterwards the last of them counts. */
  hold(held: boolean): void;
  /**
   * Sends what is queued, then closes; what still arrives is thrown away. `onClose` follows when the other side has closed
   * too, or after `lingerMs`.
   */
  end(lingerMs?: number): void;
  /** Closes now. `onClose` follows. */
  destroy(error?: Error): void;
  readonly remote: Address;
  readonly local: Address;
  /** The descriptor, for what the system knows of the connection; -1 when closed, or where there is none to be had. */
  readonly fd: number;
  /** TLS facts, or null on a plain connection. */
  readonly tls: TlsFacts | null;
}

/** An end of a connection. For Unix sockets `address` is 'unix' and `port` the listening port. */
export interface Address {
  readonly address: string;
  readonly port: number;
  readonly unix: boolean;
  /** Of the other end of a Unix socket: its process, where `notePeer` has asked for it. */
  pid?: number;
}

export interface TlsFacts {
  /** For SHOW CLIENTS: "TLSv1.3/TLS_AES_256_GCM_SHA384". */
  readonly description: string;
  /** Hash of the server's certificate for tls-server-end-point channel binding (RFC 5929), or null. */
  readonly endPoint: Uint8Array | null;
  /** Common name of the peer's verified certificate, '' when it has none to go by; null: it has shown none. */
  readonly peerName: string | null;
}

/** After `end`, a peer that neither reads nor closes is cut off after this long. */
export const LINGER_MS = 2_000;

/** For connections whose owner is gone. */
export const DISCARD: ConnHandler = {
  onData() {},
  onDrain() {},
  onClose() {},
};

/** Ends it after so many milliseconds, 0: now; what comes until then is thrown away. */
export function endAfter(conn: Conn, ms: number): void {
  if (ms === 0) {
    conn.end();
    return;
  }
  const { handler } = conn;
  conn.handler = { ...DISCARD, onClose: (error) => handler.onClose(error) };
  setTimeout(() => conn.end(), ms);
}

/** What the system says of one end of a socket. `unixPort` is the port that a Unix socket stands for; -1 on TCP. */
export function addressOf(address: string | undefined, port: number | undefined, unixPort: number): Address {
  if (unixPort >= 0) return { address: 'unix', port: unixPort, unix: true, pid: 0 };
  const plain = address?.startsWith('::ffff:') ? address.slice(7) : address;
  return { address: plain ?? 'unknown', port: port ?? 0, unix: false, pid: 0 };
}

/** What we have destroyed a connection for, while something was still to be said to the other side. */
export class Dropped extends Error {}

/** Why a client's connection was closed without a goodbye. */
export function goneBecause(error: Error | null): string {
  return error instanceof Dropped ? error.message : 'client unexpected eof';
}
