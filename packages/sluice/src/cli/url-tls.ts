/** What a connection URL says of TLS, in libpq's words, as settings: nothing that it asks for is left out in silence. */
import { readFileSync } from 'node:fs';
import { defaultGlobals, type SslMode } from '../config/index.ts';
import { loadTls, type ServerTls, TlsSetupError } from '../net/tls-context.ts';
import { CliError } from './common.ts';

export interface TlsOfUrl {
  readonly sslmode?: SslMode | undefined;
  readonly params?: ReadonlyMap<string, string>;
}

/** libpq's file parameters, and the settings that stand for them. */
const FILES = [
  ['sslrootcert', 'server_tls_ca_file'],
  ['sslcert', 'server_tls_cert_file'],
  ['sslkey', 'server_tls_key_file'],
] as const;

/** Lines for [pgbouncer] and a pair for the database's entry. Throws a CliError for what cannot be had. */
export function tlsSettings(url: TlsOfUrl): { lines: string[]; pair: string } {
  const params = url.params ?? new Map<string, string>();
  // "system" means the public authorities, which is what no file means here.
  const given = FILES.map(([name, setting]) => [setting, params.get(name) ?? ''] as const);
  const lines = given.filter(([, path]) => path !== '' && path !== 'system').map((pair) => pair.join(' = '));
  if (lines.some((line) => /[\r\n]/.test(line))) throw new CliError('a file name in the URL holds a line break', 2);
  const negotiation = params.get('sslnegotiation') ?? 'postgres';
  if (negotiation !== 'postgres' && negotiation !== 'direct')
    throw new CliError(`sslnegotiation=${negotiation} in the URL must be postgres or direct`, 2);
  return {
    lines: [`server_tls_sslmode = ${url.sslmode ?? 'prefer'}`, ...lines],
    pair: `sslnegotiation=${negotiation}`,
  };
}

/** The same as a context, for a connection before there is a daemon. Throws a CliError that names the file. */
export function tlsContext(url: TlsOfUrl): { tls: ServerTls; direct: boolean } {
  const file = (name: string) => url.params?.get(name)?.replace(/^system$/, '') ?? '';
  const settings = {
    ...defaultGlobals(),
    serverTlsSslmode: url.sslmode ?? 'prefer',
    serverTlsCaFile: file('sslrootcert'),
    serverTlsCertFile: file('sslcert'),
    serverTlsKeyFile: file('sslkey'),
  };
  try {
    const { server } = loadTls(settings, (path) => readFileSync(path, 'utf8'));
    return { tls: server, direct: url.params?.get('sslnegotiation') === 'direct' };
  } catch (error) {
    if (error instanceof TlsSetupError) throw new CliError(error.message);
    throw error;
  }
}
