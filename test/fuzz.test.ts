/**
 * Bad input, at random: startup, authentication, console and extended protocol get mutated conversations. Nothing may crash,
 * hang, grow without bound, or let anybody in. A failing seed is in the message: SLUICE_FUZZ_SEED=n runs it again,
 * SLUICE_FUZZ_SECONDS=n runs for longer (`npm run fuzz`).
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import * as wire from '@sluice/wire';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { Random } from './support/random.ts';
import { RawClient } from './support/raw.ts';
import { ON_BUN, type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const SECONDS = Number(process.env.SLUICE_FUZZ_SECONDS ?? 8);
const FIRST_SEED = Number(process.env.SLUICE_FUZZ_SEED ?? 1);
const ANSWER_MS = 5_000;
let sluice: Sluice;

beforeAll(async () => {
  sluice = await startSluice(server, {
    userlist: `"${server.user}" "${server.password}"\n"boss" "secret"\n`,
    settings: 'default_pool_size = 3\nadmin_users = boss\nclient_login_timeout = 2\nmax_prepared_statements = 5',
  });
});
afterAll(() => sluice.stop());

/** Flips, cuts, doubles or stretches: one small thing at a time. */
function mutate(random: Random, message: Uint8Array): Uint8Array {
  const copy = Buffer.from(message);
  switch (random.below(6)) {
    case 0:
      copy[random.below(copy.length)] = random.below(256);
      return copy;
    case 1:
      return copy.subarray(0, random.below(copy.length + 1));
    case 2:
      return Buffer.concat([copy, random.bytes(40)]);
    case 3:
      if (copy.length >= 5)
        copy.writeInt32BE(random.pick([0, 1, 3, 4, 5, -1, 0x7fff_ffff, 70_000, copy.length]), random.pick([0, 1]));
      return copy;
    case 4:
      return Buffer.concat([copy, copy]);
    default:
      return copy;
  }
}

const TEXTS = [
  '',
  'select 1',
  'SHOW POOLS',
  'begin',
  'select $1',
  'copy (select 1) to stdout',
  'copy t from stdin',
  'SET x = y',
  'é'.repeat(99),
  'SHOW "',
];

/** Any message that a client may send. */
function message(random: Random): Uint8Array {
  const text = random.pick(TEXTS);
  const name = random.pick(['', 's', 't', 'x'.repeat(300)]);
  switch (random.below(12)) {
    case 0:
      return wire.query(text);
    case 1:
      return wire.parse(name, text);
    case 2:
      return wire.bind('', name, random.below(2) === 0 ? [] : [text, null]);
    case 3:
      return wire.execute('', random.below(3));
    case 4:
      return wire.describe(random.pick(['S', 'P']), name);
    case 5:
      return wire.close(random.pick(['S', 'P']), name);
    case 6:
      return wire.sync();
    case 7:
      return wire.flush();
    case 8:
      return wire.copyData(random.bytes(50));
    case 9:
      return random.pick([wire.copyDone(), wire.copyFail(text)]);
    case 10:
      return wire.passwordMessage(text);
    default:
      return wire.functionCall(random.below(100), [text]);
  }
}

function startup(random: Random): Uint8Array {
  const params = {
    user: random.pick([server.user, 'boss', 'nobody', '', 'x'.repeat(200)]),
    database: random.pick(['postgres', 'pgbouncer', 'nosuch', '']),
    ...(random.below(3) === 0 ? { options: random.pick(['-c a=b', '-c', '\\', '--x', '-c timezone=UTC']) } : {}),
    ...(random.below(4) === 0 ? { replication: random.pick(['true', 'database', 'no', 'maybe']) } : {}),
  };
  switch (random.below(6)) {
    case 0:
      return wire.sslRequest();
    case 1:
      return wire.gssEncRequest();
    case 2:
      return wire.cancelRequest(random.below(9), random.bytes(40));
    default:
      return wire.startupMessage({ major: random.pick([3, 3, 3, 2, 4]), minor: random.below(4), params });
  }
}

const SASL = (random: Random) =>
  random.pick([
    wire.saslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=abc')),
    wire.saslInitialResponse('SCRAM-SHA-256-PLUS', Buffer.from('p=tls-server-end-point,,n=,r=abc')),
    wire.saslResponse(Buffer.from('c=biws,r=abc,p=AAAA')),
    wire.passwordMessage('secret'),
  ]);

/** Sends pieces to a fresh connection; resolves with all that came back when it ends, or is let go. */
function converse(pieces: readonly Uint8Array[], random: Random): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = connect({ host: sluice.host, port: sluice.port, noDelay: true });
    const chunks: Buffer[] = [];
    const over = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(Buffer.concat(chunks));
    };
    const timer = setTimeout(over, 60 + random.below(60));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', over);
    socket.on('close', over);
    for (const piece of pieces) socket.write(piece);
  });
}

/** AuthenticationOk: somebody is in. */
function letIn(answer: Buffer): boolean {
  for (let at = 0; at + 9 <= answer.length; ) {
    const end = at + 1 + answer.readInt32BE(at + 1);
    if (answer[at] === 0x52 && answer.readInt32BE(at + 5) === 0) return true;
    if (end <= at) return false;
    at = end;
  }
  return false;
}

async function strangers(random: Random, seed: number): Promise<void> {
  const pieces = [mutate(random, startup(random))];
  for (let i = random.below(4); i > 0; i--)
    pieces.push(mutate(random, random.below(2) === 0 ? SASL(random) : message(random)));
  const answer = await converse(pieces, random);
  if (letIn(answer)) throw new Error(`seed ${seed}: let in without a password`);
}

async function insider(random: Random, database: 'postgres' | 'pgbouncer'): Promise<void> {
  const who = database === 'pgbouncer' ? { user: 'boss', password: 'secret' } : {};
  const { raw } = await RawClient.login({ ...server, ...who, port: sluice.port, database });
  for (let i = 1 + random.below(12); i > 0; i--) {
    // SHUTDOWN and the like are what an operator may do; they are not in the texts.
    const next = message(random);
    raw.send(random.below(3) === 0 ? mutate(random, next) : next);
  }
  await new Promise((resolve) => setTimeout(resolve, random.below(20)));
  raw.end();
}

const alive = async () => {
  const clients = new Clients({ ...server, port: sluice.port });
  const client = await clients.pg();
  const { rows } = await client.query('select 1 as n');
  await clients.end();
  return rows[0].n;
};

const residentMb = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${sluice.pid}/status`, 'utf8'))![1]) / 1024;

test(
  'mutated conversations harm nobody',
  async () => {
    const deadline = Date.now() + SECONDS * 1000;
    let seed = FIRST_SEED;
    const before = process.platform === 'linux' ? residentMb() : 0;
    const worker = async () => {
      while (Date.now() < deadline) {
        const own = seed++;
        const random = new Random(own);
        const kind = random.below(4);
        if (kind < 2) await strangers(random, own);
        else
          await insider(random, kind === 2 ? 'postgres' : 'pgbouncer').catch((error: Error) => {
            throw new Error(`seed ${own}: ${error.message}`);
          });
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    const answered = await Promise.race([
      alive(),
      new Promise((resolve) => setTimeout(resolve, ANSWER_MS, 'no answer')),
    ]);
    expect(answered).toBe(1);
    expect(sluice.output()).not.toMatch(/bug:|internal error/);
    if (process.platform === 'linux' && !ON_BUN) expect(residentMb() - before).toBeLessThan(150);
  },
  (SECONDS + 60) * 1000,
);
