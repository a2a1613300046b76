/**
 * Statements that concern other sessions: whom they mean, by the numbers in the text and those bound to it in the same packet, and whether
 * it is sure that they are run.
 */
import { HEADER_BYTES, lengthAt, ProtocolError, parseBind, parseExecute, parseParse, parseTarget } from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { processIdIn, type SessionSignal } from '../sql/signals.ts';
import type { Suspicion } from '../sql/suspicion.ts';
import type { Session } from './side.ts';

/** So many are looked at. */
const MOST = 100;

const QUERY = 0x51;
const PARSE = 0x50;
const BIND = 0x42;
const DESCRIBE = 0x44;
const EXECUTE = 0x45;
/** Types that a process id may be declared to have: not said, int4, int2. */
const NUMBERS = new Set([0, 23, 21]);

export interface Target {
  readonly kind: SessionSignal['kind'];
  readonly number: number;
}

/** `at`: where the Query, Parse or Bind stands. What may fail before it, or be read otherwise, leaves others alone. */
export function concernOthers(
  session: Session,
  { queue, status }: Server,
  { databases, signals }: Suspicion,
  buffer: Buffer,
  at: number,
  end: number,
): void {
  const isAnswered = queue.length === 0 && !queue.copyIn && !queue.untrusted && !queue.skipping;
  const isPlain = session.parameters.get('standard_conforming_strings') !== 'off';
  const name = buffer[at] === PARSE ? nameAt(buffer, at + HEADER_BYTES, end) : '';
  // A name that is taken makes the Parse fail.
  const isFree = name === '' || session.statements.get(name ?? '') === undefined;
  const isSure = isAnswered && status !== Tx.Failed && isPlain && isFree;
  const targets = isSure ? targetsOf(signals, buffer, at, end) : [];
  if (databases.size + targets.length > 0) session.registry.concernsOthers(session, databases, targets);
}

/** `at`: where the Query, Parse or Bind stands; what is here goes up to `end`. What is prepared, described or bound there and not run is for nobody. */
export function targetsOf(signals: readonly SessionSignal[], buffer: Buffer, at: number, end: number): Target[] {
  if (signals.length === 0) return [];
  const bound = buffer[at] === QUERY ? [] : boundAndRun(buffer, at, end);
  // The text is nothing but these calls, so these are all of its parameters.
  const wanted = Math.max(0, ...signals.flatMap(({ params }) => params));
  if (bound === null || bound.length !== wanted || bound.includes(null)) return [];
  const targets = signals.flatMap(({ kind, numbers, params }) =>
    [...numbers, ...params.map((param) => bound[param - 1]!)].map((number) => ({ kind, number })),
  );
  return targets.slice(0, MOST);
}

/** The values bound to it, null where one is no number; null: it is not bound and executed by the messages that follow. */
function boundAndRun(buffer: Buffer, from: number, end: number): (number | null)[] | null {
  try {
    let at = from;
    let name: string | null = null;
    if (buffer[from] === PARSE) {
      at = behind(buffer, from, end);
      const parsed = parseParse(buffer, from + HEADER_BYTES, at);
      if (!parsed.types.every((type) => NUMBERS.has(type))) return null;
      name = parsed.name;
      at = behindDescribe(buffer, at, end, 'S', name);
    }
    const last = behind(buffer, at, end);
    if (buffer[at] !== BIND || last >= end) return null;
    const { portal, statement, formats, values } = parseBind(buffer, at + HEADER_BYTES, last);
    // A portal with a name may be there already.
    if (portal !== '' || (name !== null && statement !== name)) return null;
    const next = behindDescribe(buffer, last, end, 'P', '');
    if (buffer[next] !== EXECUTE || !isWhole(buffer, next, end)) return null;
    if (parseExecute(buffer, next + HEADER_BYTES, behind(buffer, next, end)).portal !== '') return null;
    return values.map((value, i) => numberIn(value, (formats.length > 1 ? formats[i] : formats[0]) === 1));
  } catch (error) {
    if (error instanceof ProtocolError) return null; // PostgreSQL's to say
    throw error;
  }
}

/** What follows at `at`, a Describe of this passed over. */
function behindDescribe(buffer: Buffer, at: number, end: number, target: 'S' | 'P', name: string): number {
  if (at >= end || buffer[at] !== DESCRIBE) return at;
  const next = behind(buffer, at, end);
  const described = parseTarget(buffer, at + HEADER_BYTES, next);
  return described.target === target && described.name === name ? next : at;
}

function behind(buffer: Buffer, at: number, end: number): number {
  return isWhole(buffer, at, end) ? at + lengthAt(buffer, at) + 1 : end;
}

function isWhole(buffer: Buffer, at: number, end: number): boolean {
  return at + HEADER_BYTES <= end && at + lengthAt(buffer, at) + 1 <= end;
}

/** The text at `first`, up to its NUL; null: it is not all here. */
function nameAt(buffer: Buffer, first: number, end: number): string | null {
  const nul = first < end ? buffer.indexOf(0, first) : -1;
  return nul < 0 || nul >= end ? null : buffer.toString('utf8', first, nul);
}

/** The process id in a bound value, which is an int4; null: it is none. */
function numberIn(value: Uint8Array | null, isBinary: boolean): number | null {
  if (value === null) return null;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  if (isBinary) return bytes.length === 4 ? bytes.readInt32BE(0) : null;
  return processIdIn(bytes.toString('latin1'));
}
