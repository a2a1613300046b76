/**
 * A listening socket under load: our own epoll (hot-loop.ts) tells of its connections, and they are accepted as bare
 * descriptors, hot from the beginning. Through libuv a connection that logs in and leaves costs half as much again. Owns whether
 * the listening socket is hot; becomes so when connections come faster than `KNOCKS` in `KNOCKS_MS`, or something else is hot already.
 */
import { performance } from 'node:perf_hooks';
import { acceptBare, type HandleKind } from './bare-handle.ts';
import { type Conn, DISCARD } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import type { Watched } from './hot-loop.ts';
import { errorNumber } from './libc.ts';
import { HOT } from './shared-bytes.ts';
import { setNoDelay } from './socket-options.ts';
import { fastConnsWork } from './straight-read.ts';

const KNOCKS = 16;
const KNOCKS_MS = 32;
/** Let in at once: those who are in already are served in between. */
const MOST_AT_ONCE = 64;

const EINTR = 4;
const EAGAIN = 11;
const EPROTO = 71;
const ECONNABORTED = 103;

export class HotListener implements Watched {
  readonly #fd: number;
  readonly #kind: HandleKind;
  readonly #unixPort: number;
  readonly #letIn: (conn: Conn) => void;
  #isHot = false;
  #isShut = false;
  #knocks = 0;
  #since = 0;

  /** For Node's handle of a listening socket; null where there is no such way. `unixPort`: the port a Unix socket stands for; -1 on TCP. */
  static of(handle: { readonly fd: number }, unixPort: number, letIn: (conn: Conn) => void): HotListener | null {
    const kind = handle.constructor as unknown as HandleKind;
    const able = process.platform === 'linux' && fastConnsWork && handle.fd >= 0;
    if (!able || typeof kind.prototype?.open !== 'function') return null;
    return new HotListener(handle.fd, kind, unixPort, letIn);
  }

  private constructor(fd: number, kind: HandleKind, unixPort: number, letIn: (conn: Conn) => void) {
    this.#fd = fd;
    this.#kind = kind;
    this.#unixPort = unixPort;
    this.#letIn = letIn;
  }

  /** libuv has accepted somebody. */
  knocked(): void {
    if (HOT === null || this.#isHot || this.#isShut || !(HOT.isBusy || this.#isOften())) return;
    if (!HOT.heat(this.#fd, this)) return;
    // As with all that it sets, whoever is accepted inherits it.
    if (this.#unixPort < 0) setNoDelay(this.#fd);
    this.#isHot = HOT.takeAway(this.#fd);
    if (!this.#isHot) HOT.forget(this.#fd, this);
  }

  #isOften(): boolean {
    if (++this.#knocks < KNOCKS) return false;
    this.#knocks = 0;
    const now = performance.now();
    const often = now - this.#since < KNOCKS_MS;
    this.#since = now;
    return often;
  }

  readable(): void {
    for (let left = MOST_AT_ONCE; left > 0 && this.#isHot; left--) {
      const handle = acceptBare(this.#fd, this.#kind);
      if (handle === null) {
        const errno = errorNumber();
        if (errno === EAGAIN) return;
        // Somebody has left before it was let in. Anything else, like no descriptor left, libuv knows what to do about.
        if (errno !== EINTR && errno !== ECONNABORTED && errno !== EPROTO) this.cool();
        continue;
      }
      const conn = FastConn.bare(handle, DISCARD, this.#unixPort);
      this.#letIn(conn);
      conn.begin();
    }
  }

  cool(): void {
    if (!this.#isHot) return;
    this.#isHot = false;
    HOT!.forget(this.#fd, this);
    HOT!.giveBack(this.#fd);
  }

  /** Before the socket is closed here. */
  shut(): void {
    this.#isShut = true;
    this.cool();
  }
}
