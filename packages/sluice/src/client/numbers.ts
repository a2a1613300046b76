/**
 * Statements that concern other sessions: whom they mean, by the numbers in the text and those bound to it in the same packet, and whether
 * it is sure that they are run.
 */
import { HEADER_BYTES, lengthAt, ProtocolError, parseBind } from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import type { SessionSignal } from '../sql/signals.ts';
import type { Suspicion } from '../sql/suspicion.ts';
import type { Session } from './side.ts';

/** Numbers of sessions have 7 to 10 digits. */
const NUMBER = /^[0-9]{7,10}$/;
/** So many are looked at. */
const MOST = 100;

const QUERY = 0x51;
const PARSE = 0x50;
const BIND = 0x42;
const DESCRIBE = 0x44;
const EXECUTE = 0x45;

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
  const isPlain = session.parameters.get('standard_conforming_strings') !== 'off';
  const isSure = queue.atRest && status !== Tx.Failed && isPlain;
  const targets = isSure ? targetsOf(signals, buffer, at, end) : [];
  if (databases.size + targets.length > 0) session.registry.concernsOthers(session, databases, targets);
}

/** `at`: where the Query, Parse or Bind stands; what is here goes up to `end`. What is prepared, described or bound there and not run is for nobody. */
export function targetsOf(signals: readonly SessionSignal[], buffer: Buffer, at: number, end: number): Target[] {
  if (signals.length === 0) return [];
  const values = buffer[at] === QUERY ? [] : boundAndRun(buffer, at, end);
  if (values === null) return [];
  const targets = signals.flatMap(({ kind, numbers, params }) => {
    const all = [...numbers, ...params.map((param) => sessionNumber(values[param - 1] ?? null))];
    return all.flatMap((number) => (number === null ? [] : [{ kind, number }]));
  });
  return targets.slice(0, MOST);
}

/** The values bound to it; null: it is not bound and executed by the messages that follow. */
function boundAndRun(buffer: Buffer, from: number, end: number): readonly (Uint8Array | null)[] | null {
  const isParse = buffer[from] === PARSE;
  let at = isParse ? behind(buffer, from, end) : from;
  if (isParse && buffer[at] === DESCRIBE) at = behind(buffer, at, end);
  const last = behind(buffer, at, end);
  if (buffer[at] !== BIND) return null;
  const { portal, statement, values } = read(buffer, at, last) ?? {};
  if (values === undefined || (isParse && statement !== nameAt(buffer, from, end))) return null;
  const next = buffer[last] === DESCRIBE ? behind(buffer, last, end) : last;
  return next < end && buffer[next] === EXECUTE && nameAt(buffer, next, end) === portal ? values : null;
}

function behind(buffer: Buffer, at: number, end: number): number {
  return at + HEADER_BYTES <= end ? Math.min(end, at + lengthAt(buffer, at) + 1) : end;
}

/** The name that a Parse or an Execute begins with; null: it is not all here. */
function nameAt(buffer: Buffer, at: number, end: number): string | null {
  const first = at + HEADER_BYTES;
  const nul = first < end ? buffer.indexOf(0, first) : -1;
  return nul < 0 || nul >= end ? null : buffer.toString('utf8', first, nul);
}

function read(buffer: Buffer, at: number, last: number): ReturnType<typeof parseBind> | null {
  try {
    return parseBind(buffer, at + HEADER_BYTES, last);
  } catch (error) {
    if (error instanceof ProtocolError) return null; // PostgreSQL's to say
    throw error;
  }
}

/** Of the formats it does not matter which: digits are no four or eight bytes of such a number. */
function sessionNumber(value: Uint8Array | null): number | null {
  if (value === null) return null;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  if (bytes.length >= 7 && bytes.length <= 10) {
    const text = bytes.toString('latin1');
    if (NUMBER.test(text)) return Number(text);
  }
  if (bytes.length === 4) return bytes.readUInt32BE(0);
  return bytes.length === 8 && bytes.readUInt32BE(0) === 0 ? bytes.readUInt32BE(4) : null;
}
