// Owns what must hold between settings, beyond each value on its own.
// It must not know how a configuration was read, and looks at nothing outside it (files, network).

import { type Problems, quote } from './problem.ts';
import { CONSOLE_DATABASE, parseTlsProtocols, TLS_PROTOCOLS_WANTED } from './setting-checks.ts';
import { type Config, type DatabaseConfig, type Place, SETTINGS } from './settings.ts';

/** One check's view: the configuration, where problems go, and where a global setting was given. */
interface Check {
  readonly config: Config;
  readonly problems: Problems;
  /** Where the setting stands, or the head of the file when it has its default. */
  readonly place: (setting: string) => Place;
}

/** Adds a problem for each thing in the configuration that can't work, or can't mean what it says. */
export function checkConfig(config: Config, path: string, problems: Problems): void {
  const place = (setting: string): Place => config.given.get(setting) ?? { file: path, line: 1 };
  const check: Check = { config, problems, place };
  checkAuthType(check);
  checkAuthSources(check);
  checkClientTls(check);
  checkUnusedTls(check);
  checkListening(check);
  checkPeers(check);
  for (const database of config.databases.values()) checkDatabase(check, database);
  if (config.fallback !== undefined) checkDatabase(check, config.fallback);
}

function error({ problems, place }: Check, setting: string, message: string): void {
  const where = place(setting);
  problems.error(where, setting, message);
}

function warning({ problems, place }: Check, setting: string, message: string): void {
  const where = place(setting);
  problems.warning(where, setting, message);
}

function checkAuthType(check: Check): void {
  const { authType, authHbaFile, authLdapOptions } = check.config.global;
  const refused: Readonly<Record<string, string>> = SETTINGS.auth_type.refused;
  if (Object.hasOwn(refused, authType)) {
    error(check, 'auth_type', `auth_type=${authType} is not supported: ${refused[authType]}`);
  }
  if (authType === 'hba' && authHbaFile === '') {
    error(check, 'auth_type', 'auth_type=hba requires auth_hba_file: without rules nobody could log in');
  }
  if (authType === 'ldap' && authLdapOptions === '') {
    error(check, 'auth_type', 'auth_type=ldap requires auth_ldap_options: they name the LDAP server');
  }
}

/** Where secrets come from, for the methods that look a user up. */
function checkAuthSources(check: Check): void {
  const { config } = check;
  const { authType, authFile, authUser, authDbname } = config.global;
  const databases = [...config.databases.values(), ...(config.fallback === undefined ? [] : [config.fallback])];
  const needsUsers = authType !== 'any' && authType !== 'pam' && authType !== 'ldap';
  if (needsUsers && authFile === '' && authUser === '' && databases.every((one) => one.authUser === undefined)) {
    warning(check, 'auth_type', `auth_type=${authType} knows no users: set auth_file, or auth_user for auth_query`);
  }
  if (authDbname === CONSOLE_DATABASE) {
    error(
      check,
      'auth_dbname',
      `cannot use the reserved ${quote(authDbname)} database as an auth_dbname: name another`,
    );
  } else if (authDbname !== '' && config.fallback === undefined && !config.databases.has(authDbname)) {
    warning(check, 'auth_dbname', `auth_dbname ${quote(authDbname)} is no entry of [databases]: add one`);
  }
}

/** PgBouncer's own conditions (sbuf.c, sbuf_tls_setup), and verify-ca, which can't succeed without a CA either. */
function checkClientTls(check: Check): void {
  const { authType, clientTlsSslmode, clientTlsKeyFile, clientTlsCertFile, clientTlsCaFile } = check.config.global;
  if (clientTlsSslmode !== 'disable' && (clientTlsKeyFile === '' || clientTlsCertFile === '')) {
    error(
      check,
      'client_tls_sslmode',
      'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.',
    );
  }
  if (authType === 'cert' && clientTlsSslmode !== 'verify-full') {
    error(check, 'auth_type', 'auth_type=cert requires client_tls_sslmode=verify-full');
  }
  if (authType === 'cert' && clientTlsCaFile === '') {
    error(check, 'auth_type', 'auth_type=cert requires client_tls_ca_file');
  } else if (clientTlsSslmode.startsWith('verify-') && clientTlsCaFile === '') {
    error(check, 'client_tls_sslmode', `client_tls_sslmode=${clientTlsSslmode} requires client_tls_ca_file`);
  }
}

/** PgBouncer looks at these where TLS is in use only (sbuf.c, sbuf_tls_setup); there they stop the start. */
function checkUnusedTls(check: Check): void {
  const { clientTlsSslmode, clientTlsProtocols, serverTlsSslmode, serverTlsProtocols } = check.config.global;
  const look = (setting: string, mode: string, protocols: string): void => {
    if (mode === 'disable' && parseTlsProtocols(protocols) === null)
      warning(check, setting, `${setting} ${quote(protocols)} is not used, and could not be: ${TLS_PROTOCOLS_WANTED}`);
  };
  look('client_tls_protocols', clientTlsSslmode, clientTlsProtocols);
  look('server_tls_protocols', serverTlsSslmode, serverTlsProtocols);
}

/** Only a warning: the service manager may hand over sockets that are already listening. */
function checkListening(check: Check): void {
  const { listenAddr, unixSocketDir } = check.config.global;
  if (listenAddr.length > 0 || unixSocketDir !== '') return;
  warning(check, 'listen_addr', 'nowhere to listen on: set listen_addr or unix_socket_dir');
}

function checkPeers(check: Check): void {
  const { global, peers } = check.config;
  if (global.peerId !== 0 && peers.size === 0) {
    warning(
      check,
      'peer_id',
      `peer_id=${global.peerId} is set and [peers] is empty: no cancel request can be passed on`,
    );
  }
  if (global.peerId === 0 && peers.size > 0) {
    warning(check, 'peer_id', '[peers] is set and peer_id is not: give each process its own peer_id, from 1 up');
  }
}

function checkDatabase({ config, problems }: Check, database: DatabaseConfig): void {
  const warn = (message: string): void => problems.warning(database.place, `databases/${database.name}`, message);
  const { global } = config;
  const name = quote(database.name);
  if (global.authType === 'any' && database.user === undefined) {
    warn(`database ${name} has no user= and auth_type=any gives none: its clients can't be logged in; add user=`);
  }
  const poolSize = database.poolSize ?? global.defaultPoolSize;
  const minimum = database.minPoolSize ?? global.minPoolSize;
  if (poolSize > 0 && minimum > poolSize) {
    warn(`min_pool_size ${minimum} of database ${name} is above its pool size: only ${poolSize} servers are kept open`);
  }
  const auth = database.authDbname;
  if (auth === CONSOLE_DATABASE) {
    // Not an error, since PgBouncer starts with it; the logins that need it fail.
    warn(`auth_dbname of database ${name} is the admin console, where no auth_query can be asked: name another`);
  } else if (auth !== undefined && config.fallback === undefined && !config.databases.has(auth)) {
    warn(`auth_dbname ${quote(auth)} of database ${name} is no entry of [databases]: add one`);
  }
  if (database.password !== undefined && database.user === undefined) {
    warn(`password= of database ${name} is not used without user=: add user=, or take it away`);
  }
}
