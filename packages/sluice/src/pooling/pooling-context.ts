/** Makes what all pools of the process share. */
import { PoolSet } from '@sluice/core';
import { ParameterNames, Parameters } from '@sluice/wire';
import { nodeCrypto } from '../auth/crypto.ts';
import type { Config } from '../config/index.ts';
import { NameCache } from '../net/name-cache.ts';
import type { NameResolver } from '../net/resolver.ts';
import type { TlsContexts } from '../net/tls-context.ts';
import type { Server } from '../server/server.ts';
import type { StatementStore } from '../server/statements.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { PoolingContext } from './pool-shape.ts';
import type { ServerPool } from './server-pool.ts';

export interface ContextParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly tls: TlsContexts;
  readonly statements: StatementStore;
  readonly resolver: NameResolver;
}

/** `pools` is looked at when a name has lost an address. */
export function poolingContext(
  parts: ContextParts,
  pools: ReadonlyMap<string, ServerPool>,
  nextConnectionId: () => number,
): PoolingContext {
  const { clock, log, tls, statements, resolver } = parts;
  const { global } = parts.config;
  const gone = (host: string, address: string) => {
    for (const pool of pools.values()) pool.addressGone(host, address);
  };
  return {
    clock,
    log,
    crypto: nodeCrypto,
    set: new PoolSet<Server>(),
    statements,
    parameters: new Parameters(new ParameterNames(global.trackExtraParameters)),
    random: Math.random,
    names: new NameCache({ resolver, now: () => clock.update(), settings: global, gone, log }),
    tls,
    tcp: global,
    serverAnswerMs: global.serverAnswerTimeoutMs,
    maxPacketSize: global.maxPacketSize,
    nextConnectionId,
  };
}
