/** Names and passwords that are not UTF-8: bytes, compared byte by byte. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeText, encodeText } from '@sluice/wire';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const dir = mkdtempSync(join(tmpdir(), 'sluice-encodings-'));
const FORCED = `* = host=${server.host} port=${server.port} dbname=postgres user=${server.user} password=${server.password}`;
let sluice: Sluice;
afterEach(() => sluice.stop());
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** As a terminal in Latin-1 would send it. */
const latin1 = (text: string) => decodeText(Buffer.from(text, 'latin1'));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, encodeText(text));
  return path;
}

async function login(user: string, password: string): Promise<'in' | 'out'> {
  try {
    const { raw } = await RawClient.login({ ...server, port: sluice.port, user, password });
    raw.end();
    return 'in';
  } catch (error) {
    expect((error as Error).message).toMatch(/password authentication failed|SASL authentication failed/);
    return 'out';
  }
}

describe('names and passwords in another encoding', () => {
  const secrets = `"${latin1('lat\xe9')}" "one"\n"${latin1('lat\xe8')}" "two"\n"bob" "${latin1('caf\xe9')}"\n"al" "secret"\n`;

  test.each(['plain', 'md5', 'scram-sha-256'])('are told apart by auth_type %s', async (type) => {
    const users = file('users.txt', secrets);
    sluice = await startSluice(server, { databases: FORCED, settings: `auth_type = ${type}\nauth_file = ${users}` });
    const told: [string, string, string][] = [
      [latin1('lat\xe9'), 'one', 'in'],
      [latin1('lat\xe8'), 'two', 'in'],
      [latin1('lat\xe9'), 'two', 'out'],
      [latin1('lat\xe8'), 'one', 'out'],
      [latin1('lat\xff'), 'two', 'out'],
      ['lat\ufffd', 'two', 'out'],
      ['bob', latin1('caf\xe9'), 'in'],
      ['bob', latin1('caf\xe8'), 'out'],
      ['bob', 'caf\ufffd', 'out'],
      ['bob', 'café', 'out'],
      ['al', 'secret', 'in'],
      ['al', '\ufeffsecret', type === 'scram-sha-256' ? 'in' : 'out'],
      ['\ufeffal', 'secret', 'out'],
    ];
    for (const [user, password, how] of told)
      expect([user, password, await login(user, password)]).toEqual([user, password, how]);
  });

  test('are told apart by access rules', async () => {
    const users = file('users.txt', `"${latin1('ren\xe8')}" "x"\n"${latin1('ren\xe9')}" "x"\n`);
    const rules = file('hba.conf', `host all ${latin1('ren\xe8')} all trust\nhost all all all password\n`);
    sluice = await startSluice(server, {
      databases: FORCED,
      settings: `auth_type = hba\nauth_hba_file = ${rules}\nauth_file = ${users}`,
    });
    expect(await login(latin1('ren\xe8'), 'whatever')).toBe('in');
    for (const user of [latin1('ren\xe9'), latin1('ren\xff'), 'ren\ufffd'])
      expect(await login(user, 'whatever')).toBe('out');
  });
});
