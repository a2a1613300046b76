/** How many descriptors the process may have, and how many the configuration may come to need: said at the start, as PgBouncer does. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/index.ts';
import type { Log } from '../telemetry/log.ts';

/** Beside clients and servers: listening sockets, the log, the runtime's own. PgBouncer counts ten. */
const BESIDE = 10;

/** Logs the limit (Linux), and a warning when it is below what clients and full pools of that many users would take. Never throws. */
export function logDescriptorLimit(config: Config, users: number, log: Log): void {
  const limit = readLimit();
  if (limit === null) return;
  const { maxClientConn, defaultPoolSize } = config.global;
  let expected = maxClientConn + BESIDE;
  for (const { user, poolSize } of config.databases.values())
    expected += (poolSize ?? defaultPoolSize) * (user === undefined ? users : 1);
  log.info(
    `kernel file descriptor limit: ${limit.soft} (hard: ${limit.hard}); max_client_conn: ${maxClientConn}, max expected fd use: ${expected}`,
  );
  if (limit.soft < maxClientConn + BESIDE)
    log.warn(
      `max_client_conn = ${maxClientConn} is more than the ${limit.soft} file descriptors that this process may have: ` +
        'raise the limit (ulimit -n, LimitNOFILE in a systemd unit), or lower max_client_conn',
    );
}

function readLimit(): { soft: number; hard: number } | null {
  try {
    const found = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(
      readFileSync('/proc/self/limits', 'utf8'),
    );
    return found === null ? null : { soft: count(found[1]!), hard: count(found[2]!) };
  } catch {
    return null;
  }
}

function count(text: string): number {
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
}
