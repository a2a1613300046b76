/** The configuration room: the settings table, and the readers of pgbouncer.ini and its companions. Opens no files. */
export { checkConfig } from './checks.ts';
export { formatConnstr, type Pair, type ParsedConnstr, parseConnstr, quoteValue } from './connstr.ts';
export { defaultConfig, defaultGlobals } from './defaults.ts';
export { type IniItem, parseIni, quoteName, type ReadFile } from './ini.ts';
export { type ParseOptions, type ParseResult, parseConfig } from './load.ts';
export { at, hasErrors, type Problem, Problems, quote, type Severity } from './problem.ts';
export {
  CONSOLE_DATABASE,
  type ListenAddress,
  parseListenAddress,
  parseTlsProtocols,
  TLS_VERSIONS,
  type TlsVersion,
} from './setting-checks.ts';
export { GROUPS, type Group, type Kind, type Scope, type SettingRow, type SettingValue } from './setting-row.ts';
export {
  type AuthType,
  type Config,
  type DatabaseConfig,
  findRow,
  type Given,
  type GlobalSettingName,
  type GlobalSettings,
  type LoadBalanceHosts,
  type PeerConfig,
  type Place,
  type PoolMode,
  rowsIn,
  SETTINGS,
  type SessionState,
  type SslMode,
  sectionOf,
  type UserConfig,
} from './settings.ts';
