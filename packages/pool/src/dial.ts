/**
 * One dial: from a config to a client that is logged in, of the right role, and through the connect hook; or an error and
 * nothing left open. Owns the order of the hooks and the time limit; knows nothing of entries and waiters.
 */
import { withoutString } from './connection-string.ts';
import type { PoolOptions } from './contract.ts';
import { ConfigNotMade, messageOf, NoSuitableHost } from './errors.ts';
import { askRole, type Hosts, suits } from './hosts.ts';
import { destroy, type RawClient, type RawClientClass } from './raw-client.ts';
import { GRACE_MS } from './thaw.ts';
import { after, within } from './timers.ts';

export interface DialOptions {
  options: PoolOptions;
  Client: RawClientClass;
  hosts: Hosts;
  /** Given later than the options (setCredentials), and stronger than a connection string. */
  credentials: Readonly<Record<string, unknown>>;
  timeoutMs: number;
}

/** A client that stands, and the host it was reached at ('' = the client's own choice). */
export interface Dialled {
  client: RawClient;
  host: string;
}

export type DialDone = (error: unknown, dialled: Dialled | null) => void;

/**
 * The client exists as soon as `onClient` hears of it, which without several hosts and hooks is before this returns. Once it
 * is not `wanted` any more, no further host is tried.
 */
export function dial(
  at: DialOptions,
  onClient: (client: RawClient) => void,
  wanted: () => boolean,
  done: DialDone,
): void {
  const { hosts, options } = at;
  if (!hosts.plain) {
    dialHosts(at, onClient, wanted).then(
      (dialled) => done(null, dialled),
      (error) => done(error, null),
    );
    return;
  }
  const isAsGiven = Object.keys(at.credentials).length === 0 && !asksPassword(options);
  if (options.beforeConnect === undefined && isAsGiven) {
    dialOne(at, options, '', onClient, done);
    return;
  }
  configured(at, {}).then(
    ({ config, rest }) => (wanted() ? dialOne(rest, config, '', onClient, done) : done(unwanted(), null)),
    (error) => done(error, null),
  );
}

/** Given up while its config was being made. */
function unwanted(): Error {
  return new Error('the connection was not wanted any more when its config had been made');
}

/** The config, and what of the dial's time is left. Rejects when it takes all of that. */
async function configured(
  at: DialOptions,
  overlay: Record<string, unknown>,
): Promise<{ config: unknown; rest: DialOptions }> {
  const { timeoutMs } = at;
  const began = performance.now();
  const late = () =>
    new Error(`beforeConnect or the password function did not end within dialTimeoutMillis (${timeoutMs} ms)`);
  const made = configure(at, overlay);
  const config = await (timeoutMs > 0 ? within(made, timeoutMs, late) : made).catch((error: unknown) => {
    throw new ConfigNotMade(error);
  });
  if (timeoutMs <= 0) return { config, rest: at };
  return { config, rest: { ...at, timeoutMs: Math.max(1, timeoutMs - (performance.now() - began)) } };
}

/** pg does not call a password function beside a connection string. */
function asksPassword({ password, connectionString }: PoolOptions): boolean {
  return typeof password === 'function' && connectionString !== undefined;
}

/** A copy of the options with the overlay and what beforeConnect makes of them. */
async function configure(
  { options, hosts, credentials }: DialOptions,
  overlay: Record<string, unknown>,
): Promise<unknown> {
  const laid = { ...credentials, ...overlay };
  if (asksPassword(options)) laid.password = await (options.password as () => string | Promise<string>)();
  // The password does not enumerate, so that it is not printed; a copy has to name it.
  const { connectionString } = hosts;
  const own = { ...options, password: options.password, ...(connectionString !== undefined && { connectionString }) };
  const given: Record<string, unknown> = Object.keys(laid).length === 0 ? own : { ...withoutString(own), ...laid };
  const config = { ...given };
  const made = ((await options.beforeConnect?.(config as never)) ?? config) as Record<string, unknown>;
  if (typeof made.connectionString !== 'string') return made;
  // What the hook has changed counts, also against the string.
  const changed = Object.entries(made).filter(([name, value]) => name !== 'connectionString' && value !== given[name]);
  return changed.length === 0 ? made : { ...withoutString(made), ...Object.fromEntries(changed) };
}

function dialOne(
  at: DialOptions,
  config: unknown,
  host: string,
  onClient: (client: RawClient) => void,
  done: DialDone,
  reported?: Record<string, string>,
): void {
  const client = made(at, config, done);
  if (client === null) return;
  onClient(client);
  if (reported !== undefined)
    client.connection?.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
      reported[message.parameterName] = message.parameterValue;
    });
  let settled = false;
  let late: Error | null = null;
  let timer = at.timeoutMs > 0 ? setTimeout(() => giveUp(performance.now()), at.timeoutMs) : null;
  const due = performance.now() + at.timeoutMs;
  const settle = (error: unknown) => {
    if (settled) return;
    settled = true;
    if (timer !== null) clearTimeout(timer);
    // pg leaves the connection open when it is itself that cannot go on with the login.
    if (error) destroy(client);
    done(error ?? null, error ? null : { client, host });
  };
  const giveUp = (now: number) => {
    if (now - due > GRACE_MS) {
      // The process has stood still, or was busy: what the server said meanwhile has not been read yet.
      timer = setTimeout(() => giveUp(due), GRACE_MS);
      return;
    }
    late = new Error(`Connection terminated due to connection timeout: no login within ${Math.ceil(at.timeoutMs)} ms`);
    // A client of another make may already be connected and only slow to say so.
    if (client.connection === undefined && client.isConnected?.() === true) return;
    settle(late);
  };
  try {
    // pg calls back in the middle of becoming ready: what is sent there would have to queue.
    client.connect((error) => process.nextTick(settle, error ? (late ?? error) : null));
  } catch (error) {
    process.nextTick(settle, error);
  }
}

/** The time limit is the pool's, which may be longer than what requests may wait: pg would take that for its own. */
function withoutLimit(config: unknown, { connectionTimeoutMillis }: PoolOptions): unknown {
  const given = config as PoolOptions;
  if (!connectionTimeoutMillis || given.connectionTimeoutMillis !== connectionTimeoutMillis) return config;
  // As it is, what does not enumerate and what a class of the application's gives it among it.
  const own = Object.getOwnPropertyDescriptors(given);
  const without = { value: 0, enumerable: true, writable: true, configurable: true };
  return Object.create(Object.getPrototypeOf(given), { ...own, connectionTimeoutMillis: without });
}

/** A client's constructor may throw: it reads the files that sslcert and its kin name. */
function made(at: DialOptions, config: unknown, done: DialDone): RawClient | null {
  try {
    return new at.Client(withoutLimit(config, at.options));
  } catch (error) {
    process.nextTick(done, error, null);
    return null;
  }
}

async function dialHosts(
  at: DialOptions,
  onClient: (client: RawClient) => void,
  wanted: () => boolean,
): Promise<Dialled> {
  const { hosts } = at;
  const errors: Error[] = [];
  let second: { dialled: Dialled; index: number } | null = null;
  for (const index of hosts.order()) {
    if (!wanted()) break;
    const name = hosts.nameOf(index);
    try {
      const reported: Record<string, string> = {};
      const until = performance.now() + at.timeoutMs;
      const dialled = await dialHost(at, index, onClient, wanted, reported);
      const left = at.timeoutMs > 0 ? Math.max(1, until - performance.now()) : Number.POSITIVE_INFINITY;
      const verdict = await judge(at, dialled.client, reported, left);
      if (verdict === 'yes') {
        if (second !== null) quietly(second.dialled.client);
        hosts.succeeded(index);
        return dialled;
      }
      if (verdict === 'second' && second === null) second = { dialled, index };
      else quietly(dialled.client);
      errors.push(new Error(`${name || 'the host'}: not ${hosts.attrs}`));
    } catch (error) {
      errors.push(new Error(`${name || 'the host'}: ${messageOf(error)}`, { cause: error }));
    }
  }
  if (second !== null) {
    hosts.succeeded(second.index);
    return second.dialled;
  }
  if (errors.length === 1 && errors[0]!.cause !== undefined) throw errors[0]!.cause;
  const summary = errors.map((error) => error.message).join('; ');
  throw new NoSuitableHost(
    `none of ${hosts.order().length} hosts is ${hosts.attrs === 'any' ? 'reachable' : hosts.attrs}: ${summary}`,
    new AggregateError(errors, summary),
  );
}

async function dialHost(
  at: DialOptions,
  index: number,
  onClient: (client: RawClient) => void,
  wanted: () => boolean,
  reported: Record<string, string>,
): Promise<Dialled> {
  const { config, rest } = await configured(at, at.hosts.overlay(index));
  if (!wanted()) throw unwanted();
  return new Promise((resolve, reject) => {
    dialOne(
      rest,
      config,
      at.hosts.nameOf(index),
      onClient,
      (error, dialled) => (dialled === null ? reject(error) : resolve(dialled)),
      reported,
    );
  });
}

function judge(
  at: DialOptions,
  client: RawClient,
  reported: Record<string, string>,
  leftMs: number,
): Promise<'yes' | 'no' | 'second'> {
  if (at.hosts.attrs === 'any') return Promise.resolve('yes');
  return new Promise((resolve, reject) => {
    const timer = after(leftMs, () => {
      destroy(client);
      reject(new Error(`it did not say within ${at.timeoutMs} ms whether it is ${at.hosts.attrs}`));
    });
    askRole(client, reported, (error, role) => {
      clearTimeout(timer);
      if (error === null || error === undefined) resolve(suits(role, at.hosts.attrs));
      else {
        quietly(client);
        reject(error);
      }
    });
  });
}

/** Ends a client that nobody has seen. */
function quietly(client: RawClient): void {
  client.on('error', () => {});
  client.end(() => {});
}
