/**
 * Is a value what its row of a table allows, and which name was meant by one that is none? Owns the words of both; the tables are
 * option-table.ts and call-options.ts.
 */
import type { OptionRow } from './option-table.ts';

/** What is wrong with the value, in words that say what is allowed; null: nothing. */
export function wrongWith(value: unknown, row: OptionRow): string | null {
  switch (row.kind) {
    case 'boolean':
      return typeof value === 'boolean' || row.choices?.includes(value as string) ? null : 'it must be true or false';
    case 'text':
      if (typeof value !== 'string' || !value.startsWith(row.begins ?? ''))
        return `it must be a string${row.begins === undefined ? '' : ` that begins with "${row.begins}"`}`;
      return row.choices === undefined || row.choices.includes(value) ? null : `it must be one of ${list(row.choices)}`;
    case 'texts':
      return Array.isArray(value) && value.every((each) => typeof each === 'string')
        ? null
        : 'it must be an array of strings';
    case 'secret':
      return typeof value === 'string' || typeof value === 'function'
        ? null
        : 'it must be a string, or a function that gives one';
    case 'function':
      return typeof value === 'function' ? null : 'it must be a function';
    case 'class':
      return isClass(value) ? null : 'it must be a class';
    case 'promises':
      return isPromiseClass(value) ? null : 'it must be a class of promises, such as Promise';
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? null : 'it must be an object';
    case 'array':
      return Array.isArray(value) && value.length > 0 ? null : 'it must be an array with at least one element';
    default:
      return wrongNumber(value, row);
  }
}

function wrongNumber(value: unknown, row: OptionRow): string | null {
  const { min = 0, max, kind } = row;
  const unit = kind === 'milliseconds' || kind === 'seconds' ? `a number of ${kind}` : 'a number';
  const range = `${min} ${max === undefined ? 'or more' : `to ${max}`}${row.infinite === true ? ', or Infinity' : ''}`;
  const allowed = `it must be ${kind === 'count' ? 'a whole number' : unit}, ${range}`;
  if (typeof value !== 'number' || Number.isNaN(value)) return allowed;
  if (value === Number.POSITIVE_INFINITY) return row.infinite === true ? null : allowed;
  if (value < min || (max !== undefined && value > max)) return allowed;
  return kind === 'count' && !Number.isInteger(value) ? allowed : null;
}

function isClass(value: unknown): value is new (...args: never[]) => unknown {
  if (typeof value !== 'function') return false;
  try {
    // Throws for what cannot stand behind `new` (an arrow, a method), and calls nothing of it.
    Reflect.construct(Object, [], value);
    return true;
  } catch {
    return false;
  }
}

function isPromiseClass(value: unknown): boolean {
  const { resolve, reject } = (isClass(value) ? value : {}) as Partial<PromiseConstructor>;
  return typeof resolve === 'function' && typeof reject === 'function';
}

/** A value in a message. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `"${value}"`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

function list(choices: readonly string[]): string {
  return choices.map((choice) => `'${choice}'`).join(', ');
}

/** A known name within two edits, or one where it is short; or null. */
export function nearest(name: string, known: readonly string[]): string | null {
  const lower = name.toLowerCase();
  let best: string | null = null;
  let bestDistance = name.length > 3 ? 3 : 2;
  for (const candidate of known) {
    const distance = editDistance(lower, candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string, give: number): number {
  if (Math.abs(a.length - b.length) >= give) return give;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
