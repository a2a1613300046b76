/** A result of the console: columns with PgBouncer's types, rows as texts, and the messages that they make. */
import { type Column, dataRow, rowDescription } from '@sluice/wire';
import type { Passing } from '../pooling/descriptor-rows.ts';

/** Column types, as PgBouncer's console has them. */
const TYPES = {
  text: { type: 25, size: -1 },
  int4: { type: 23, size: 4 },
  int8: { type: 20, size: 8 },
  numeric: { type: 1700, size: -1 },
  bytea: { type: 17, size: -1 },
} as const;

/** PgBouncer's letters for them: `s` text, `i` int4, `q` int8, `N` numeric, `T` a time as text, `b` bytea. */
const LETTERS = { s: 'text', i: 'int4', q: 'int8', N: 'numeric', T: 'text', b: 'bytea' } as const;
type Letter = keyof typeof LETTERS;

export type Cell = string | number | bigint | boolean | Date | null;

/** A descriptor that is passed on with a row. */
export interface Carried extends Passing {
  readonly fd: number;
}

export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
  /** What is passed on with each row. */
  readonly carries?: readonly Carried[] | undefined;
}

/** `types`: a letter a column. */
export function columns(types: string, names: readonly string[]): readonly Column[] {
  if (types.length !== names.length) throw new Error(`bug: ${names.length} columns, ${types.length} types`);
  return names.map((name, i) => ({ name, ...TYPES[LETTERS[types[i] as Letter]] }));
}

export function tableMessages({ columns: heads, rows }: Table, withHead: boolean): Uint8Array[] {
  const messages = withHead ? [rowDescription(heads)] : [];
  return [...messages, ...rows.map(rowMessage)];
}

export function rowMessage(row: readonly Cell[]): Uint8Array {
  return dataRow(row.map(cellText));
}

function cellText(cell: Cell): string | null {
  if (cell === null) return null;
  if (cell instanceof Date) return timeText(cell);
  if (typeof cell === 'boolean') return cell ? '1' : '0';
  if (typeof cell === 'number') return String(Math.round(cell));
  return String(cell);
}

/** As PgBouncer: local time to the second, with the zone's name. */
function timeText(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone(time)}`;
}

function zone(time: Date): string {
  if (time.getTimezoneOffset() === 0) return 'UTC';
  return new Intl.DateTimeFormat('en', { timeZoneName: 'short' })
    .formatToParts(time)
    .find((p) => p.type === 'timeZoneName')!.value;
}
