/**
 * Collects what one chunk sends to one connection, so that it leaves in one write: a lone contiguous region goes out
 * from where it lies, several are put together in a scratch buffer. One at a time in the process: whoever fills it
 * flushes it before anybody else can run.
 */
import type { Conn } from './conn.ts';

const SCRATCH_BYTES = 131_072;

export class Gather {
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  /** Whose bytes these are. */
  #owner: Conn | null = null;
  #used = 0;
  #region: Uint8Array | null = null;
  #from = 0;
  #to = 0;

  get empty(): boolean {
    return this.#region === null && this.#used === 0;
  }

  /** Adds bytes `from` to `to`; they must stay as they are until the next call of `flush` or `keep`. */
  add(conn: Conn, buffer: Uint8Array, from: number, to: number): void {
    if (from === to) return;
    if (this.#owner !== conn) this.#begin(conn);
    if (this.#region !== null) {
      if (this.#region === buffer && this.#to === from) {
        this.#to = to;
        return;
      }
      this.keep(conn);
    }
    this.#region = buffer;
    this.#from = from;
    this.#to = to;
  }

  /** What somebody left behind without flushing it, by a bug or an exception, is nobody else's: it is thrown away. */
  #begin(conn: Conn): void {
    this.drop();
    this.#owner = conn;
  }

  /** Copies what was added, so that its source may change. */
  keep(conn: Conn): void {
    if (this.#region === null || this.#owner !== conn) return;
    const size = this.#to - this.#from;
    if (this.#used + size > SCRATCH_BYTES) {
      this.#flushScratch(conn);
      if (size > SCRATCH_BYTES) {
        conn.write(this.#region, this.#from, this.#to);
        this.#region = null;
        return;
      }
    }
    this.#scratch.set(this.#region.subarray(this.#from, this.#to), this.#used);
    this.#used += size;
    this.#region = null;
  }

  /** Sends everything. False: the connection is full; stop until it has drained. */
  flush(conn: Conn): boolean {
    if (this.#owner !== conn) return !conn.full;
    if (this.#used > 0) {
      this.keep(conn);
      this.#flushScratch(conn);
    }
    if (this.#region !== null) {
      const region = this.#region;
      this.#region = null;
      conn.write(region, this.#from, this.#to);
    }
    return !conn.full;
  }

  /** Forgets everything: the connection is gone. */
  drop(): void {
    this.#region = null;
    this.#used = 0;
  }

  #flushScratch(conn: Conn): void {
    if (this.#used > 0) conn.write(this.#scratch, 0, this.#used);
    this.#used = 0;
  }
}
