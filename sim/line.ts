/**
 * The order in which one pool has to serve its waiters, by an account of its own: places kept for a priority, higher
 * priorities first, a tenant's own waiters as they came, and tenants of one priority by their weights. Knows no queue.
 */
import type { Waiter } from '@sluice/core';
import type { Conn } from './model.ts';

type W = Waiter<Conn>;

export interface Rules {
  /** Null: tenants count for nothing, first come first served. */
  weights: ReadonlyMap<string, number> | null;
  /** Places that only waiters of `reservedFrom` and above may take. */
  reserved: number;
  reservedFrom: number;
}

export const FIRST_COME: Rules = { weights: null, reserved: 0, reservedFrom: 0 };

/** A rounding error of sums of turns. */
const EPSILON = 1e-9;

export class Line {
  /** In order of asking. */
  readonly waiting: W[] = [];
  readonly #rules: Rules;
  /** Places in use and places there are (0: no bound). */
  readonly #places: () => { held: number; max: number };
  /** For two tenants that have both waited without a pause: what the first had more than the second, in weighted turns. */
  readonly #ahead = new Map<string, { first: string; second: string; priority: number; turns: number }>();

  constructor(rules: Rules, places: () => { held: number; max: number }) {
    this.#rules = rules;
    this.#places = places;
  }

  /** May somebody of this priority be served at all now? */
  admits(priority: number): boolean {
    const { reserved, reservedFrom } = this.#rules;
    const { held, max } = this.#places();
    return reserved === 0 || priority >= reservedFrom || max === 0 || held < max - reserved;
  }

  /** Waits somebody who could be served? */
  get eligible(): boolean {
    return this.waiting.some(({ priority }) => this.admits(priority));
  }

  join(waiter: W): void {
    this.waiting.push(waiter);
    if (this.#rules.weights === null) return;
    for (const other of new Set(this.waiting.map(({ tenant }) => tenant))) {
      if (other === waiter.tenant || !this.#waits(other, waiter.priority)) continue;
      const [first, second] = other < waiter.tenant ? [other, waiter.tenant] : [waiter.tenant, other];
      const key = `${waiter.priority} ${first} ${second}`;
      if (!this.#ahead.has(key)) this.#ahead.set(key, { first, second, priority: waiter.priority, turns: 0 });
    }
  }

  /** Who leaves, served or not. False: he was not there. */
  leave(waiter: W): boolean {
    const index = this.waiting.indexOf(waiter);
    if (index < 0) return false;
    this.waiting.splice(index, 1);
    if (this.#waits(waiter.tenant, waiter.priority)) return true;
    for (const [key, { first, second, priority }] of this.#ahead)
      if (priority === waiter.priority && (first === waiter.tenant || second === waiter.tenant))
        this.#ahead.delete(key);
    return true;
  }

  /** Serves one of those who wait; says what is wrong with that, or null. */
  serve(waiter: W): string | null {
    const index = this.waiting.indexOf(waiter);
    if (index < 0) return 'was served without waiting, or twice';
    if (!this.admits(waiter.priority)) return 'took a reserved place';
    const { weights } = this.#rules;
    const passed = this.waiting.some(
      (other, i) =>
        other.priority > waiter.priority ||
        (i < index && other.priority === waiter.priority && (weights === null || other.tenant === waiter.tenant)),
    );
    if (passed) return 'passed a waiter before it';
    const unfair = this.#charge(waiter);
    this.leave(waiter);
    return unfair;
  }

  /** Between two that wait all the while, neither may get ahead by more than a turn of each. */
  #charge({ tenant, priority }: W): string | null {
    for (const pair of this.#ahead.values()) {
      if (pair.priority !== priority || (pair.first !== tenant && pair.second !== tenant)) continue;
      pair.turns += this.#turn(tenant) * (pair.first === tenant ? 1 : -1);
      if (Math.abs(pair.turns) > this.#turn(pair.first) + this.#turn(pair.second) + EPSILON)
        return `of "${tenant}" was served while "${pair.first}" is ${pair.turns.toFixed(2)} turns ahead of "${pair.second}"`;
    }
    return null;
  }

  #turn(tenant: string): number {
    return 1 / (this.#rules.weights?.get(tenant) ?? 1);
  }

  #waits(tenant: string, priority: number): boolean {
    return this.waiting.some((other) => other.tenant === tenant && other.priority === priority);
  }
}
