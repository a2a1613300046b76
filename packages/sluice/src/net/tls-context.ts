/**
 * What the tls settings of either side become: contexts, made at start and on reload, handed to connections. Reads files
 * through a function that it is given. Must not know connections. A context is never changed: connections that have
 * one keep it, new connections get the new one.
 */
import { constants, createHash } from 'node:crypto';
import {
  createSecureContext,
  DEFAULT_CIPHERS,
  type SecureContext,
  type SecureContextOptions,
  type SecureVersion,
} from 'node:tls';
import { getSystemErrorMap } from 'node:util';
import {
  type GlobalSettings,
  parseTlsProtocols,
  type SslMode,
  TLS_PROTOCOLS_WANTED,
  type TlsVersion,
} from '../config/index.ts';
import { endPointHash, pemCertificates } from './tls-cert.ts';
import { legacyDhParams } from './tls-dh.ts';

/** TLS towards clients (client_tls_ settings). */
export interface ClientTls {
  readonly mode: SslMode;
  /** Null exactly when the mode is `disable`. */
  readonly context: SecureContext | null;
  /** Ask clients for a certificate, and refuse one that is not valid: there is a client_tls_ca_file. */
  readonly asksCertificate: boolean;
  /** Refuse clients without a certificate: verify-ca and verify-full. */
  readonly needsCertificate: boolean;
  /** Hash of our certificate, for channel binding. */
  readonly endPoint: Uint8Array | null;
}

/** TLS towards servers (server_tls_ settings). */
export interface ServerTls {
  readonly mode: SslMode;
  readonly context: SecureContext | null;
  /** `ca`: the server's certificate must be valid; `full`: and speak for the configured host. */
  readonly verify: 'no' | 'ca' | 'full';
}

export interface TlsContexts {
  readonly client: ClientTls;
  readonly server: ServerTls;
  /** Changes with any server_tls_ setting and with the content of its files: then all servers must be replaced. */
  readonly serverFingerprint: string;
}

/** Reads a file as text; throws the system's error. */
export type ReadText = (path: string) => string;

/** A setting, or the file that it names, is no good. Says which, and why. */
export class TlsSetupError extends Error {
  readonly setting: string;

  constructor(setting: string, reason: string, cause?: unknown) {
    super(`TLS setup failed: ${reason}`, cause === undefined ? {} : { cause });
    this.name = 'TlsSetupError';
    this.setting = setting;
  }
}

/** The tls settings of one side, under common names. */
interface Side {
  /** `client_tls` or `server_tls`. */
  readonly prefix: string;
  readonly mode: SslMode;
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
  readonly protocols: string;
  readonly ciphers: string;
  readonly suites: string | undefined;
  readonly curve: string;
  readonly dheparams: string;
}

/** These words, and an empty value, stand for the runtime's own choice (PgBouncer: the system's). */
const USUAL_CIPHERS = new Set(['', 'default', 'secure', 'fast', 'normal']);
const USUAL_SUITES = DEFAULT_CIPHERS.split(':').filter((name) => name.startsWith('TLS_'));
const USUAL_LIST = DEFAULT_CIPHERS.split(':').filter((name) => !name.startsWith('TLS_'));
const KNOWN_SUITES = new Set([
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_128_CCM_8_SHA256',
  'TLS_AES_128_CCM_SHA256',
]);

const VERSIONS: Readonly<Record<TlsVersion, { name: SecureVersion; off: number }>> = {
  'tlsv1.0': { name: 'TLSv1', off: constants.SSL_OP_NO_TLSv1 },
  'tlsv1.1': { name: 'TLSv1.1', off: constants.SSL_OP_NO_TLSv1_1 },
  'tlsv1.2': { name: 'TLSv1.2', off: constants.SSL_OP_NO_TLSv1_2 },
  'tlsv1.3': { name: 'TLSv1.3', off: constants.SSL_OP_NO_TLSv1_3 },
};

/** Clients neither renegotiate nor resume: each login is a handshake with all its checks, under today's settings. */
const ACCEPT_OPTIONS =
  constants.SSL_OP_NO_TICKET | constants.SSL_OP_CIPHER_SERVER_PREFERENCE | (constants.SSL_OP_NO_RENEGOTIATION ?? 0);

/** Makes the contexts of both sides. Throws a TlsSetupError; nothing is changed then. */
export function loadTls(settings: GlobalSettings, readText: ReadText): TlsContexts {
  const files = new Map<string, string>();
  const read: ReadText = (path) => {
    const text = files.get(path) ?? readText(path);
    files.set(path, text);
    return text;
  };
  const client = clientTls(clientSide(settings), read);
  const side = serverSide(settings);
  const server = serverTls(side, read);
  const used = server.mode === 'disable' ? [] : [side.key, side.cert, side.ca].map((path) => files.get(path) ?? '');
  const inputs = server.mode === 'disable' ? ['disable'] : [...Object.values(side).map(String), ...used];
  const serverFingerprint = createHash('sha256').update(JSON.stringify(inputs)).digest('hex');
  return { client, server, serverFingerprint };
}

function clientTls(side: Side, read: ReadText): ClientTls {
  const { mode, prefix } = side;
  if (mode === 'disable')
    return { mode, context: null, asksCertificate: false, needsCertificate: false, endPoint: null };
  if (side.key === '' || side.cert === '')
    throw new TlsSetupError(
      `${prefix}_sslmode`,
      `To allow TLS connections from clients, ${prefix}_key_file and ${prefix}_cert_file must be set.`,
    );
  const needsCertificate = mode === 'verify-ca' || mode === 'verify-full';
  if (needsCertificate && side.ca === '')
    throw new TlsSetupError(`${prefix}_sslmode`, `${prefix}_sslmode=${mode} requires ${prefix}_ca_file`);
  const context = makeContext(side, read, ACCEPT_OPTIONS);
  const own = pemCertificates(read(side.cert))[0]!;
  return { mode, context, asksCertificate: side.ca !== '', needsCertificate, endPoint: endPointHash(own.raw) };
}

function serverTls(side: Side, read: ReadText): ServerTls {
  const { mode } = side;
  if (mode === 'disable') return { mode, context: null, verify: 'no' };
  const verify = mode === 'verify-full' ? 'full' : mode === 'verify-ca' ? 'ca' : 'no';
  // Where nothing is compared with it, the file need not be there (as in PgBouncer).
  const needed = verify === 'no' ? { ...side, ca: '' } : side;
  return { mode, context: makeContext(needed, read, 0), verify };
}

function makeContext(side: Side, read: ReadText, secureOptions: number): SecureContext {
  const { prefix } = side;
  const options: SecureContextOptions = {};
  checkAlone(`${prefix}_protocols`, side.protocols, Object.assign(options, versions(side, secureOptions)));
  checkAlone(`${prefix}_ciphers`, side.ciphers, Object.assign(options, { ciphers: cipherList(side) }));
  if (side.curve !== '' && side.curve !== 'auto' && side.curve !== 'none')
    checkAlone(`${prefix}_ecdhcurve`, side.curve, Object.assign(options, { ecdhCurve: side.curve }));
  const dhparam = dhParams(side);
  if (dhparam !== undefined) checkAlone(`${prefix}_dheparams`, side.dheparams, Object.assign(options, { dhparam }));
  if (side.ca !== '') options.ca = certificates(`${prefix}_ca_file`, side.ca, read);
  if (side.cert !== '') options.cert = certificates(`${prefix}_cert_file`, side.cert, read).join('\n');
  if (side.key !== '') options.key = readFile(`${prefix}_key_file`, side.key, read);
  return checkAlone(`${prefix}_key_file`, side.key, options);
}

/** Makes a context of the options so far, so that a failure is that of the setting added last. */
function checkAlone(setting: string, value: string, options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    throw new TlsSetupError(setting, `${setting} "${value}" is not usable: ${reason(error)}`, error);
  }
}

function versions(side: Side, secureOptions: number): SecureContextOptions {
  const allowed = parseTlsProtocols(side.protocols);
  if (allowed === null)
    throw new TlsSetupError(
      `${side.prefix}_protocols`,
      `invalid ${side.prefix}_protocols: ${side.protocols}; it must be ${TLS_PROTOCOLS_WANTED}`,
    );
  let off = secureOptions;
  const first = allowed[0]!;
  const last = allowed[allowed.length - 1]!;
  // A gap in the middle (1.1 and 1.3, say) can be had by switching versions off only.
  for (const [version, { off: bit }] of Object.entries(VERSIONS))
    if (!allowed.includes(version as TlsVersion)) off |= bit;
  return { minVersion: VERSIONS[first].name, maxVersion: VERSIONS[last].name, secureOptions: off >>> 0 };
}

/** Node takes both lists in one: the suites of TLS 1.3 are those that begin with `TLS_`. */
function cipherList(side: Side): string {
  const suites = side.suites === undefined || side.suites === '' ? USUAL_SUITES : side.suites.split(':');
  const unknown = suites.find((suite) => !KNOWN_SUITES.has(suite));
  if (unknown !== undefined)
    throw new TlsSetupError(
      `${side.prefix}13_ciphers`,
      `failed to set the TLSv1.3 cipher suites: ${side.prefix}13_ciphers has "${unknown}"; known are ${[...KNOWN_SUITES].join(', ')}`,
    );
  if (side.suites && process.versions.bun !== undefined)
    throw new TlsSetupError(
      `${side.prefix}13_ciphers`,
      `${side.prefix}13_ciphers cannot be chosen on Bun, whose TLS 1.3 has a fixed list: remove it, or run on Node`,
    );
  const list = USUAL_CIPHERS.has(side.ciphers) ? [...USUAL_LIST] : side.ciphers.split(/[:, ]+/);
  // OpenSSL 3 lets the versions before 1.2 come about on its lowest security level only.
  const [oldest] = parseTlsProtocols(side.protocols) ?? [];
  const old = oldest === 'tlsv1.0' || oldest === 'tlsv1.1';
  if (old && !side.ciphers.includes('@')) list.push('@SECLEVEL=0');
  return [...suites, ...list].join(':');
}

function dhParams({ prefix, dheparams }: Side): string | undefined {
  switch (dheparams) {
    case '':
    case 'none':
      return undefined;
    case 'auto':
      // BoringSSL has no such key exchange: there, automatic is none.
      return process.versions.bun === undefined ? 'auto' : undefined;
    case 'legacy':
      return legacyDhParams();
    default:
      throw new TlsSetupError(
        `${prefix}_dheparams`,
        `invalid ${prefix}_dheparams: "${dheparams}" must be auto, legacy or none`,
      );
  }
}

function certificates(setting: string, path: string, read: ReadText): string[] {
  const text = readFile(setting, path, read);
  try {
    const found = pemCertificates(text);
    if (found.length > 0) return found.map((certificate) => certificate.toString());
  } catch (error) {
    throw new TlsSetupError(setting, `${setting} "${path}" is not usable: ${reason(error)}`, error);
  }
  throw new TlsSetupError(setting, `${setting} "${path}" holds no certificate in PEM format`);
}

function readFile(setting: string, path: string, read: ReadText): string {
  try {
    return read(path);
  } catch (error) {
    throw new TlsSetupError(setting, `cannot read ${setting} "${path}": ${reason(error)}`, error);
  }
}

/** The system's text for its errors ("No such file or directory"), the message for others. */
function reason(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  const text = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1];
  return text === undefined ? message : text[0]!.toUpperCase() + text.slice(1);
}

function clientSide(settings: GlobalSettings): Side {
  return {
    prefix: 'client_tls',
    mode: settings.clientTlsSslmode,
    key: settings.clientTlsKeyFile,
    cert: settings.clientTlsCertFile,
    ca: settings.clientTlsCaFile,
    protocols: settings.clientTlsProtocols,
    ciphers: settings.clientTlsCiphers,
    suites: settings.clientTls13Ciphers,
    curve: settings.clientTlsEcdhcurve,
    dheparams: settings.clientTlsDheparams,
  };
}

function serverSide(settings: GlobalSettings): Side {
  return {
    prefix: 'server_tls',
    mode: settings.serverTlsSslmode,
    key: settings.serverTlsKeyFile,
    cert: settings.serverTlsCertFile,
    ca: settings.serverTlsCaFile,
    protocols: settings.serverTlsProtocols,
    ciphers: settings.serverTlsCiphers,
    suites: settings.serverTls13Ciphers,
    curve: 'auto',
    dheparams: 'none',
  };
}
