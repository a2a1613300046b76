/** Logging in to servers by every method that they may ask for. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { md5Secret } from '@sluice/wire';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nodeCrypto } from '../packages/sluice/src/auth/crypto.ts';
import { type EmbeddedPostgres, startEmbedded } from '../packages/sluice/src/embedded/postgres.ts';
import { attempt } from './support/attempt.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const PASSWORD = 'open sesame';
let dir: string;
let postgres: EmbeddedPostgres;
let sluice: Sluice;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-hba-'));
  chmodSync(dir, 0o755);
  const hba = join(dir, 'hba.conf');
  writeFileSync(
    hba,
    [
      'host all by_trust 127.0.0.1/32 trust',
      'host all by_password 127.0.0.1/32 password',
      'host all by_md5 127.0.0.1/32 md5',
      'host all by_nothing 127.0.0.1/32 reject',
      'host all all 127.0.0.1/32 scram-sha-256',
    ].join('\n'),
  );
  chmodSync(hba, 0o644);
  postgres = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true, settings: { hba_file: hba } });
  const admin = new pg.Client({
    host: postgres.host,
    port: postgres.port,
    user: postgres.user,
    password: postgres.password,
    database: 'postgres',
  });
  await admin.connect();
  await admin.query("set password_encryption = 'md5'");
  await admin.query(
    `create role by_md5 login password '${PASSWORD}'; create role by_md5_hash login password '${PASSWORD}'`,
  );
  await admin.query("set password_encryption = 'scram-sha-256'");
  for (const role of ['by_trust', 'by_password', 'by_scram', 'by_nothing', 'no_password'])
    await admin.query(`create role ${role} login password '${PASSWORD}'`);
  await admin.end();
  const users = ['by_trust', 'by_password', 'by_scram', 'by_nothing'].map((user) => `"${user}" "${PASSWORD}"`);
  users.push(`"by_md5" "${md5Secret(nodeCrypto, 'by_md5', PASSWORD)}"`, '"no_password" ""');
  const { host, port, user, password, database } = postgres;
  sluice = await startSluice(
    { host, port, user, password, database },
    { settings: 'auth_type = trust', userlist: users.join('\n') },
  );
});

afterAll(async () => {
  await sluice.stop();
  await postgres.stop('immediate');
  rmSync(dir, { recursive: true, force: true });
});

const connect = async (user: string): Promise<string> => {
  const { host, port } = sluice;
  const { error, text } = await attempt({ host, port, user, database: 'postgres' });
  return error === null ? text : `${text}\n${error.detail}`;
};

test.each(['by_trust', 'by_password', 'by_md5', 'by_scram'])('%s', async (user) => {
  expect(await connect(user)).toBe(user);
});

test('a server that refuses: the client hears its reason, and which server and user', async () => {
  expect(await connect('by_nothing')).toMatch(
    /^pg_hba\.conf rejects.*\nserver 127\.0\.0\.1:\d+ refused the login of user "by_nothing": .*pg_hba\.conf rejects/,
  );
});

test('no password for a server that wants one: the client hears what is missing and where to put it', async () => {
  expect(await connect('no_password')).toMatch(/refused the login of user "no_password"|no password is known/);
});
