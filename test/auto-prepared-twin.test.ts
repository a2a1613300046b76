/**
 * prepare_threshold against the real thing: clients send at random what drivers send, each one twice, through a pool of two servers that
 * it shares with the others and on a connection of its own. Every message that comes back must be the same.
 */
import * as wire from '@sluice/wire';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../sim/random.ts';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { type Message, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const SEED = Number(process.env.SLUICE_FUZZ_SEED ?? 20_261_122);
const STEPS = Number(process.env.SLUICE_FUZZ_STEPS ?? 400);
const CLIENTS = 3;
const [POOLED, DIRECT] = ['auto_twin_pooled', 'auto_twin_direct'];

let sluice: Sluice;

beforeAll(async () => {
  const admin = new Clients(server);
  const client = await admin.pg();
  for (const name of [POOLED, DIRECT]) {
    await client.query(`drop database if exists ${name} with (force)`);
    await client.query(`create database ${name}`);
  }
  await admin.end();
  sluice = await startSluice(server, {
    settings: `default_pool_size = 2\nserver_round_robin = 1\nprepare_threshold = 2\nmax_prepared_statements = 6\nadmin_users = ${server.user}`,
  });
});
afterAll(() => sluice.stop());

/** Texts with a parameter, and what it may be; null: without one. */
const TEXTS: readonly (readonly [string, readonly string[] | null])[] = [
  ['select $1::int + 1', ['41', 'x', '']],
  ['select pg_typeof($1)', ['a']],
  ['select 1 / $1::int', ['1', '0']],
  ['select * from twin order by a', null],
  ['select a from twin order by 1', null],
  ['insert into twin (a) values ($1)', ['1', '2', 'x']],
  ['update twin set a = a + 1 where a = $1 returning *', ['1', '3']],
  ['delete from twin where a > $1', ['4', '100']],
  ["select 'as it is ' || $1", ['b']],
  ['with w as (select a from twin) select count(*) from w', null],
  ['select nothing from nowhere', null],
  ['select 1; select 2', null],
  ['', null],
  ['begin', null],
  ['commit', null],
];
const SIMPLE = [
  'select 1; select 2',
  'select * from twin order by a',
  'insert into twin (a) values (1), (2)',
  'alter table twin add b int default 7',
  'alter table twin drop if exists b',
  'alter table twin alter a type bigint',
  'alter table twin alter a type int',
  'drop table twin; create table twin (a int)',
  'begin',
  'commit',
  'rollback',
  'select 1/0',
];

interface Step {
  readonly client: number;
  /** Pieces, each in a packet of its own. */
  readonly pieces: readonly Buffer[];
  /** How many ReadyForQuery are due. */
  readonly ready: number;
  readonly what: string;
}

interface Exchange {
  readonly bytes: Uint8Array[];
  readonly what: string;
}

function exchange(random: Random): Exchange {
  const [sql, values] = random.pick(TEXTS);
  const bound = values === null || random.chance(0.05) ? [] : [random.pick(values)];
  const types = values !== null && random.chance(0.2) ? [random.pick([23, 25, 0])] : [];
  const described = random.chance(0.85);
  // Named ones are sent once more by nobody when a table has changed, and a text that has two names is called by either in errors.
  const name = sql.includes('twin') || random.chance(0.85) ? '' : `named_${random.int(1, 1e9)}`;
  const text = name === '' ? sql : `${sql} -- ${name}`;
  const describe = described ? [wire.describe('P', '')] : [];
  const messages = [wire.parse(name, text, types), wire.bind('', name, bound), ...describe, wire.execute('')];
  const what = `${name}<${text}> (${bound.join()}) ${types.join()}${described ? '' : ' undescribed'}`;
  return { bytes: [...messages, wire.sync()], what };
}

function stepOf(random: Random): Step {
  const client = random.int(0, CLIENTS - 1);
  if (random.chance(0.15)) {
    const text = random.pick(SIMPLE);
    return { client, pieces: [Buffer.from(wire.query(text))], ready: 1, what: `simple: ${text}` };
  }
  const exchanges = Array.from({ length: random.chance(0.1) ? random.int(2, 3) : 1 }, () => exchange(random));
  const all = Buffer.from(wire.concat(...exchanges.flatMap(({ bytes }) => bytes)));
  const cut = exchanges.length === 1 && random.chance(0.1) ? random.int(bindAt(exchanges[0]!), all.length - 1) : 0;
  const pieces = [all.subarray(0, cut), all.subarray(cut)].filter((piece) => piece.length > 0);
  const whats = exchanges.map(({ what }) => what).join(' | ');
  return { client, pieces, ready: exchanges.length, what: `${whats}${cut > 0 ? ` cut at ${cut}` : ''}` };
}

/** Where a Bind's names have been read: one that is not there when its Parse is looked at makes that one to be kept. */
function bindAt({ bytes: [parse, bind] }: Exchange): number {
  return parse!.length + Math.min(bind!.length, 40);
}

/** Without what differs from database to database, and from server to server. */
function comparable({ type, body }: Message): string {
  if (type === 'E' || type === 'N') {
    const { severity, code, message, detail, hint } = wire.parseErrorFields(body, 0, body.length);
    return `${type} ${[severity, code, message, detail, hint].join('/')}`;
  }
  if (type !== 'T') return `${type} ${body.toString('latin1')}`;
  const copy = Buffer.from(body);
  // Behind each name: the table's number, which is another one in another database.
  for (let at = 2; at < copy.length; at += 18) {
    at = copy.indexOf(0, at) + 1;
    copy.fill(0, at, at + 4);
  }
  return `T ${copy.toString('latin1')}`;
}

async function carryOut(client: RawClient, { pieces, ready }: Step): Promise<string[]> {
  for (const piece of pieces) {
    client.send(piece);
    if (pieces.length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const answers: Message[] = [];
  for (let i = 0; i < ready; i++) answers.push(...(await client.until('Z')));
  return answers.filter(({ type }) => type !== 'S').map(comparable);
}

test(`${STEPS} steps of ${CLIENTS} clients, whose answers are those of direct connections (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const login = async (port: number, database: string) => (await RawClient.login({ ...server, port, database })).raw;
  const pooled = await Promise.all(Array.from({ length: CLIENTS }, () => login(sluice.port, POOLED)));
  const direct = await Promise.all(Array.from({ length: CLIENTS }, () => login(server.port, DIRECT)));
  const done: string[] = [];
  const both = async (step: Step) => {
    done.push(`${step.client}: ${step.what}`);
    const [ours, theirs] = await Promise.all([
      carryOut(pooled[step.client]!, step),
      carryOut(direct[step.client]!, step),
    ]);
    expect(ours, done.slice(-12).join('\n')).toEqual(theirs);
  };
  const simple = (client: number, text: string) =>
    both({ client, pieces: [Buffer.from(wire.query(text))], ready: 1, what: `simple: ${text}` });
  await simple(0, 'create table twin (a int)');
  for (let i = 0; i < STEPS; i++) {
    const step = stepOf(random);
    // Of a transaction that stays open others might have to wait for each other's locks.
    const opens = /begin/.test(step.what);
    await both(step);
    if (!opens) continue;
    for (let more = random.int(0, 3); more > 0; more--) await both({ ...stepOf(random), client: step.client });
    await simple(step.client, 'rollback');
  }
  for (const client of [...pooled, ...direct]) client.end();
  const consoles = new Clients({ ...server, port: sluice.port, database: 'pgbouncer' });
  const { rows } = await (await consoles.pg()).query('show stats_totals');
  const { client_parse_count: asked, server_parse_count: parsed } = rows.find(({ database }) => database === POOLED);
  expect(Number(asked)).toBeGreaterThan(1 * Number(parsed));
  await consoles.end();
});
