/**
 * Startup values that follow their client (session_state = follow) are tried on a server at the login, as PostgreSQL would do it: one
 * that it does not take refuses the login in its own words, and the client is told the others as PostgreSQL writes them
 * ("German" is "German, DMY"). What was tried is known from then on; only who brings something new waits for a server.
 */
import { decodeText, type ErrorFields, HEADER_BYTES, lengthAt, parseDataRow } from '@sluice/wire';
import { LoginRefused } from '../client/login.ts';
import type { Welcome } from './pool-shape.ts';
import { Question, QuestionFailed } from './question.ts';
import type { ServerPool } from './server-pool.ts';

/** So long a login waits for a server to try its values on: when all are busy they are tried by its first query. */
const WAIT_MS = 1_000;
/** Pairs of name and value that are known of one pool; the oldest go first. */
const KNOWN_PAIRS = 1_000;
/** Longer values are tried each time. */
const KNOWN_CHARACTERS = 1_000;

/** PostgreSQL's code for a setting that only a connection's begin can change (and for those that nothing can). */
const CANT_CHANGE_RUNTIME_PARAM = '55P02';
/** Who one is is settled last: it may take away the right to set the rest. */
const IDENTITY = ['session_authorization', 'role'];

export type Values = ReadonlyMap<string, string>;

export class AskedValues {
  /** By what the pool's servers say of themselves: when they say something else, all is tried anew. */
  readonly #known = new WeakMap<Welcome, Map<string, string>>();

  /** Those of `asked` that nobody has tried on servers with this welcome. */
  untried(asked: Values, welcome: Welcome): Values {
    const known = this.#known.get(welcome);
    const untried = new Map<string, string>();
    for (const [name, value] of asked)
      if (mayBeRefused(name) && !isAlready(welcome, name, value) && known?.get(pair(name, value)) === undefined)
        untried.set(name, value);
    return untried;
  }

  /** As PostgreSQL writes it, if that is known. */
  told(welcome: Welcome, name: string, value: string): string {
    return this.#known.get(welcome)?.get(pair(name, value)) ?? value;
  }

  /**
   * Asks PostgreSQL. Rejects with a LoginRefused when it does not take one of them. Where no server is to be had soon, or it is lost,
   * nothing is known, and the client comes in. `giveUp` is handed what ends the wait for a server.
   */
  async try(pool: ServerPool, welcome: Welcome, values: Values, answerMs: number, giveUp: (abort: () => void) => void) {
    const names = [...values.keys()].sort((a, b) => IDENTITY.indexOf(a) - IDENTITY.indexOf(b));
    const calls = names.map((_, i) => `pg_catalog.set_config($${2 * i + 1}, $${2 * i + 2}, true)`);
    const question = new Question(pool, {
      name: 'startup parameters',
      // One after the other, and gone with the transaction.
      sql: `SELECT ${calls.join(', ')}`,
      values: names.flatMap((name) => [name, values.get(name)!]),
      deadline: pool.context.clock.now + WAIT_MS,
      answerMs,
    });
    giveUp(() => question.abort());
    question.begin();
    try {
      const told = firstRow(await question.answer);
      names.forEach((name, i) => {
        this.#learn(welcome, pair(name, values.get(name)!), told[i] ?? null);
      });
    } catch (error) {
      if (!(error instanceof QuestionFailed)) throw error;
      const { fields } = error;
      if (fields === null || fields.severity !== 'ERROR') return;
      throw refusal(fields);
    }
  }

  #learn(welcome: Welcome, key: string, told: string | null): void {
    if (told === null || key.length + told.length > KNOWN_CHARACTERS) return;
    let known = this.#known.get(welcome);
    if (known === undefined) {
      known = new Map();
      this.#known.set(welcome, known);
    }
    if (known.size >= KNOWN_PAIRS) known.delete(known.keys().next().value!);
    known.set(key, told);
  }
}

function pair(name: string, value: string): string {
  return `${name}\0${value}`;
}

/** Names of applications are always taken, and so are values of settings that no extension has declared. */
function mayBeRefused(name: string): boolean {
  return name !== 'application_name' && !name.includes('.');
}

function isAlready({ parameters }: Welcome, name: string, value: string): boolean {
  return parameters.get(name) !== null && parameters.asking(parameters.names.indexOf(name), value) === parameters;
}

function firstRow(answer: Buffer): readonly (string | null)[] {
  for (let at = 0; at + HEADER_BYTES <= answer.length; at += 1 + lengthAt(answer, at))
    if (answer[at] === 0x44)
      return parseDataRow(answer, at + HEADER_BYTES, at + 1 + lengthAt(answer, at)).map((value) =>
        value === null ? null : decodeText(value),
      );
  return [];
}

const AT_CONNECTION =
  'Servers are connected already when they serve a client: what only the begin of a connection can set, give to the role (ALTER ROLE ... SET).';

function refusal({ message, code, detail, hint }: ErrorFields): LoginRefused {
  const told = hint || (code === CANT_CHANGE_RUNTIME_PARAM ? AT_CONNECTION : '');
  return new LoginRefused({
    message,
    sqlState: code,
    ...(detail ? { detail } : {}),
    ...(told ? { hint: told } : {}),
  });
}
