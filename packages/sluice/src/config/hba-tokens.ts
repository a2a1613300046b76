// Owns the words of a line of the access rules and ident map files (PgBouncer hba.c).
// It must not know what the words mean.

/** A `string` stood in double quotes, so it is never a keyword; `comma` separates names; `fail` is an open quote. */
export interface Token {
  readonly kind: 'word' | 'string' | 'comma' | 'end' | 'fail';
  readonly text: string;
}

const END: Token = { kind: 'end', text: '' };
/** White space as isspace(3) has it: a no-break space, pasted from a web page, is a letter to PgBouncer. */
const TOKEN = /[ \t\n\v\f\r]*(?:(,)|"([^"]*(?:""[^"]*)*)"(?!")|([^ \t\n\v\f\r,#"]+)|(#.*)?$|("))/suy;

/** Hands out the words of one line, one ahead. A `#` begins a comment wherever it stands outside quotes. */
export class Tokens {
  private readonly line: string;
  private position = 0;
  current: Token = END;

  constructor(line: string) {
    this.line = line;
    this.next();
  }

  next(): void {
    TOKEN.lastIndex = this.position;
    const match = TOKEN.exec(this.line);
    this.position = match === null ? this.line.length : TOKEN.lastIndex;
    if (match === null) this.current = END;
    else if (match[1] !== undefined) this.current = { kind: 'comma', text: ',' };
    else if (match[2] !== undefined) this.current = { kind: 'string', text: match[2].replaceAll('""', '"') };
    else if (match[3] !== undefined) this.current = { kind: 'word', text: match[3] };
    else if (match[5] !== undefined) this.fail();
    else this.current = END;
  }

  /** Steps over the keyword if it is the current word. Keywords are as PostgreSQL writes them, in lower case. */
  take(keyword: string): boolean {
    if (this.current.kind !== 'word' || this.current.text !== keyword) return false;
    this.next();
    return true;
  }

  /** The line after the current word, untouched; nothing is left afterwards. */
  rest(): string {
    const rest = this.line.slice(this.position);
    this.position = this.line.length;
    this.current = END;
    return rest;
  }

  private fail(): void {
    this.position = this.line.length;
    this.current = { kind: 'fail', text: '"' };
  }
}
