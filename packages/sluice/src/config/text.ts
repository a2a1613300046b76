// Owns small questions about text that several readers of this room ask.
// It must not know any format.

/** The length of a text in UTF-8, in bytes: what PostgreSQL and PgBouncer count when they limit names. */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

/** The path of a file named inside another one: relative to the directory of that one. */
export function besideFile(parent: string, path: string): string {
  const end = Math.max(parent.lastIndexOf('/'), parent.lastIndexOf('\\'));
  if (end < 0 || path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path)) return path;
  return parent.slice(0, end + 1) + path;
}
