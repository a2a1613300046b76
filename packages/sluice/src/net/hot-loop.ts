/**
 * The fast way to hear of sockets under load: an epoll(7) of our own. Through libuv each read costs a call from C++ into
 * JavaScript with all that surrounds one, more than everything else that is done with a relayed message; here one call to the C library tells
 * which sockets have something and one brings it, about a fifth of that.
 *
 * A connection is hot while this loop watches it and cold while libuv does; never both. All are cold until reads come faster
 * than `HOT_READS` in `HOT_MS`, and again when hardly any come. While connections are hot the process waits here, in a
 * `setImmediate`, and libuv's own epoll is one of the descriptors that it waits for: listening sockets, TLS, signals and
 * threads are heard of at once, and timers are late by two `SLICE_MS` at most. Owns which connections are hot; what arrives is theirs.
 *
 * Linux on 64 bits, with koffi. Anywhere else, and where something is refused, connections stay cold. The environment
 * variable SLUICE_EPOLL says `never`, or `always` (from a connection's first read on, for good).
 */
import { performance } from 'node:perf_hooks';
import { getSystemErrorMap } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { addressIn, errorNumber, libc, MSG_DONTWAIT } from './libc.ts';
import { endTurn, endTurnsByHand, libuvDue, makeWay, timeOfTurn, wayAsked } from './turn-end.ts';

/** A connection that can be hot. */
export interface Watched {
  /** There is something to read: data, the end or an error. Must not throw. */
  readable(): void;
  /** It is cold from now on. */
  cool(): void;
}

/** As many reads in as many milliseconds, of all connections together, are load. */
const HOT_READS = 128;
const HOT_MS = 32;
/** A login is not worth the two system calls that getting hot takes. */
const LOGIN_READS = 4;
/** How long this loop goes on, or waits, before Node's timers get their turn, which costs as much as a transaction. */
const SLICE_MS = 4;
/** Connections told of at once. */
const MOST_EVENTS = 64;
/** Waits for nothing until connections get cold, this many at a time. */
const QUIET_WAITS = 8;
const COOLED_AT_ONCE = 128;

const MSG_NOSIGNAL = 0x4000;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLLIN = 1;
const EPOLLRDHUP = 0x2000;
/** The other side has ended it, or an error has: EPOLLRDHUP, EPOLLHUP, EPOLLERR. */
const ENDED = EPOLLRDHUP | 0x10 | 0x8;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** struct epoll_event is packed on x86-64 only; in 32-bit words. */
const EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
const FD_WORD = process.arch === 'x64' ? 1 : 2;

/** Calls of the C library for hot sockets; -1 is an error. Addresses are of memory that does not move. */
interface Calls {
  send(fd: number, address: number, size: number, flags: number): number;
  recv(fd: number, address: number, size: number, flags: number): number;
  wait(epoll: number, events: number, most: number, timeoutMs: number): number;
  control(epoll: number, operation: number, fd: number, event: Uint8Array): number;
}

/** Runs what `process.nextTick` and promises have waiting, as Node does after each callback. Absent: Node has no such door. */
const runTicks = (process as { _tickCallback?: () => void })._tickCallback;

class HotLoop {
  readonly #calls: Calls;
  readonly #epoll: number;
  #backend = -1;
  readonly #always: boolean;
  readonly #events = new Int32Array(new ArrayBuffer(MOST_EVENTS * EVENT_WORDS * 4));
  readonly #eventsAt: number;
  readonly #event = new Int32Array(EVENT_WORDS);
  readonly #eventBytes = new Uint8Array(this.#event.buffer);
  /** By descriptor. */
  readonly #hot: (Watched | null)[] = [];
  #count = 0;
  #running = false;
  #wentFirst = false;
  #reads = 0;
  #since = 0;
  #quiet = 0;
  /** Descriptors below it have been cooled in this pass. */
  #cooledTo = 0;
  readonly #turn = () => this.#takeTurn();

  constructor(calls: Calls, epoll: number, always: boolean) {
    this.#calls = calls;
    this.#epoll = epoll;
    this.#always = always;
    this.#eventsAt = addressIn(this.#events);
  }

  /** Lets `backend`, libuv's epoll, wake this loop up. False: it cannot. */
  attend(backend: number): boolean {
    this.#backend = backend;
    return this.#control(EPOLL_CTL_ADD, backend);
  }

  /** Something is hot, or all is to be: what comes new may as well be. */
  get isBusy(): boolean {
    return this.#running || this.#always;
  }

  /** libuv, which watches `fd` for reading, does so no more, without knowing; until `giveBack`. False: it still does. */
  takeAway(fd: number): boolean {
    this.#event.fill(0);
    return this.#calls.control(this.#backend, EPOLL_CTL_DEL, fd, this.#eventBytes) === 0;
  }

  /** The descriptor must still be open. */
  giveBack(fd: number): void {
    this.#event.fill(0);
    this.#event[0] = EPOLLIN;
    this.#event[FD_WORD] = fd;
    this.#calls.control(this.#backend, EPOLL_CTL_ADD, fd, this.#eventBytes);
  }

  /** A cold connection was read, for the `nth` time. True: it should be hot. */
  wants(nth: number): boolean {
    if (this.#always) return true;
    if (nth <= LOGIN_READS) return false;
    if (this.#running) return true;
    if (++this.#reads < HOT_READS) return false;
    this.#reads = 0;
    const now = performance.now();
    const often = now - this.#since < HOT_MS;
    this.#since = now;
    return often;
  }

  /** Watches `fd` for its connection, which hears of it nowhere else from now on. False: it stays cold. */
  heat(fd: number, watched: Watched): boolean {
    while (this.#hot.length <= fd) this.#hot.push(null);
    if (this.#hot[fd] !== null || !this.#control(EPOLL_CTL_ADD, fd)) return false;
    this.#hot[fd] = watched;
    this.#count++;
    this.#quiet = 0;
    if (!this.#running) {
      this.#running = true;
      setImmediate(this.#turn);
    }
    return true;
  }

  /** Watches it no more. The descriptor must still be open. */
  forget(fd: number, watched: Watched): void {
    if (this.#hot[fd] !== watched) return;
    this.#hot[fd] = null;
    this.#count--;
    this.#control(EPOLL_CTL_DEL, fd);
  }

  /** How many bytes came, to `address`; 0: the end has. -1: nothing. Throws the system's error, which nobody else will hear of. */
  receive(fd: number, address: number, size: number): number {
    const read = this.#calls.recv(fd, address, size, MSG_DONTWAIT);
    if (read < 0) refuse('read');
    return read;
  }

  /** How many bytes went, from `address`; -1: there is no room. Throws the system's error. */
  send(fd: number, address: number, size: number): number {
    const sent = this.#calls.send(fd, address, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) refuse('write');
    return sent;
  }

  #control(operation: number, fd: number): boolean {
    this.#event.fill(0);
    this.#event[0] = EPOLLIN | EPOLLRDHUP;
    this.#event[FD_WORD] = fd;
    return this.#calls.control(this.#epoll, operation, fd, this.#eventBytes) === 0;
  }

  /**
   * Before what libuv has read is looked at: the ends of hot connections come first, once a turn. They may be older, and whoever is read now
   * would be served by one. Nothing else does: what hot clients ask could be served by one whose end libuv has yet to tell.
   */
  goFirst(): void {
    if (!this.#running || this.#wentFirst) return;
    this.#wentFirst = true;
    // Twice: what came before an end is read first.
    for (let left = 2 * this.#count; left > 0; left -= MOST_EVENTS) {
      const told = this.#wait(0);
      if (this.#tell(told, ENDED) === 0 && told < MOST_EVENTS) break;
    }
  }

  #takeTurn(): void {
    endTurnsByHand(true);
    try {
      endTurn(); // libuv's
      this.#serve();
    } finally {
      this.#wentFirst = false;
      endTurnsByHand(false);
      this.#running = this.#count > 0;
      if (this.#running) setImmediate(this.#turn);
    }
  }

  /** Turns like Node's, each with the same end, until libuv is due. */
  #serve(): void {
    // What libuv's callbacks have begun it begins to watch in its next turn.
    let told = this.#wait(wayAsked() ? 0 : SLICE_MS);
    if (told <= 0) this.#quiet += 1;
    const until = timeOfTurn() + SLICE_MS;
    while (told > 0) {
      const mine = this.#tell(told);
      runTicks?.();
      const over = timeOfTurn() > until;
      endTurn();
      // Only libuv has work: a wait for nothing of ours, and a short one.
      if (mine === 0) this.#quiet += 0.1;
      if (mine < told) makeWay();
      if (runTicks === undefined || libuvDue() || over) break;
      told = this.#wait(SLICE_MS);
    }
    if (this.#quiet > QUIET_WAITS && !this.#always) this.#coolSome();
  }

  #wait(timeoutMs: number): number {
    return this.#calls.wait(this.#epoll, this.#eventsAt, MOST_EVENTS, timeoutMs);
  }

  /** Tells those with one of the events in `only`. Returns how many; the others are libuv's, or were closed by those before them. */
  #tell(told: number, only = -1): number {
    let mine = 0;
    for (let i = 0; i < told; i++) {
      if ((this.#events[i * EVENT_WORDS]! & only) === 0) continue;
      const watched = this.#hot[this.#events[i * EVENT_WORDS + FD_WORD]!];
      if (watched === null || watched === undefined) continue;
      mine++;
      watched.readable();
    }
    if (mine > 0) this.#quiet = 0;
    return mine;
  }

  /** Many connections get cold in several turns: who is hot still is served in between. */
  #coolSome(): void {
    let left = COOLED_AT_ONCE;
    const { length } = this.#hot;
    for (let passed = 0; passed < length && left > 0; passed++) {
      if (this.#cooledTo >= length) this.#cooledTo = 0;
      const watched = this.#hot[this.#cooledTo++];
      if (watched === null || watched === undefined) continue;
      watched.cool();
      left--;
    }
  }
}

/** Throws what Node would say of the call that failed, unless it only came too early. */
function refuse(syscall: 'read' | 'write'): void {
  const errno = -errorNumber();
  const [code, text] = getSystemErrorMap().get(errno) ?? ['EIO', 'i/o error'];
  if (code === 'EAGAIN' || code === 'EINTR') return;
  const message = syscall === 'read' ? `read ${code}` : `${code}: ${text}, write`;
  throw Object.assign(new Error(message), { code, errno, syscall });
}

export type { HotLoop };

let loop: HotLoop | null | undefined;

/** The process's; null: connections stay cold here. */
export function hotLoop(): HotLoop | null {
  if (loop === undefined) loop = start(process.env.SLUICE_EPOLL ?? '');
  return loop;
}

/** libuv has read something, which is looked at next. */
export function coldRead(): void {
  makeWay();
  loop?.goFirst();
}

function start(wish: string): HotLoop | null {
  const able = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch) && isMainThread;
  if (!able || wish === 'never' || process.versions.bun !== undefined) return null;
  try {
    const library = libc();
    const epoll = library.func('int epoll_create1(int flags)')(EPOLL_CLOEXEC) as number;
    const made = new HotLoop(
      {
        send: library.func('int64_t send(int fd, uintptr_t address, size_t size, int flags)'),
        recv: library.func('int64_t recv(int fd, uintptr_t address, size_t size, int flags)'),
        wait: library.func('int epoll_wait(int epoll, uintptr_t events, int most, int timeout)'),
        control: library.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
      },
      epoll,
      wish === 'always',
    );
    const backend = library.func('int uv_backend_fd(void *loop)')(library.func('void *uv_default_loop()')()) as number;
    return epoll >= 0 && made.attend(backend) ? made : null;
  } catch {
    return null; // koffi is optional, and not every Node shows libuv
  }
}
