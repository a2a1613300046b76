/**
 * The pool's options, a row each: what it may be, its default, and one line of documentation. Owns names and bounds;
 * options.ts reads the table, docs and checks come out of it.
 */

import { LONGEST_MS } from './timers.ts';

export type OptionKind =
  | 'milliseconds'
  | 'seconds'
  | 'count'
  | 'share'
  | 'boolean'
  | 'text'
  | 'texts'
  | 'secret'
  | 'function'
  | 'class'
  | 'promises'
  | 'object'
  | 'array';

export interface OptionRow {
  kind: OptionKind;
  /** Bounds of a number, both allowed. */
  min?: number;
  max?: number;
  /** Infinity is a value too. */
  infinite?: boolean;
  choices?: readonly string[];
  /** How a text has to begin. */
  begins?: string;
  /** Other types that are let through for the drop-in's sake. */
  nullable?: boolean;
  doc: string;
}

const ms = (min: number, doc: string, infinite = false): OptionRow => ({
  kind: 'milliseconds',
  min,
  max: LONGEST_MS,
  infinite,
  doc,
});
const count = (min: number, doc: string, infinite = false): OptionRow => ({ kind: 'count', min, infinite, doc });
const share = (doc: string): OptionRow => ({ kind: 'share', min: 0, max: 1, doc });
const bool = (doc: string): OptionRow => ({ kind: 'boolean', doc });
const call = (doc: string): OptionRow => ({ kind: 'function', doc });
const text = (doc: string, choices?: readonly string[]): OptionRow =>
  choices === undefined ? { kind: 'text', doc } : { kind: 'text', choices, doc };
const object = (doc: string): OptionRow => ({ kind: 'object', doc });
const array = (doc: string): OptionRow => ({ kind: 'array', doc });

/** node-postgres' own pool options, then ours. */
export const POOL_OPTIONS: Readonly<Record<string, OptionRow>> = {
  max: count(1, 'connections at most (10)'),
  poolSize: count(1, 'old name of max'),
  min: count(0, 'connections kept open, dialled ahead of need (0)'),
  idleTimeoutMillis: { ...ms(0, 'idle connections above min close after this long; 0: never (10000)'), nullable: true },
  connectionTimeoutMillis: ms(0, 'how long a request waits, dialling included; 0: for ever (0)'),
  maxUses: count(1, 'hand-outs after which a connection is replaced (Infinity)', true),
  maxLifetimeSeconds: { kind: 'seconds', min: 0, doc: 'age at which a connection is replaced; 0: never (0)' },
  allowExitOnIdle: bool('idle connections and timers do not keep the process alive (false)'),
  log: call('called with a line for each thing the pool does'),
  Client: { kind: 'class', doc: "class of the clients (pg's Client)" },
  Promise: { kind: 'promises', doc: 'class of the promises returned' },
  verify: call('(client, callback): tests a new connection'),
  onConnect: call('(client): prepares a new connection, once; afterConnect by another name'),

  compat: text("'pg-pool': its flaws too, for those who rely on them", ['pg-pool']),
  name: text('name in messages, events and metrics (pool-1, pool-2, ...)'),
  minIdle: count(0, 'connections kept free besides those in use, as far as max allows (0)'),
  maxOverflow: count(0, 'connections beyond max while requests wait; closed when they come back (0)'),
  nullPool: bool('keep nothing idle: every connection closes when nobody waits for it (false)'),
  maxLifetimeJitter: share('share of maxLifetimeSeconds by which each life is shortened at random (0.1)'),
  keepaliveMillis: ms(0, 'idle connections are checked this often; 0: never (0)'),
  checkAfterMillis: ms(0, 'a connection unused for longer is checked before use; Infinity: never (500)', true),
  checkTimeoutMillis: ms(1, 'a check that takes longer has failed (5000)'),
  checkQuery: text("the check's SQL (';', an empty query)"),
  dialTimeoutMillis: ms(0, 'one dial with login and hooks; 0: connectionTimeoutMillis, or 30000 without (0)'),
  maxDials: count(1, 'dials under way at once (4)'),
  retryMinMillis: ms(0, 'pause after a failed dial, doubled at each up to retryMaxMillis (100)'),
  retryMaxMillis: ms(0, 'longest pause between dials while the database is down (1000)'),
  whenDown: text(
    "'fail': a failed dial with no live connection left fails those who wait (and those who would wait for ever, when none has come back for a second); 'wait': they wait on ('fail')",
    ['fail', 'wait'],
  ),
  initializationFailTimeoutMillis: ms(
    0,
    'how long wait() tries before it gives up; 0: no bound (connectionTimeoutMillis, or 30000)',
  ),
  order: text("'lifo' keeps few connections warm, 'fifo' spreads the use ('lifo')", ['lifo', 'fifo']),
  commandTimeoutMillis: ms(0, 'a query that takes longer is cancelled at the server; 0: never (0)'),
  cancelTimeoutMillis: ms(1, 'a cancel that has not landed by then costs the connection (5000)'),
  closeTimeoutMillis: ms(1, 'a goodbye that takes longer is cut off (5000)'),
  reset: text(
    "what is undone on return: 'lazy' what was dirtied, as statements and their command tags tell (all of it after DO and CALL; what functions, views and triggers do to the session inside is not seen), 'full' everything, 'none' nothing ('lazy')",
    ['lazy', 'full', 'none'],
  ),
  resetTimeoutMillis: ms(
    1,
    'a reset, or the ROLLBACK of a transaction, that takes longer costs the connection; so long a transaction waits for a cursor or stream that it has left open and on which nothing moves (5000)',
  ),
  maxWaiting: count(
    0,
    'requests that may wait, those for whom a connection is being opened among them; one more is refused at once; 0: no bound (0)',
  ),
  shed: bool('refuse at once a request that by present hold times would miss its deadline (false)'),
  tenantWeights: object(
    'share of turns by tenant while requests wait; others have 1. Without it the turns are in order, whosever they are ({}): { gold: 4 }',
  ),
  reservedSlots: count(0, 'connections kept for requests of reservedPriority and above (0)'),
  reservedPriority: { kind: 'count', min: -1_000_000, doc: 'lowest priority that may take a reserved slot (1)' },
  leakDetectionMillis: ms(0, 'a client held for longer is reported with the stack of its acquire; 0: never (0)'),
  leakAction: text("'report', or 'reclaim': cancelled, rolled back, taken back ('report')", ['report', 'reclaim']),
  deadlockDetection: {
    kind: 'boolean',
    choices: ['all'],
    doc: "false: off; true: inside scopes; 'all': connect and acquire imply one too, believed after a second's standstill (true)",
  },
  evictOn: call('(error, client) => boolean: overrides which errors cost the connection'),
  hosts: array("several hosts in order of preference: ['a:5432', { host: 'b', port: 5432 }]"),
  targetSessionAttrs: text('which of the hosts will do (any)', [
    'any',
    'primary',
    'standby',
    'prefer-standby',
    'read-write',
    'read-only',
  ]),
  handles: text("what connect() gives: 'client', as pg-pool, or 'lease', that dies at its release ('client')", [
    'client',
    'lease',
  ]),
  beforeConnect: call('(config): before each dial; may return another config'),
  afterConnect: call('(client): once for each connection, before its first use; a throw closes it'),
  prepare: call(
    '(client, request): before each hand-out; false closes it and takes another, a throw fails the request',
  ),
  afterRelease: call('(client): after each release; false or a throw closes it'),
  beforeClose: call('(client, reason): before each close; its outcome is ignored'),
  random: call('() => [0, 1): for jitter and backoff (Math.random)'),
};

/** What node-postgres' Client takes; passed on to it, not looked at. */
export const CLIENT_OPTIONS: ReadonlySet<string> = new Set([
  'user',
  'database',
  'password',
  'port',
  'host',
  'connectionString',
  'keepAlive',
  'keepAliveInitialDelayMillis',
  'stream',
  'statement_timeout',
  'query_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'ssl',
  'sslmode',
  'sslnegotiation',
  'enableChannelBinding',
  'scramMaxIterations',
  'application_name',
  'fallback_application_name',
  'types',
  'options',
  'client_encoding',
  'encoding',
  'binary',
  'replication',
  'pipeline',
  'connection',
  'isDomainSocket',
  'parseInputDatesAsUTC',
  'native',
  // What pg-connection-string's parse() may leave over of a URL: libpq's parameters, and those of other tools.
  'channel_binding',
  'connect_timeout',
  'connection_limit',
  'gssencmode',
  'hostaddr',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'passfile',
  'pgbouncer',
  'pool_timeout',
  'require_auth',
  'requiressl',
  'schema',
  'service',
  'socket_timeout',
  'ssl_max_protocol_version',
  'ssl_min_protocol_version',
  'sslaccept',
  'sslcert',
  'sslcompression',
  'sslcrl',
  'sslidentity',
  'sslkey',
  'sslpassword',
  'sslrootcert',
  'statement_cache_size',
  'target_session_attrs',
  'tcp_user_timeout',
  'uselibpqcompat',
]);
