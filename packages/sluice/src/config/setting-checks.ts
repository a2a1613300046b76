// Owns the finer checks that some rows of the settings table name: what a number or a list of words can't express.
// It must not know the table, nor where a value came from. A check answers null when the text is good, and otherwise
// what is expected instead, worded to follow "must be".

/** The database that stands for the admin console; it can't be an entry of [databases], nor an auth_dbname. */
export const CONSOLE_DATABASE = 'pgbouncer';
/** The user that the daemon's own account is on the console; it is always there. */
export const CONSOLE_USER = 'pgbouncer';

/** The facilities syslog(3) offers and PgBouncer names. */
export const SYSLOG_FACILITIES = [
  'auth',
  'authpriv',
  'daemon',
  'user',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const;

/** TLS versions, oldest first, in PgBouncer's spelling. */
export const TLS_VERSIONS = ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

const TLS_WORDS: ReadonlyMap<string, readonly TlsVersion[]> = new Map<string, readonly TlsVersion[]>([
  ['all', TLS_VERSIONS],
  ['tlsv1', TLS_VERSIONS],
  ['legacy', TLS_VERSIONS],
  ['secure', ['tlsv1.2', 'tlsv1.3']],
  ['default', ['tlsv1.2', 'tlsv1.3']],
  ...TLS_VERSIONS.map((version) => [version, [version]] as const),
]);

/**
 * Reads the value of client_tls_protocols or server_tls_protocols: words separated by commas or colons, `!` before a
 * word takes its versions away (from all of them, when it comes first). Empty means all, as in PgBouncer.
 *
 * @returns the versions, oldest first, or null when a word is unknown or nothing is left.
 */
export function parseTlsProtocols(text: string): readonly TlsVersion[] | null {
  if (text === '') return TLS_VERSIONS;
  const chosen = new Set<TlsVersion>();
  for (const part of text.split(/[,:]/)) {
    const word = part.trim();
    const negated = word.startsWith('!');
    const versions = TLS_WORDS.get((negated ? word.slice(1) : word).toLowerCase());
    if (versions === undefined) return null;
    if (negated && chosen.size === 0) for (const version of TLS_VERSIONS) chosen.add(version);
    for (const version of versions) {
      if (negated) chosen.delete(version);
      else chosen.add(version);
    }
  }
  return chosen.size === 0 ? null : TLS_VERSIONS.filter((version) => chosen.has(version));
}

/** What parseTlsProtocols takes, as a message says it. */
export const TLS_PROTOCOLS_WANTED =
  'a list of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3, all, legacy or secure, separated by commas, that leaves one at least';
