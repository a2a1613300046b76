/** The configuration room: the settings table, and the readers of pgbouncer.ini and its companions. Opens no files. */
export { type Access, type AccessResult, loadAccess, NO_ACCESS } from './access.ts';
export { type AddressBytes, inNetwork, type Network, parseAddress, parseClientAddress } from './address.ts';
export { checkConfig } from './checks.ts';
export { formatConnstr, type Pair, type ParsedConnstr, parseConnstr, quoteValue } from './connstr.ts';
export { defaultConfig, defaultGlobals } from './defaults.ts';
export {
  afterReload,
  type ConfigDiff,
  diffConfig,
  type EntriesDiff,
  type EntryChange,
  type SettingChange,
} from './diff.ts';
export {
  HBA_METHODS,
  HBA_TYPES,
  type HbaClient,
  type HbaMethod,
  type HbaOptions,
  type HbaResult,
  type HbaRule,
  type HbaType,
  matchHba,
  parseHba,
} from './hba.ts';
export type { HbaNames } from './hba-names.ts';
export { type IdentMap, type IdentMapping, type IdentMaps, type IdentResult, matchIdent, parseIdent } from './ident.ts';
export { type IniItem, parseIni, quoteName, type ReadFile } from './ini.ts';
export { type LdapOptions, type LdapScope, parseLdapOptions } from './ldap-options.ts';
export { type ParseOptions, type ParseResult, parseConfig } from './load.ts';
export {
  at,
  closest,
  formatProblem,
  hasErrors,
  located,
  type Problem,
  Problems,
  quote,
  type Severity,
} from './problem.ts';
export { renderSettings } from './render.ts';
export {
  CONSOLE_DATABASE,
  CONSOLE_USER,
  parseTlsProtocols,
  TLS_PROTOCOLS_WANTED,
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
export { type ConfigRow, configValueText, type SetResult, setSetting, showConfig } from './show.ts';
export {
  type DatabaseUrl,
  formatDatabaseUrl,
  isDatabaseUrl,
  parseDatabaseUrl,
  redactUrl,
  URL_SSL_MODES,
  type UrlHost,
  type UrlParts,
  type UrlSslMode,
} from './url.ts';
export {
  classifySecret,
  formatUserlistLine,
  parseUserlist,
  type SecretKind,
  type UserlistEntry,
  type UserlistResult,
} from './userlist.ts';
export { formatValue } from './values.ts';
