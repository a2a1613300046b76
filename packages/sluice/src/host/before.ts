/** What a process that takes another one's place (-R) knows of it. Owns nothing. */
import type { Pooler } from '../pooling/pooler.ts';
import type { InheritedListener } from './listeners.ts';

export interface Before {
  /** Those that it listened on. */
  readonly listeners: readonly InheritedListener[];
  /** Takes over what else there is, now that this process serves. Resolves when the old one is not needed any more. Never rejects. */
  carryOn(pooler: Pooler): Promise<void>;
}
