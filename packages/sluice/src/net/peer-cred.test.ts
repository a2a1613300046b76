import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DISCARD } from './conn.ts';
import { notePeer, peerCredProblem, peerUid, userNameOf } from './peer-cred.ts';
import { PlainConn } from './plain-conn.ts';

describe('who is at the other end', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-peer-'));
  const path = join(dir, 's');
  let server: Server;
  let client: Socket;
  let accepted: Socket;

  beforeAll(async () => {
    server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const arrives = new Promise<Socket>((resolve) => server.once('connection', resolve));
    client = connect(path);
    accepted = await arrives;
  });

  afterAll(() => {
    client.destroy();
    accepted.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });

  test('a Unix socket tells the uid of the one who connected', () => {
    expect(peerCredProblem()).toBe(null);
    expect(peerUid(new PlainConn(accepted, DISCARD, 6432))).toBe(process.getuid!());
  });

  test('and its process, once it is asked for', () => {
    const conn = new PlainConn(accepted, DISCARD, 6432);
    expect(conn.remote.pid).toBe(0);
    notePeer(conn);
    expect(conn.remote.pid).toBe(process.platform === 'linux' ? process.pid : 0);
  });

  test('a TCP connection, and one that is closed, tell nothing', () => {
    expect(peerUid(new PlainConn(accepted, DISCARD, -1))).toBe(null);
    expect(peerUid(new PlainConn(new Socket(), DISCARD, 6432))).toBe(null);
  });

  test('a uid has the name that /etc/passwd gives it', () => {
    expect(userNameOf(process.getuid!())).toBe(userInfo().username);
    const passwd = '# comment\nroot:x:0:0:root:/root:/bin/sh\nbad\nempty:x::0\n:x:7:7\ntwo:x:10:10\nagain:x:10:10\n';
    expect(userNameOf(0, passwd)).toBe('root');
    expect(userNameOf(10, passwd)).toBe('two');
    expect(userNameOf(1, passwd)).toBe(null);
    expect(userNameOf(7, passwd)).toBe(null);
  });
});
