/** Idle connections are checked every so often, so that firewalls keep them and dead ones are found (HikariCP keepaliveTime). */
import { EntryState } from '@sluice/core';
import type { Engine } from './engine.ts';

export class Keepalive {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  nextWake(): number {
    const { keepaliveMs } = this.#engine.settings;
    let at = Number.POSITIVE_INFINITY;
    if (keepaliveMs > 0)
      for (const entry of this.#engine.core.lists[EntryState.Idle]!) at = Math.min(at, entry.provenAt + keepaliveMs);
    return at;
  }

  look(): void {
    const { settings, core, clock } = this.#engine;
    if (settings.keepaliveMs === 0) return;
    for (const entry of [...core.lists[EntryState.Idle]!])
      if (clock.now - entry.provenAt >= settings.keepaliveMs) core.check(entry);
  }
}
