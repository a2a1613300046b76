// Owns what the configuration room says about input it can't accept, or accepts with doubts.
// It must not know any format.

import type { Config, Place } from './settings.ts';

/** An `error` means that the result must not be used; a `warning`, that it can be, and does what the message says. */
export type Severity = 'error' | 'warning';

export interface Problem extends Place {
  readonly severity: Severity;
  /** The setting, the entry ("databases/shop") or null when it is about neither. */
  readonly setting: string | null;
  /** What happened, to what, and what to do. The place is not in it: see `formatProblem`. Never holds a password. */
  readonly message: string;
}

/** Collects problems in the order they are met; at most `LIMIT`, so that a wrong file can't fill the log. */
export class Problems {
  static readonly LIMIT = 200;
  readonly list: Problem[] = [];

  error(place: Place, setting: string | null, message: string): void {
    this.add({ severity: 'error', file: place.file, line: place.line, setting, message });
  }

  warning(place: Place, setting: string | null, message: string): void {
    this.add({ severity: 'warning', file: place.file, line: place.line, setting, message });
  }

  /** An error always finds room: it takes the place of the last warning when the list is full. */
  add(problem: Problem): void {
    if (this.list.length < Problems.LIMIT) {
      this.list.push(problem);
    } else if (problem.severity === 'error') {
      const last = this.list.findLastIndex((one) => one.severity === 'warning');
      if (last >= 0) this.list.splice(last, 1, problem);
    }
  }
}

/** Whether the result that came with these problems must not be used. */
export function hasErrors(problems: readonly Pick<Problem, 'severity'>[]): boolean {
  return problems.some((problem) => problem.severity === 'error');
}

/** A place as messages show it. */
export function at(place: Place): string {
  return `(${place.file}:${place.line})`;
}

/** A message about a global setting, with the place where the file gives it, if it does. */
export function located({ given }: Pick<Config, 'given'>, setting: string, message: string): string {
  const place = given.get(setting);
  return place === undefined ? message : `${message} ${at(place)}`;
}

const SHOWN = 80;

/** A problem as one line of a log: PgBouncer's order, the place last. */
export function formatProblem(problem: Problem): string {
  return `${problem.message} ${at(problem)}`;
}

/** Input inside a message: on one line, without control characters, cut when long. */
export function quote(text: string): string {
  const plain = text.replace(/[\u0000-\u001f\u007f]/g, '?');
  return plain.length > SHOWN ? `"${plain.slice(0, SHOWN)}..."` : `"${plain}"`;
}

/** The candidate closest to a misspelt word, if one is close enough to be worth a suggestion. */
export function closest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.ceil(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.slice(0, 64), candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Letters to change, add or drop to make one word of the other; any number from `limit` up counts as too many. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
