/**
 * Asks PostgreSQL what a client has left in its session: which values the settings have that it may have touched, and
 * which of temporary objects, held cursors, advisory locks, LISTEN and PREPARE there are. Holds the server for that one
 * question. What follows from the answer is follow.ts's.
 */
import { type ErrorFields, HEADER_BYTES, lengthAt, parseDataRow, query, Reply, sqlLiteral } from '@sluice/wire';
import { timeLimit } from '../net/time-limit.ts';
import type { ServerHolder } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { Keeps, type Suspicion } from '../sql/suspicion.ts';
import { ATTEMPTS, QUERY_CANCELED } from './align.ts';

/** Notices, notifications and changed parameters come at any time. */
const UNASKED: readonly number[] = [0x41, 0x4e, 0x53];

/** A session may have settings, and PREPAREs, up to this; beyond it the server simply stays with its client. */
export const SESSION_BYTES = 1_048_576;

/**
 * What was found: kind, name, value; of PostgreSQL's own settings `isDefault`, it has the value that a RESET would give it, and
 * `isReset`, no SET is in force (null: not known).
 */
export interface Finding {
  readonly kind: 'setting' | 'prepared' | 'temporary' | 'cursor' | 'lock' | 'listen';
  readonly name: string;
  /** Null: no such setting. */
  readonly value: string | null;
  readonly isDefault: boolean;
  readonly isReset: boolean | null;
}

const KINDS: Readonly<Record<string, Finding['kind']>> = {
  s: 'setting',
  p: 'prepared',
  t: 'temporary',
  c: 'cursor',
  l: 'lock',
  n: 'listen',
};

/** Values come as UTF-8 in hexadecimal, whatever client_encoding is. */
const hex = (expression: string) => `pg_catalog.encode(pg_catalog.convert_to(${expression}, 'UTF8'), 'hex')`;

/** What stands in schemas: catalogue, and the prefix of its columns. */
const CATALOGS = [
  ['class', 'rel'],
  ['proc', 'pro'],
  ['type', 'typ'],
  ['collation', 'coll'],
  ['operator', 'opr'],
  ['opclass', 'opc'],
  ['opfamily', 'opf'],
  ['conversion', 'con'],
  ['ts_config', 'cfg'],
  ['ts_dict', 'dict'],
] as const;

function inTemporarySchema([catalog, prefix]: readonly [string, string]): string {
  return ` UNION ALL SELECT 't', ${hex(`${prefix}name::text`)}, NULL, NULL FROM pg_catalog.pg_${catalog} WHERE pg_catalog.pg_my_temp_schema() <> 0 AND ${prefix}namespace = pg_catalog.pg_my_temp_schema()`;
}

const PARTS: readonly [number, string][] = [
  [
    Keeps.Prepared,
    `SELECT 'p', ${hex('name')}, ${hex('statement')}, NULL FROM pg_catalog.pg_prepared_statements WHERE from_sql`,
  ],
  [
    Keeps.Temporary,
    `SELECT * FROM (SELECT 't', NULL, NULL::text, NULL::text WHERE false ${CATALOGS.map(inTemporarySchema).join('')} LIMIT 1) AS temporary`,
  ],
  [
    Keeps.Cursor,
    `SELECT * FROM (SELECT 'c', ${hex('name')}, NULL::text, NULL::text FROM pg_catalog.pg_cursors WHERE is_holdable LIMIT 1) AS held`,
  ],
  [
    Keeps.Lock,
    `SELECT * FROM (SELECT 'l', ${hex("pg_catalog.concat_ws(', ', classid, objid)")}, NULL::text, NULL::text FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() LIMIT 1) AS locks`,
  ],
  [
    Keeps.Listen,
    `SELECT * FROM (SELECT 'n', ${hex('channel')}, NULL::text, NULL::text FROM pg_catalog.pg_listening_channels() AS channel LIMIT 1) AS channels`,
  ],
];

const TIMEOUT = 'statement_timeout';

/** How it stands with a setting: 'r', no SET is in force; 'd', one is, to the value of a RESET; 's', to another. */
const STANDING = `CASE WHEN s.source <> 'session' THEN 'r' WHEN s.setting = s.reset_val THEN 'd' ELSE 's' END`;

/**
 * Asks for the timeout first, and then without it: until the end of the simple query, which is a transaction. How it stands is
 * asked only where it matters, since that takes longer.
 */
const unhurried = (standing: boolean) =>
  `SELECT 's', ${hex(`'${TIMEOUT}'`)}, ${hex(`pg_catalog.current_setting('${TIMEOUT}')`)}, ${standing ? `(SELECT ${STANDING} FROM pg_catalog.pg_settings AS s WHERE s.name = '${TIMEOUT}')` : 'NULL'}; SET LOCAL ${TIMEOUT} = 0; `;

/** The question, for these settings and what the suspicion names. */
function question(names: ReadonlySet<string>, { anySetting, keeps }: Suspicion): string {
  const parts = PARTS.filter(([bit]) => (keeps & bit) !== 0).map(([, sql]) => sql);
  const list = [...names].map(sqlLiteral).join(', ');
  if (names.size > 0 || anySetting) {
    const given = `SELECT pg_catalog.unnest(ARRAY[${list}]::text[]) AS name`;
    const changed = `SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE source = 'session'`;
    parts.push(
      `SELECT 's', ${hex('n.name')}, ${hex('pg_catalog.current_setting(n.name, true)')}, (SELECT ${STANDING} FROM pg_catalog.pg_settings AS s WHERE pg_catalog.lower(s.name) = n.name) FROM (${anySetting ? `${given} UNION ${changed}` : given}) AS n`,
    );
  }
  return parts.join(' UNION ALL ');
}

export class Inventory implements ServerHolder {
  readonly #owner: ServerHolder;
  readonly #answered: (found: readonly Finding[] | string) => void;
  #question = '';
  #attempts = 0;
  #unhurried = false;
  #standing = false;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #error: string | null = null;
  #canceled = false;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `owner` holds the server otherwise, and hears what is not the answer. `answered` is called when the server is settled
   * again, with what is there or with why that is not known.
   */
  constructor(owner: ServerHolder, answered: (found: readonly Finding[] | string) => void) {
    this.#owner = owner;
    this.#answered = answered;
  }

  /**
   * Takes the server from its holder until the answer is there. `asked`: of these settings it must be known whether a SET is in
   * force.
   */
  ask(server: Server, names: ReadonlySet<string>, suspicion: Suspicion, asked: ReadonlyMap<string, string>): void {
    server.holder = this;
    server.holderIsClient = false;
    this.#standing = asked.has(TIMEOUT);
    this.#question = question(names, suspicion);
    this.#unhurried = names.has(TIMEOUT);
    // Its client may be gone by then, and nobody else looks after the server.
    const { answerMs } = server.watcher;
    const late = () => server.close(`no answer about the session within ${answerMs / 1000} s`);
    this.#timer = timeLimit(answerMs, late);
    this.#send(server);
  }

  #send(server: Server): void {
    this.#attempts++;
    const message = query(this.#unhurried ? unhurried(this.#standing) + this.#question : this.#question);
    server.queue.sent(Reply.Query);
    server.conn.write(message, 0, message.length);
  }

  relay(buffer: Uint8Array, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes <= 4 * SESSION_BYTES) this.#chunks.push(Buffer.from(buffer.subarray(from, to)));
  }

  keepRelayed(): void {}

  answerDue(): void {}

  exchangeEnded(): void {
    this.#ended = true;
  }

  errorRelayed(fields: ErrorFields | null): boolean {
    this.#error ??= fields?.message ?? 'a long error';
    this.#canceled = fields?.code === QUERY_CANCELED;
    return fields?.severity !== 'FATAL' || this.#owner.errorRelayed(fields, null, null);
  }

  planRejected(): boolean {
    return false;
  }

  discarded(): void {}

  parameterChanged(index: number, value: string): void {
    this.#owner.parameterChanged(index, value);
  }

  serverScanned(server: Server): void {
    if (!this.#ended || !server.settled || server.closedBecause !== null) return;
    this.#ended = false;
    if (this.#error === null && this.#bytes > 4 * SESSION_BYTES)
      this.#error = 'the session has more of it than is carried along';
    const bytes = Buffer.concat(this.#chunks);
    if (this.#canceled && this.#attempts < ATTEMPTS) {
      this.#askAgain(server);
      return;
    }
    clearTimeout(this.#timer);
    server.holderIsClient = true;
    this.#passOn(bytes, UNASKED);
    this.#answered(this.#error ?? understood(findings(bytes), this.#unhurried));
  }

  #askAgain(server: Server): void {
    this.#unhurried = true;
    this.#chunks = [...messages(Buffer.concat(this.#chunks))].flatMap(([bytes, at, end]) =>
      UNASKED.includes(bytes[at]!) ? [bytes.subarray(at, end)] : [],
    );
    this.#error = null;
    this.#canceled = false;
    this.#send(server);
  }

  serverLost(server: Server, reason: string): void {
    clearTimeout(this.#timer);
    this.#passOn(Buffer.concat(this.#chunks), [...UNASKED, 0x45]);
    this.#owner.serverLost(server, reason);
  }

  /** What is for the client: it comes when it comes. */
  #passOn(bytes: Buffer, types: readonly number[]): void {
    for (const [, at, end] of messages(bytes)) if (types.includes(bytes[at]!)) this.#owner.relay(bytes, at, end);
  }

  serverDrained(): void {}
}

function* messages(bytes: Buffer): Iterable<[bytes: Buffer, at: number, end: number]> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const end = at + 1 + lengthAt(bytes, at);
    if (end > bytes.length) return;
    yield [bytes, at, end];
    at = end;
  }
}

function findings(bytes: Buffer): Finding[] {
  const found: Finding[] = [];
  for (const [, at, end] of messages(bytes)) {
    if (bytes[at] !== 0x44) continue;
    const [kind, name, value, standing] = parseDataRow(bytes, at + HEADER_BYTES, end).map((one) =>
      one === null ? null : Buffer.from(one).toString('latin1'),
    );
    found.push({
      kind: KINDS[kind!]!,
      name: unhex(name!),
      value: value == null ? null : unhex(value),
      isDefault: standing === 'd' || standing === 'r',
      isReset: standing == null ? null : standing === 'r',
    });
  }
  return found;
}

/** An unhurried answer begins with the timeout, which was nought when the question itself asked for it. */
function understood(found: Finding[], unhurried: boolean): Finding[] {
  const [first, ...rest] = found;
  if (!unhurried || first === undefined) return found;
  const timeout = ({ name }: Finding) => name === TIMEOUT;
  const isDefault = first.isDefault || (first.value === '0' && rest.find(timeout)?.isDefault === true);
  return [{ ...first, isDefault }, ...rest.filter((finding) => !timeout(finding))];
}

function unhex(text: string): string {
  return Buffer.from(text, 'hex').toString('utf8');
}
