/** The log's way to syslog(3): through the C library, as Node has no datagram sockets of the Unix kind. */
import { libc } from '../net/libc.ts';
import type { LogLevel, LogSink } from '../telemetry/log.ts';

/** Facilities of syslog.h, by PgBouncer's names (syslog_facility). */
const FACILITIES: Readonly<Record<string, number>> = {
  user: 1,
  daemon: 3,
  auth: 4,
  authpriv: 10,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};
const PRIORITIES: Readonly<Record<LogLevel, number>> = { FATAL: 2, ERROR: 3, WARNING: 4, LOG: 6, NOISE: 7, DEBUG: 7 };
const LOG_PID = 1;

/** Throws when the C library cannot be reached. */
export function openSyslog(ident: string, facility: string): LogSink {
  const library = libc();
  const openlog = library.func('void openlog(void *ident, int option, int facility)');
  const syslog = library.func('void syslog(int priority, const char *format, const char *text)');
  // The library keeps the pointer: the bytes must live as long as the process.
  const name = Buffer.from(`${ident}\0`);
  KEPT.push(name);
  openlog(name, LOG_PID, (FACILITIES[facility] ?? 3) << 3);
  return { write: (line, level, body) => syslog(PRIORITIES[level ?? 'LOG'], '%s', body ?? line) };
}

const KEPT: Buffer[] = [];
