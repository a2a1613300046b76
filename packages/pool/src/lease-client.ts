/**
 * `handles: 'lease'`: what connect() gives looks like the client in every way, and is dead after its release. An object
 * whose prototype is the client, so that `instanceof`, fields and additions of others show through; methods are forwarded
 * to the client itself while the hand-out lasts. Owns the forwarding only.
 */
import type { Conn } from './conn.ts';
import { StaleHandle } from './errors.ts';
import { callbackOf, isSubmittable } from './queries.ts';
import type { RawClient } from './raw-client.ts';

const GENERATION = Symbol('generation');

type Shell = RawClient & { [GENERATION]: number };
type Method = (...args: unknown[]) => unknown;

const shells = new WeakMap<Conn, Shell>();

export function leaseClient(conn: Conn): RawClient {
  let shell = shells.get(conn);
  if (shell === undefined) shells.set(conn, (shell = makeShell(conn)));
  const handle = Object.create(shell) as Shell;
  Object.defineProperty(handle, GENERATION, { value: conn.generation });
  return handle;
}

function makeShell(conn: Conn): Shell {
  const { client } = conn;
  const shell = Object.create(client) as Shell;
  for (const name of methodNames(client)) {
    const forward = function (this: Shell, ...args: unknown[]): unknown {
      if (conn.generation !== this[GENERATION]) return refuse(name, args);
      const result = (client as unknown as Record<string, Method>)[name]!(...args);
      return result === client ? this : result;
    };
    Object.defineProperty(shell, name, { value: forward, writable: true, configurable: true });
  }
  return shell;
}

function methodNames(client: object): Set<string> {
  const names = new Set<string>();
  for (let at = client; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at) as object)
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof property.value === 'function' && name !== 'constructor' && name !== 'release') names.add(name);
  return names;
}

function refuse(name: string, args: readonly unknown[]): unknown {
  const error = new StaleHandle(`client.${name} was called on a client that had been released`);
  if (name !== 'query' || isSubmittable(args[0])) throw error;
  const callback = callbackOf(args);
  if (callback === null) return Promise.reject(error);
  process.nextTick(callback, error);
  return undefined;
}
