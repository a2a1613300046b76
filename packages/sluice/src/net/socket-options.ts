/**
 * TCP settings (tcp_keepalive and its kin, tcp_user_timeout, tcp_defer_accept, tcp_socket_buffer), really set: where Node has no
 * call, through setsockopt(2) of the C library. Numbers are Linux's. Buffers are a matter of the listening socket, whose
 * connections inherit them (and keepalive, which saves a call each), and of a socket that is not connected yet: made smaller on a
 * connection that exists, they make it crawl (20 MB in 20 s with 4096).
 */
import type { Conn } from './conn.ts';
import { libc } from './libc.ts';

/** The settings that this file gives effect to; durations in milliseconds, 0: the system's own value. */
export interface TcpSettings {
  readonly tcpKeepalive: boolean;
  readonly tcpKeepidleMs: number;
  readonly tcpKeepintvlMs: number;
  readonly tcpKeepcnt: number;
  readonly tcpUserTimeoutMs: number;
  /** Bytes of each of the kernel's two buffers; 0: the system's own. For connections that are opened, and those that a listener accepts. */
  readonly tcpSocketBuffer: number;
}

/** Settings of listening sockets. */
export interface ListenerSettings extends Pick<TcpSettings, 'tcpKeepalive' | 'tcpSocketBuffer'> {
  readonly tcpDeferAccept: boolean;
}

/** What is set on a connection that exists. */
type ConnSettings = Omit<TcpSettings, 'tcpSocketBuffer'>;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_DEFER_ACCEPT = 9;
const TCP_USER_TIMEOUT = 18;

/** Seconds that a connection may say nothing before it is accepted all the same; PgBouncer's number. */
const DEFER_S = 1;

type SetOption = (fd: number, level: number, option: number, value: number) => boolean;

let setOption: SetOption | null = null;

/**
 * Never throws; an option that the system refuses is left as it is, as PgBouncer does. `inherits`: the connection was accepted on a
 * socket with `setListenerOptions`, and has what that has.
 */
export function setSocketOptions(conn: Conn, settings: ConnSettings, inherits = false): void {
  if (inherits && plainKeepalive(settings)) return;
  if (conn.remote.unix || conn.fd < 0) return;
  const wanted = optionsOf(settings);
  if (wanted.length === 0) return;
  setOption ??= loadSetOption();
  for (const [level, option, value] of wanted) setOption(conn.fd, level, option, value);
}

/** No more than keepalive by the system's own values, or none. */
function plainKeepalive({ tcpKeepidleMs, tcpKeepintvlMs, tcpKeepcnt, tcpUserTimeoutMs }: ConnSettings): boolean {
  return tcpKeepidleMs + tcpKeepintvlMs + tcpKeepcnt + tcpUserTimeoutMs === 0;
}

/** For a TCP socket that listens; connections that come later inherit it. Never throws. */
export function setListenerOptions(
  fd: number,
  { tcpDeferAccept, tcpSocketBuffer, tcpKeepalive }: ListenerSettings,
): void {
  if (fd < 0) return;
  setOption ??= loadSetOption();
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, tcpKeepalive ? 1 : 0);
  setOption(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, tcpDeferAccept ? DEFER_S : 0);
  if (tcpSocketBuffer > 0) setBuffers(fd, tcpSocketBuffer);
}

/** TCP_NODELAY, for what a TCP socket that listens will accept. Never throws. */
export function setNoDelay(fd: number): void {
  setOption ??= loadSetOption();
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/** For a socket that listens, or is not connected yet. Never throws. */
export function setBuffers(fd: number, bytes: number): void {
  setOption ??= loadSetOption();
  setOption(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

function optionsOf(settings: ConnSettings): [number, number, number][] {
  const seconds = (ms: number) => Math.max(1, Math.round(ms / 1000));
  const options: [number, number, number][] = [];
  if (settings.tcpUserTimeoutMs > 0) options.push([IPPROTO_TCP, TCP_USER_TIMEOUT, settings.tcpUserTimeoutMs]);
  if (!settings.tcpKeepalive) return options;
  options.push([SOL_SOCKET, SO_KEEPALIVE, 1]);
  if (settings.tcpKeepidleMs > 0) options.push([IPPROTO_TCP, TCP_KEEPIDLE, seconds(settings.tcpKeepidleMs)]);
  if (settings.tcpKeepintvlMs > 0) options.push([IPPROTO_TCP, TCP_KEEPINTVL, seconds(settings.tcpKeepintvlMs)]);
  if (settings.tcpKeepcnt > 0) options.push([IPPROTO_TCP, TCP_KEEPCNT, settings.tcpKeepcnt]);
  return options;
}

function loadSetOption(): SetOption {
  if (process.platform !== 'linux') return () => false;
  try {
    const setsockopt = libc().func('int setsockopt(int fd, int level, int option, void *value, uint32_t size)');
    const value = Buffer.alloc(4);
    return (fd, level, option, number) => {
      value.writeInt32LE(number);
      return setsockopt(fd, level, option, value, 4) === 0;
    };
  } catch {
    return () => false;
  }
}
