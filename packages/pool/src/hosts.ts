/**
 * Several hosts and which of them will do: libpq's target_session_attrs (PostgreSQL manual, "Connection Strings"). Owns
 * the order of trying and the judgement of a server by what it reports; dials nothing itself.
 */
import type { HostSpec, PoolOptions, SessionAttrs } from './contract.ts';
import { BadOption } from './errors.ts';
import { POOL_OPTIONS } from './option-table.ts';
import type { RawClient } from './raw-client.ts';

export interface Host {
  readonly host: string;
  readonly port: number | undefined;
}

/** What a server said of itself at login (in_hot_standby since PostgreSQL 14), or was asked. */
export interface Role {
  standby: boolean;
  readOnly: boolean;
}

const ATTRS = POOL_OPTIONS.targetSessionAttrs!.choices!;

const MULTI = /^(postgres(?:ql)?:\/\/(?:[^@/]*@)?)([^/?]*,[^/?]*)(.*)$/i;

export class Hosts {
  readonly all: readonly Host[];
  readonly attrs: SessionAttrs;
  /** The host that did last; tried first. */
  #good = 0;
  /** The pool's, without its list of hosts. */
  readonly connectionString: string | undefined;

  constructor(options: PoolOptions) {
    const { connectionString } = options;
    const multi = connectionString === undefined ? null : MULTI.exec(connectionString);
    const asked = /[?&]target_session_attrs=([\w-]+)/.exec(connectionString ?? '')?.[1] as SessionAttrs | undefined;
    const specs: readonly HostSpec[] = options.hosts ?? (multi === null ? [] : multi[2]!.split(','));
    this.all = specs.map(parseHost);
    this.attrs = options.targetSessionAttrs ?? asked ?? 'any';
    if (!ATTRS.includes(this.attrs))
      throw new BadOption(
        'targetSessionAttrs',
        `target_session_attrs in the connection string is "${asked}": it must be one of ${ATTRS.join(', ')}`,
      );
    this.connectionString = multi === null ? connectionString : `${multi[1]}placeholder${multi[3]}`;
  }

  /** Is there anything to choose or to judge? */
  get plain(): boolean {
    return this.all.length === 0 && this.attrs === 'any';
  }

  /** Indices in the order of trying. */
  order(): number[] {
    const count = Math.max(1, this.all.length);
    return Array.from({ length: count }, (_, i) => (this.#good + i) % count);
  }

  succeeded(index: number): void {
    this.#good = index;
  }

  /** What to lay over the client's config to reach one host. */
  overlay(index: number): Record<string, unknown> {
    const host = this.all[index];
    if (host === undefined) return {};
    const overlay: Record<string, unknown> = { host: host.host };
    if (host.port !== undefined) overlay.port = host.port;
    return overlay;
  }

  nameOf(index: number): string {
    const host = this.all[index];
    if (host === undefined) return '';
    return host.port === undefined ? host.host : `${host.host}:${host.port}`;
  }
}

/** Will a server of this role do? 'second' = only when no better one is found (prefer-standby). */
export function suits(role: Role, attrs: SessionAttrs): 'yes' | 'no' | 'second' {
  switch (attrs) {
    case 'any':
      return 'yes';
    case 'primary':
      return role.standby ? 'no' : 'yes';
    case 'standby':
      return role.standby ? 'yes' : 'no';
    case 'prefer-standby':
      return role.standby ? 'yes' : 'second';
    case 'read-write':
      return role.standby || role.readOnly ? 'no' : 'yes';
    case 'read-only':
      return role.standby || role.readOnly ? 'yes' : 'no';
  }
}

/** The server's role: from the login's ParameterStatus where it says so, else by asking. */
export function askRole(
  client: RawClient,
  reported: Readonly<Record<string, string>>,
  done: (error: Error | null, role: Role) => void,
): void {
  const { in_hot_standby: standby, default_transaction_read_only: readOnly } = reported;
  if (standby !== undefined && readOnly !== undefined) {
    done(null, { standby: standby === 'on', readOnly: readOnly === 'on' });
    return;
  }
  const text = "SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS read_only";
  client.query(text, (error: Error | null, result: { rows: { standby: boolean; read_only: string }[] } | undefined) => {
    const row = result?.rows[0];
    done(error, { standby: row?.standby === true, readOnly: row?.read_only === 'on' });
  });
}

function parseHost(spec: HostSpec): Host {
  if (typeof spec !== 'string') {
    if (typeof spec?.host !== 'string')
      throw new BadOption(
        'hosts',
        "pool option hosts holds an entry without a host: give 'name:port' or { host, port }",
      );
    const unknown = Object.keys(spec).find((name) => name !== 'host' && name !== 'port');
    if (unknown !== undefined)
      throw new BadOption(
        'hosts',
        `pool option hosts holds ${spec.host} with ${unknown}, which is not known: an entry is 'name:port' or { host, port }`,
      );
    return { host: spec.host, port: checkPort(spec.port ?? undefined) };
  }
  const match = /^(\[[^\]]+\]|[^:]*)(?::(\d+))?$/.exec(spec.trim());
  if (match === null || match[1] === '')
    throw new BadOption('hosts', `pool option hosts holds "${spec}": give 'name', 'name:port' or '[v6]:port'`);
  return {
    host: match[1]!.replace(/^\[|\]$/g, ''),
    port: checkPort(match[2] === undefined ? undefined : Number(match[2])),
  };
}

function checkPort(port: number | undefined): number | undefined {
  if (port === undefined || (Number.isInteger(port) && port >= 1 && port <= 65_535)) return port;
  throw new BadOption('hosts', `pool option hosts holds the port ${port}: it must be a whole number, 1 to 65535`);
}
