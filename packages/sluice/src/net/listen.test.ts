import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { freePort } from '../embedded/postgres.ts';
import type { Conn } from './conn.ts';
import { listen } from './listen.ts';

const GREET = `require('node:net').connect(+process.argv[1], '127.0.0.1').end('hi', () => process.exit())`;

describe.skipIf(process.platform !== 'linux')('a listener that closes after the last one', () => {
  test('lets in who has connected and was not accepted yet', async () => {
    let arrived = (_text: string) => {};
    const greeting = new Promise<string>((resolve) => {
      arrived = resolve;
    });
    const accept = (conn: Conn) => {
      conn.handler = {
        onData: (buffer, start, end) => arrived(buffer.toString('utf8', start, end)),
        onDrain() {},
        onClose: () => arrived('closed'),
      };
    };
    const listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 5 }, accept);
    // While this waits, nobody accepts anything here.
    expect(spawnSync(process.execPath, ['-e', GREET, String(listener.port)]).status).toBe(0);
    await listener.closeAfterLast();
    expect(await greeting).toBe('hi');
  });
});

const KNOCK = `
const { connect } = require('node:net');
let open = 0, stop = false, failed = 0, served = 0;
const next = () => {
  if (stop) return open === 0 && (console.log(JSON.stringify({ failed, served })), process.exit());
  open++;
  let greeted = false;
  connect(+process.argv[1], '127.0.0.1')
    .on('data', () => { greeted = true; served++; })
    .on('error', () => {})
    .on('close', () => { if (!greeted) failed++; open--; next(); });
};
process.stdin.on('data', () => { stop = true; });
for (let i = 0; i < 20; i++) next();
`;

test.skipIf(process.platform !== 'linux')(
  'listeners on one port come and go, and nobody who connects is sent away',
  async () => {
    const greet = (conn: Conn) => {
      conn.write(Buffer.from('hi'), 0, 2);
      conn.end();
    };
    const open = (port: number) => listen({ host: '127.0.0.1', port, unix: false, backlog: 128, shared: true }, greet);
    const port = await freePort();
    let last = await open(port);
    const knocking = spawn(process.execPath, ['-e', KNOCK, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
    let said = '';
    knocking.stdout.on('data', (data) => {
      said += data;
    });
    for (let i = 0; i < 10; i++) {
      const next = await open(port);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await last.closeAfterLast();
      last = next;
    }
    knocking.stdin.write('stop');
    await once(knocking, 'close');
    last.close();
    expect(JSON.parse(said)).toMatchObject({ failed: 0 });
  },
);

test.skipIf(process.platform === 'win32')(
  'the file of a Unix socket that somebody listens on is replaced at once, and removed with the one that replaced it',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-listen-'));
    const host = join(dir, 'socket');
    const greet = (word: string) => (conn: Conn) => {
      conn.write(Buffer.from(word), 0, word.length);
      conn.end();
    };
    const greeting = async () => String((await once(connect(host), 'data'))[0]);
    const old = await listen({ host, port: 1, unix: true, backlog: 5 }, greet('old'));
    expect(await greeting()).toBe('old');
    const replaced = { host, port: 1, unix: true, backlog: 5, replaces: true, inherited: true, mode: 0o600 };
    const fresh = await listen(replaced, greet('new'));
    expect(await greeting()).toBe('new');
    expect(statSync(host).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir)).toEqual(['socket']);
    fresh.close();
    expect(readdirSync(dir)).toEqual([]);
    old.close();
    rmSync(dir, { recursive: true });
  },
);
