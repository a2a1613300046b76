/** systemd: the units are well made, the daemon tells when it serves, and takes the sockets that it is given. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PROGRAM = join(ROOT, 'packages', 'sluice', 'bin', 'sluice.js');
const RUNTIME = process.env.SLUICE_TEST_RUNTIME ?? process.execPath;
const server = postgres();
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-sd-'));
  writeFileSync(join(dir, 'users.txt'), `"${server.user}" "${server.password}"\n`);
  writeFileSync(
    join(dir, 'sluice.ini'),
    `[databases]\n* = host=${server.host} port=${server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 1
unix_socket_dir =\nstats_period = 1\nauth_type = scram-sha-256\nauth_file = ${dir}/users.txt\npool_mode = transaction\n`,
  );
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe.runIf(existsSync('/usr/bin/systemd-analyze'))('the units', () => {
  test.each(['sluice.service', 'sluice.socket'])('%s is one that systemd takes', (name) => {
    // The program of the unit is not installed here: another that exists stands in its place.
    const text = readFileSync(join(ROOT, 'deploy', 'systemd', name), 'utf8').replace('/usr/bin/pgbouncer', '/bin/true');
    writeFileSync(join(dir, name), text);
    const service = join(dir, 'sluice.service');
    if (!existsSync(service)) writeFileSync(service, '[Service]\nExecStart=/bin/true\n');
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', join(dir, name)], { encoding: 'utf8' });
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
  });
});

describe.runIf(process.platform === 'linux')('the service manager', () => {
  test('hears when the daemon serves and when it stops; connections come by the socket that was passed', async () => {
    const heard = new Mailbox(join(dir, 'notify'));
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as { port: number };
    const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
    const shell = `LISTEN_PID=$$ LISTEN_FDS=1 exec "${RUNTIME}" "${PROGRAM}" start "${dir}/sluice.ini"`;
    const child = spawn('sh', ['-c', shell], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
      env: { ...process.env, NOTIFY_SOCKET: heard.path },
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    expect(await heard.next()).toBe('READY=1');
    listener.close();
    const client = new pg.Client({ ...server, port });
    await client.connect();
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await client.end();
    expect(await heard.status()).toMatch(/^STATUS=stats: \d+ xacts\/s, .* wait \d+ us$/);
    child.kill('SIGHUP');
    expect(await heard.next()).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    expect(await heard.next()).toBe('READY=1');
    const last = new pg.Client({ ...server, port });
    await last.connect();
    child.kill('SIGTERM');
    expect(await heard.next()).toBe('STOPPING=1');
    // It is on its way, and nothing takes that back.
    child.kill('SIGHUP');
    expect((await last.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await last.end();
    await ended;
    expect(heard.last()).toBeNull();
    heard.close();
  });
});

/** A datagram socket, as the service manager has it; Node has none of the kind. */
class Mailbox {
  readonly path: string;
  readonly statuses: string[] = [];
  readonly #fd: number;
  readonly #libc = koffi.load(null);

  constructor(path: string) {
    this.path = path;
    const socket = this.#libc.func('int socket(int family, int type, int protocol)');
    const bind = this.#libc.func('int bind(int fd, void *address, uint32_t size)');
    const name = Buffer.from(path);
    const address = Buffer.alloc(3 + name.length);
    address.writeUInt16LE(1, 0);
    name.copy(address, 2);
    this.#fd = socket(1, 2 | 0o4000, 0);
    expect(bind(this.#fd, address, address.length)).toBe(0);
  }

  /** What is there already but for how it fares; null: nothing. */
  last(): string | null {
    const recv = this.#libc.func('int64_t recv(int fd, _Out_ uint8_t *data, uint64_t size, int flags)');
    const data = Buffer.alloc(1_000);
    for (;;) {
      const size = Number(recv(this.#fd, data, data.length, 0));
      if (size <= 0) return null;
      const said = data.toString('utf8', 0, size);
      if (!said.startsWith('STATUS=')) return said;
      this.statuses.push(said);
    }
  }

  next(): Promise<string> {
    return this.#until(() => this.last());
  }

  /** How it fares. */
  status(): Promise<string> {
    return this.#until(() => {
      this.last();
      return this.statuses[0] ?? null;
    });
  }

  async #until<T>(look: () => T | null): Promise<T> {
    const deadline = Date.now() + 20_000;
    for (;;) {
      const found = look();
      if (found !== null) return found;
      if (Date.now() > deadline) throw new Error('nothing was said to the service manager in 20 s');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  close(): void {
    this.#libc.func('int close(int fd)')(this.#fd);
  }
}
