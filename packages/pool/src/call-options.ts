/**
 * What may be given to a call of the pool, a table each, and the check of it: a name or a value that is none is refused by name, before
 * anything is done. Owns the tables; what a value may be is option-check.ts's. What a query may carry is in options.ts, for it is looked
 * at each time.
 */
import { BadOption } from './errors.ts';
import { nearest, show, wrongWith } from './option-check.ts';
import { type OptionRow, POOL_OPTIONS } from './option-table.ts';
import { LONGEST_MS } from './timers.ts';

interface CallTable {
  /** What such an object looks like. */
  readonly such: string;
  /** null: its value is looked at elsewhere. */
  readonly rows: Readonly<Record<string, OptionRow | null>>;
}

const table = (such: string, rows: CallTable['rows']): CallTable => ({ such, rows });
const row = (kind: OptionRow['kind'], more: Partial<OptionRow> = {}): OptionRow => ({ kind, doc: '', ...more });
/** A time that may be longer than a timer can measure, or for ever. */
const duration = row('milliseconds', { min: 0, infinite: true });

const REQUEST = { signal: null, deadline: null, timeoutMillis: null, priority: null, tenant: null };

const WEB = {
  healthPath: row('text', { begins: '/' }),
  healthTimeoutMillis: row('milliseconds', { min: 1, max: LONGEST_MS }),
  drainTimeoutMillis: duration,
};

/** Fastify's own, which it passes on to the plugin. */
const OF_FASTIFY = { prefix: null, logLevel: null, logSerializers: null };

const CALLS = {
  request: table('{ signal }', REQUEST),
  transaction: table('{ signal }', {
    ...REQUEST,
    isolation: row('text', { choices: ['read committed', 'repeatable read', 'serializable'] }),
    readOnly: row('boolean'),
    deferrable: row('boolean'),
    retry: null,
    propagation: row('text', { choices: ['nested', 'new'] }),
  }),
  'transaction: retry': table('true, or { attempts: 3 }', {
    attempts: row('count', { min: 1 }),
    minDelayMillis: row('milliseconds', { min: 0 }),
    maxDelayMillis: duration,
    codes: row('texts'),
  }),
  wait: table('{ timeoutMillis: 5000 }', { timeoutMillis: duration }),
  drain: table('{ timeoutMillis: 5000 }', { timeoutMillis: duration }),
  resize: table('{ max: 20 }', { min: POOL_OPTIONS.min!, max: POOL_OPTIONS.max! }),
  suspend: table('{ closeIdle: true }', { closeIdle: row('boolean') }),
  setCredentials: table('{ password }', { user: row('text'), password: row('secret') }),
  express: table("{ healthPath: '/health' }", WEB),
  fastify: table('{ pool }', { ...WEB, ...OF_FASTIFY, pool: null }),
} satisfies Record<string, CallTable>;

/** What of this makes no sense, or null. undefined and null stand for nothing given, and so they do in each of its fields. */
export function wrongCall(call: keyof typeof CALLS, options: unknown): BadOption | null {
  if (options === undefined || options === null) return null;
  const { such, rows }: CallTable = CALLS[call];
  if (typeof options !== 'object' || Array.isArray(options) || 'addEventListener' in options)
    return new BadOption('options', `${call}: options are an object, such as ${such}, and no other value`);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue;
    if (!Object.hasOwn(rows, name)) return unknownName(call, name, Object.keys(rows));
    const of = rows[name]!;
    const problem = of === null ? null : wrongWith(value, of);
    // A secret is not repeated.
    const shown = of?.kind === 'secret' ? `a ${typeof value}` : show(value);
    if (problem !== null) return new BadOption(name, `${call}: ${name} is ${shown}: ${problem}`);
  }
  return null;
}

function unknownName(call: string, name: string, names: readonly string[]): BadOption {
  const near = nearest(name, names);
  const hint = near === null ? `there are ${names.join(', ')}` : `did you mean ${near}?`;
  return new BadOption(name, `${call}: option ${name} is not known: ${hint}`);
}
