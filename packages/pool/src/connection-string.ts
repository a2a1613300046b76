/** What a connection string says, by pg's own reader, for when it is not to have the last word: pg lets it win over what stands beside it. */
import { parse } from 'pg-connection-string';

/** What pg does not take from a string, but from beside it only. */
const BESIDE: ReadonlySet<string> = new Set([
  'Promise',
  'connection',
  'connectionString',
  'connectionTimeoutMillis',
  'enableChannelBinding',
  'encoding',
  'keepAlive',
  'keepAliveInitialDelayMillis',
  'stream',
  'types',
]);

/** The config with what its connection string says in place of the string. Throws as pg does where that makes no sense. */
export function withoutString(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  // The password may not enumerate.
  const { connectionString, ...rest }: Record<string, unknown> = { ...config, password: config.password };
  if (typeof connectionString !== 'string' || connectionString === '') return rest;
  for (const [name, value] of Object.entries(parse(connectionString))) if (!BESIDE.has(name)) rest[name] = value;
  return rest;
}
