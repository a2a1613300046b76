/**
 * What `handles: 'lease'` makes connect() give, and `client` of a lease and of a transaction: the client in every way, but dead after
 * its release. A proxy, so that fields, `instanceof` and
 * what others put on the client show through in both directions; methods pass only while the hand-out lasts. Owns the
 * passing only.
 */
import type { EventEmitter } from 'node:events';
import type { Conn } from './conn.ts';
import type { Engine } from './engine.ts';
import { StaleHandle } from './errors.ts';
import type { AddMethod } from './guests.ts';
import { refuseQuery } from './queries.ts';
import { isSubmittable } from './query-config.ts';
import type { RawClient } from './raw-client.ts';

type Method = (...args: unknown[]) => unknown;

/** What may be called after the release too: it tells nothing to the server and changes nothing. */
const HARMLESS: ReadonlySet<PropertyKey> = new Set([
  ...Reflect.ownKeys(Object.prototype),
  'eventNames',
  'getMaxListeners',
  'listenerCount',
  'listeners',
  'rawListeners',
  'escapeIdentifier',
  'escapeLiteral',
  'getTypeParser',
]);

/**
 * Once the hand-out is over these do nothing: nobody would take a listener off that came then, and those that are on are another's, for
 * this holder's have gone with it. Cleaning up often comes last, so it is no error.
 */
const ADDS_LISTENER: ReadonlySet<PropertyKey> = new Set([
  'on',
  'addListener',
  'once',
  'prependListener',
  'prependOnceListener',
]);
const REMOVES_LISTENER: ReadonlySet<PropertyKey> = new Set(['off', 'removeListener', 'removeAllListeners']);

export function leaseClient(engine: Engine, conn: Conn): RawClient {
  conn.asLease = true;
  const { generation } = conn;
  const holder: HandOutHolder = {
    isOver: () => conn.generation !== generation,
    release: (error, handle) => {
      engine.leaks.untrack(handle);
      engine.release(conn, generation, error);
    },
  };
  const handle = clientOf(engine, conn, holder);
  engine.leaks.track(handle, conn);
  return handle;
}

/** The client, as long as its holder has it. */
export function clientOf(engine: Engine, conn: Conn, holder: HandOutHolder): RawClient {
  return new Proxy(conn.client, new HandOut(engine, conn, holder));
}

export interface HandOutHolder {
  isOver(): boolean;
  release(error: Error | boolean | undefined, handle: RawClient): void;
}

class HandOut implements ProxyHandler<RawClient> {
  readonly #engine: Engine;
  /** Kept from being collected as lost while somebody has only the client, or its `release`. */
  readonly #holder: HandOutHolder;
  /** Methods as this holder sees them: ours, and what he has put in their place. */
  #methods: Map<PropertyKey, unknown> | null = null;
  #release: unknown = null;
  #wire: object | null = null;
  readonly #conn: Conn;

  constructor(engine: Engine, conn: Conn, holder: HandOutHolder) {
    this.#engine = engine;
    this.#conn = conn;
    this.#holder = holder;
  }

  get(client: RawClient, key: PropertyKey, handle: RawClient): unknown {
    if (key === 'release') return (this.#release ??= this.#releaseOf(handle));
    const value: unknown = Reflect.get(client, key);
    if (key === 'connection' && typeof value === 'object' && value !== null) return this.#wireOf(value);
    return typeof value === 'function' ? this.#passing(client, key, value as Method, handle) : value;
  }

  /** A method's replacement is this holder's own: often it is a wrapper around one of ours, which dies with the hand-out. */
  set(client: RawClient, key: PropertyKey, value: unknown): boolean {
    if (key === 'release') this.#release = value;
    else if (typeof value === 'function' && isMethod(client, key)) (this.#methods ??= new Map()).set(key, value);
    else return Reflect.set(client, key, value);
    return true;
  }

  /** As an assignment, for those who replace methods so. */
  defineProperty(client: RawClient, key: PropertyKey, descriptor: PropertyDescriptor): boolean {
    const isOurs = key === 'release' || (typeof descriptor.value === 'function' && isMethod(client, key));
    if (!isOurs || descriptor.configurable === false) return Reflect.defineProperty(client, key, descriptor);
    return this.set(client, key, descriptor.value);
  }

  /** What this holder has put in a method's place goes, never the method. */
  deleteProperty(client: RawClient, key: PropertyKey): boolean {
    if (key === 'release') this.#release = null;
    else if (isMethod(client, key)) this.#methods?.delete(key);
    else return Reflect.deleteProperty(client, key);
    return true;
  }

  has(client: RawClient, key: PropertyKey): boolean {
    return key === 'release' || Reflect.has(client, key);
  }

  #releaseOf(handle: RawClient): (error?: Error | boolean) => void {
    return (error) => this.#holder.release(error, handle);
  }

  #passing(client: RawClient, key: PropertyKey, value: Method, handle: RawClient): unknown {
    const known = this.#methods?.get(key);
    if (known !== undefined) return known;
    if (!isMethod(client, key)) return value;
    const pass = (...args: unknown[]): unknown => {
      if (this.#ofListeners(client, key, args)) return handle;
      if (this.#holder.isOver() && !HARMLESS.has(key)) return this.#refuse(key, args);
      const result = value.apply(client, args);
      return result === client ? handle : result;
    };
    (this.#methods ??= new Map()).set(key, pass);
    return pass;
  }

  /** A listener is put on or taken off, by its holder, or in vain. False: it is something else. */
  #ofListeners(emitter: EventEmitter, key: PropertyKey, args: readonly unknown[]): boolean {
    const adds = ADDS_LISTENER.has(key) && typeof args[1] === 'function';
    if (!adds && !REMOVES_LISTENER.has(key)) return false;
    if (this.#holder.isOver()) return true;
    const { guests } = this.#conn;
    if (adds) guests.add(emitter, key as AddMethod, args[0] as string, args[1] as () => void);
    else if (key === 'removeAllListeners') guests.remove(emitter, args[0] as string | undefined);
    else return false;
    return true;
  }

  /** What speaks to the server without asking the client: it is dead with the hand-out, too. */
  #wireOf(connection: object): object {
    this.#wire ??= new Proxy(connection, {
      get: (target, key, wire) => {
        const value: unknown = Reflect.get(target, key);
        const isListening = ADDS_LISTENER.has(key) || REMOVES_LISTENER.has(key);
        if (!HARMLESS.has(key) && !isListening) this.#assertWire(key);
        if (typeof value !== 'function') return value;
        // Who keeps it and calls it later is too late as well.
        return (...args: unknown[]): unknown => {
          if (this.#ofListeners(target as EventEmitter, key, args)) return wire;
          if (!HARMLESS.has(key)) this.#assertWire(key);
          const result: unknown = value.apply(target, args);
          return result === target ? wire : result;
        };
      },
    });
    return this.#wire;
  }

  #assertWire(key: PropertyKey): void {
    if (!this.#holder.isOver()) return;
    this.#engine.tally.staleHandles++;
    throw new StaleHandle(`client.connection.${String(key)} was used on a client that had been released`);
  }

  #refuse(key: PropertyKey, args: readonly unknown[]): unknown {
    this.#engine.tally.staleHandles++;
    const error = new StaleHandle(`client.${String(key)} was called on a client that had been released`);
    if (key !== 'query' || isSubmittable(args[0])) throw error;
    return refuseQuery(args, error);
  }
}

/** A function of the class, or the pool's own `query`; others are data (a password callback, a Promise class). */
function isMethod(client: RawClient, key: PropertyKey): boolean {
  return (
    key === 'query' ||
    (key !== 'constructor' && !Object.hasOwn(client, key) && typeof Reflect.get(client, key) === 'function')
  );
}
