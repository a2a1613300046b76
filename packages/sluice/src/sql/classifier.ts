/**
 * Finds what a text may leave behind in the session: a cheap scan first, PostgreSQL's own parser (libpg-query) where that raises
 * suspicion, and a memory of what was found, by text and bounded in bytes.
 */
import { classify } from './classify.ts';
import { anythingIn, looksSuspicious, type Suspicion } from './suspicion.ts';

/** Longer texts are not parsed, nor held back until they are whole: anything may be in them. */
export const READ_BYTES = 262_144;
/** Texts kept with what was found in them. */
const MEMORY_BYTES = 8_388_608;
/** What an entry costs beside its text, about. */
const ENTRY_BYTES = 200;

type ParseSync = (text: string) => unknown;

export class Classifier {
  /** Throws where PostgreSQL reports a syntax error. Null: not loaded yet. */
  #parse: ParseSync | null = null;
  readonly #known = new Map<string, Suspicion | null>();
  #bytes = 0;

  /** The parser takes 20 MB: it is loaded when it is needed. Until then everything suspicious may be anything. */
  async load(): Promise<void> {
    if (this.#parse !== null) return;
    const { loadModule, parseSync } = await import('libpg-query');
    await loadModule();
    this.#parse = parseSync;
  }

  /** Null: nothing. */
  suspicionOf(text: string): Suspicion | null {
    if (!looksSuspicious(text)) return null;
    if (this.#parse === null || text.length > READ_BYTES) return anythingIn(text);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const found = this.#examine(text, this.#parse);
    this.#remember(text, found);
    return found;
  }

  /** Is the text one statement, PREPARE? Only then may it be said again. */
  isPrepare(text: string): boolean {
    if (this.#parse === null || text.length > READ_BYTES) return /^\s*prepare\s[^;]*;?\s*$/i.test(text);
    try {
      const { stmts } = this.#parse(text) as { stmts?: { stmt?: object }[] };
      return stmts?.length === 1 && 'PrepareStmt' in (stmts[0]!.stmt ?? {});
    } catch {
      return false;
    }
  }

  #examine(text: string, parse: ParseSync): Suspicion | null {
    try {
      return classify(parse(text));
    } catch {
      // A syntax error, of which PostgreSQL will say more; or something that this parser is too old or too small for.
      return anythingIn(text);
    }
  }

  #remember(text: string, found: Suspicion | null): void {
    this.#known.set(text, found);
    this.#bytes += 2 * text.length + ENTRY_BYTES;
    for (const [oldest] of this.#known) {
      if (this.#bytes <= MEMORY_BYTES) return;
      this.#known.delete(oldest);
      this.#bytes -= 2 * oldest.length + ENTRY_BYTES;
    }
  }
}
