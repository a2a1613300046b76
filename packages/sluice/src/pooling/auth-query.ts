/**
 * auth_query: asks the database for a user's secret, logged in as auth_user. The user's name is a parameter, never part of the
 * text; nothing of the client's session is applied to the server. Where to ask is decided in lookups.ts.
 */
import type { Refusal } from '@sluice/core';
import * as wire from '@sluice/wire';
import { Question, QuestionFailed } from './question.ts';
import type { ServerPool } from './server-pool.ts';

/** What the query found. `name`: as the query gives it; a secret of null: there is one that no password can match. */
export type Found = { readonly name: string; readonly secret: wire.Secret | null };

/** The query could not be asked, or its answer makes no sense. */
export class AuthQueryFailed extends Error {
  /** No server was to be had, for this reason; null: the query itself went wrong. */
  readonly refusal: Refusal | null;

  constructor(message: string, refusal: Refusal | null = null) {
    super(message);
    this.name = 'AuthQueryFailed';
    this.refusal = refusal;
  }
}

/**
 * The row, or null when there is none. Rejects with AuthQueryFailed. `asked` is called when the question leaves: from then on its
 * answer may be older than a newcomer's login.
 */
export async function askForUser(
  pool: ServerPool,
  sql: string,
  user: string,
  timeoutMs: number,
  asked: () => void,
): Promise<Found | null> {
  const { now } = pool.context.clock;
  const deadline = Math.min(now + (timeoutMs || Number.POSITIVE_INFINITY), pool.waitDeadline(now));
  const question = new Question(pool, {
    name: 'auth_query',
    sql,
    values: [user],
    deadline,
    answerMs: timeoutMs,
    asked,
  });
  question.begin();
  let answer: Buffer;
  try {
    answer = await question.answer;
  } catch (error) {
    if (!(error instanceof QuestionFailed)) throw error;
    const { fields, refusal, message } = error;
    throw new AuthQueryFailed(fields === null ? message : errorText(fields), refusal);
  }
  try {
    return readAnswer(answer);
  } catch (error) {
    throw new AuthQueryFailed((error as Error).message);
  }
}

function errorText({ severity, message }: wire.ErrorFields): string {
  return `error in auth_query: ${severity}: ${message}`;
}

/** The last row counts, as in PgBouncer. A row without a name is what a function returns that found nobody. */
export function readAnswer(bytes: Buffer): Found | null {
  let found: Found | null = null;
  for (let at = 0; at + wire.HEADER_BYTES <= bytes.length; ) {
    const end = at + 1 + wire.lengthAt(bytes, at);
    const body = at + wire.HEADER_BYTES;
    if (bytes[at] === 0x54) checkColumns(wire.parseRowDescription(bytes, body, end).length);
    if (bytes[at] === 0x44) {
      const values = wire.parseDataRow(bytes, body, end);
      checkColumns(values.length);
      found = readRow(values);
    }
    at = end;
  }
  return found;
}

function readRow([name, secret]: readonly (Uint8Array | null)[]): Found | null {
  if (name === null || name === undefined) return null;
  const text = secret === null || secret === undefined ? null : wire.decodeText(secret);
  return {
    name: wire.decodeText(name),
    secret: text === null || text === '' ? null : wire.parseSecret(text),
  };
}

function checkColumns(count: number): void {
  if (count !== 2) throw new Error(`expected 2 columns from auth_query, not ${count}`);
}
