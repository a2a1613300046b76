// Owns the reading of an ini file into sections and `name = value` items, each with its file and line.
// It must not know any section or setting, and opens no file: `%include` goes through the `readFile` it is handed.
// The grammar is that of PgBouncer (libusual cfparser): a line that starts with `;` or `#` is a comment, those signs
// mean nothing later in a line; a name is letters, digits and _.-* or stands in quotes; a value ends with its line.

import { type Problems, quote } from './problem.ts';
import type { Place } from './settings.ts';

/** Reads a file as text, or throws an error whose message says why it can't. Relative paths are the caller's matter. */
export type ReadFile = (path: string) => string;

/** A `[section]` header, or a `name = value` line with the section it stands in (null before the first header). */
export type IniItem =
  | { readonly kind: 'section'; readonly name: string; readonly place: Place }
  | {
      readonly kind: 'setting';
      readonly section: string | null;
      readonly name: string;
      readonly value: string;
      readonly place: Place;
    };

/** As deep as PgBouncer follows %include. */
const MAX_DEPTH = 10;
/** Not PgBouncer's: files that include each other many times over would otherwise be read without end. */
const MAX_FILES = 1000;

/** Reads a configuration file and what it includes, in order. A section goes on through an include, and after it. */
export function parseIni(text: string, path: string, readFile: ReadFile, problems: Problems): IniItem[] {
  const reader = new IniReader(readFile, problems);
  reader.file(text, path, []);
  return reader.items;
}

class IniReader {
  readonly items: IniItem[] = [];
  private readonly readFile: ReadFile;
  private readonly problems: Problems;
  private section: string | null = null;
  private files = 0;

  constructor(readFile: ReadFile, problems: Problems) {
    this.readFile = readFile;
    this.problems = problems;
  }

  /** `within` holds the files that include this one, outermost first. */
  file(text: string, path: string, within: readonly string[]): void {
    const stack = [...within, path];
    const lines = text.replace(/^\uFEFF/, '').split('\n');
    lines.forEach((line, index) => {
      this.line(line, { file: path, line: index + 1 }, stack);
    });
  }

  private line(raw: string, place: Place, stack: readonly string[]): void {
    const line = raw.trim();
    if (line === '' || line.startsWith(';') || line.startsWith('#')) return;
    if (line.includes('\0')) {
      this.syntaxError(place, 'the line holds a zero byte; is this a text file?');
      return;
    }
    const include = /^%include[ \t]+(.*)$/.exec(line);
    if (include !== null) this.include(include[1] ?? '', place, stack);
    else if (line.startsWith('[')) this.header(line, place, stack);
    else this.setting(line, place);
  }

  /** What follows a header on its line is read as a line of that section, as PgBouncer does. */
  private header(line: string, place: Place, stack: readonly string[]): void {
    const end = line.indexOf(']');
    if (end < 0) {
      this.syntaxError(place, `the section ${quote(line)} has no closing "]"`);
      return;
    }
    this.section = line.slice(1, end);
    this.items.push({ kind: 'section', name: this.section, place });
    this.line(line.slice(end + 1), place, stack);
  }

  private setting(line: string, place: Place): void {
    const match = /^(?:'([^']+)'|"([^"]+(?:""[^"]*)*|[^"]*(?:""[^"]*)+)"|([A-Za-z0-9_.\-*]+))[ \t]*=[ \t]*(.*)$/.exec(
      line,
    );
    if (match === null) {
      this.syntaxError(place, `expected "name = value"; ${hint(line)}`);
      return;
    }
    const name = match[1] ?? match[2]?.replaceAll('""', '"') ?? match[3] ?? '';
    this.items.push({ kind: 'setting', section: this.section, name, value: match[4] ?? '', place });
  }

  private include(path: string, place: Place, stack: readonly string[]): void {
    const refusal = this.refuseInclude(path, stack);
    if (refusal !== null) {
      this.problems.error(place, null, refusal);
      return;
    }
    this.files++;
    let text: string;
    try {
      text = this.readFile(path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.problems.error(place, null, `could not load file ${quote(path)}: ${reason}`);
      return;
    }
    this.file(text, path, stack);
  }

  private refuseInclude(path: string, stack: readonly string[]): string | null {
    if (path === '') return '%include names no file: write %include and a path';
    if (stack.includes(path)) return `${quote(path)} includes itself: take this %include away`;
    if (stack.length > MAX_DEPTH)
      return `include nesting level too deep: ${MAX_DEPTH} levels are read, flatten the files`;
    if (this.files >= MAX_FILES) return `too many includes: ${MAX_FILES} are read, join some of the files`;
    return null;
  }

  private syntaxError(place: Place, detail: string): void {
    this.problems.error(place, null, `syntax error in configuration: ${detail}`);
  }
}

/** The value is left out: it may be a connection string with a password. */
function hint(line: string): string {
  const name = line.split('=', 1)[0]!.trim();
  if (!line.includes('=')) return `${quote(line.split(/\s/, 1)[0]!)} is followed by no "="`;
  if (name === '') return 'there is no name before the "="';
  return `the name ${quote(name)} needs quotes: '...'`;
}

/** Writes a name so that it is read back as it is: bare, in single quotes, or in double quotes when it holds one. */
export function quoteName(name: string): string {
  if (/^[A-Za-z0-9_.\-*]+$/.test(name)) return name;
  return name.includes("'") ? `"${name.replaceAll('"', '""')}"` : `'${name}'`;
}
