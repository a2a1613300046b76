/**
 * What applications do to a database, each thing with a check of its own: whoever gets another's answer, or a connection that is not
 * clean, notices. Errors that a fault explains are for whoever runs them (`isExplained`); a `Wrong` is never explained.
 */
import { bind, cancelRequest, copyData, copyDone, copyFail, describe, execute, parse, query, sync } from '@sluice/wire';
import pg from 'pg';
import type { Coordinates } from './global-setup.ts';
import type { Random } from './random.ts';
import { cell, errorOf, keyOf, type Message, RawClient, types } from './raw.ts';

/** A wrong byte, a reply to somebody else, a connection that is not clean. */
export class Wrong extends Error {}

/** The connection is gone. */
class Gone extends Error {}

export interface Worker {
  readonly id: number;
  readonly at: Coordinates;
  /** For those that use a driver. */
  readonly ssl: pg.ClientConfig['ssl'];
  readonly random: Random;
  /** What its row of soak_counts holds at least, and how many of its commits have an outcome that nobody told. */
  count: number;
  unsure: number;
}

export type Application = (worker: Worker) => Promise<void>;

/** 57P01 to 57P05: the server goes. 08: the connection does. 53300: no room. 25P03, 55000 and the like are nobody's. */
const EXPLAINED = /^(57P0[1-5]|08...|53300)$/;
const ENDED =
  /ECONNRESET|EPIPE|ECONNREFUSED|Connection terminated|connection is closed|Client has encountered a connection/;

export function isExplained(error: unknown): boolean {
  if (error instanceof Wrong) return false;
  const { code, message } = error as { code?: string; message?: string };
  return error instanceof Gone || EXPLAINED.test(code ?? '') || ENDED.test(`${code} ${message}`);
}

function expectSame(what: string, got: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(got), JSON.stringify(expected)];
  if (one !== other) throw new Wrong(`${what}: got ${String(one).slice(0, 300)}, not ${String(other).slice(0, 300)}`);
}

async function connected(worker: Worker, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ ...worker.at, ssl: worker.ssl, application_name: `soak-${worker.id}` });
  client.on('error', () => {});
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}

async function raw(worker: Worker, use: (raw: RawClient, greeting: Message[]) => Promise<void>): Promise<void> {
  const params = { application_name: `soak-${worker.id}` };
  const { raw: client, greeting } = await RawClient.login(worker.at, params).catch((error: Error) => {
    throw /connection closed during login|server|pooler|ECONN/.test(error.message) ? new Gone(error.message) : error;
  });
  if (types(greeting).at(-1) !== 'Z') throw new Gone('before the end of the login');
  try {
    await use(client, greeting);
  } finally {
    client.end();
  }
}

/** Everything up to ReadyForQuery; an end before it, or an error that a fault explains, is `Gone`. */
async function answer(client: RawClient): Promise<Message[]> {
  const messages = await client.until('Z');
  const failed = messages.find(({ type }) => type === 'E');
  if (failed !== undefined && EXPLAINED.test(errorOf(messages).code)) throw new Gone(errorOf(messages).message);
  if (messages.at(-1)?.type !== 'Z') throw new Gone('in the middle of an answer');
  return messages;
}

const clean: Application = (worker) =>
  connected(worker, async (client) => {
    const { rows } = await client.query(
      `select current_setting('soak.tag', true) as tag, current_setting('work_mem') as mem, pg_current_xact_id_if_assigned()::text as xact,
        (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
        (select count(*)::int from pg_class where relname = 'soak_temp' and pg_table_is_visible(oid)) as temp,
        current_setting('application_name') as name, (select count(*)::int from pg_listening_channels()) as heard`,
    );
    const { tag, ...rest } = rows[0];
    expectSame(
      'a new client',
      [tag ?? '', rest],
      ['', { mem: '4MB', xact: null, locks: 0, temp: 0, name: `soak-${worker.id}`, heard: 0 }],
    );
  });

const queries: Application = (worker) =>
  connected(worker, async (client) => {
    for (let i = worker.random.below(12); i >= 0; i--) {
      const mine = `${worker.id}-${worker.random.below(1e6)}-${'x'.repeat(worker.random.below(200))}`;
      const n = worker.random.below(5);
      const ask = {
        text: `select $1::text as mine, g, ${worker.id} as id from generate_series(1, $2::int) g /* ${n} */`,
        values: [mine, n + 1],
      };
      const forms = [
        () => client.query(ask),
        () => client.query({ ...ask, name: `q${n}` }),
        () => client.query(`select '${mine}' as mine, g, ${worker.id} as id from generate_series(1, ${n + 1}) g`),
      ];
      const { rows } = await worker.random.pick(forms)();
      const wanted = Array.from({ length: n + 1 }, (_, g) => ({ mine, g: g + 1, id: worker.id }));
      expectSame('a query', rows, wanted);
      if (worker.random.below(8) === 0) {
        const error = await client.query('select 1/0').catch((failure) => failure);
        if (!isExplained(error)) expectSame('a division by zero', error.code, '22012');
      }
    }
  });

const transactions: Application = (worker) =>
  connected(worker, async (client) => {
    const held = async () =>
      Number((await client.query('select n from soak_counts where id = $1', [worker.id])).rows[0].n);
    // Where the connection went in a COMMIT, that may still be on its way: the lock waits for it.
    await client.query('select n from soak_counts where id = $1 for update', [worker.id]);
    const found = await held();
    if (found < worker.count || found > worker.count + worker.unsure)
      throw new Wrong(`worker ${worker.id} counts ${found}, not ${worker.count} to ${worker.count + worker.unsure}`);
    worker.count = found;
    worker.unsure = 0;
    for (let i = worker.random.below(5); i >= 0; i--) {
      await client.query('begin');
      const { rows } = await client.query('update soak_counts set n = n + 1 where id = $1 returning n', [worker.id]);
      expectSame('an update', Number(rows[0].n), worker.count + 1);
      if (worker.random.below(3) === 0) await client.query('rollback');
      else {
        worker.unsure = 1;
        await client.query('commit');
        worker.count++;
        worker.unsure = 0;
      }
      expectSame('a count', await held(), worker.count);
    }
  });

const state: Application = (worker) =>
  connected(worker, async (client) => {
    const { random } = worker;
    const tag = `${worker.id}-${random.below(1e6)}`;
    await client.query(`set soak.tag = '${tag}'`);
    if (random.below(2) === 0) await client.query("set work_mem = '7MB'");
    const mem = (await client.query('show work_mem')).rows[0].work_mem;
    if (random.below(3) === 0) await client.query('begin; set local soak.tag = 4; rollback');
    const pinned = random.below(3);
    if (pinned === 0)
      await client.query(`create temp table soak_temp (tag text); insert into soak_temp values ('${tag}')`);
    if (pinned === 1) await client.query('select pg_advisory_lock($1)', [worker.id]);
    for (let i = random.below(6); i >= 0; i--) {
      await new Promise((resolve) => setTimeout(resolve, random.below(20)));
      const { rows } = await client.query(
        "select current_setting('soak.tag') as tag, current_setting('work_mem') as mem",
      );
      expectSame('settings', rows, [{ tag, mem }]);
      if (pinned === 0) expectSame('a temporary table', (await client.query('table soak_temp')).rows, [{ tag }]);
    }
  });

const notices: Application = (worker) =>
  connected(worker, async (client) => {
    const heard: string[] = [];
    client.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`));
    const channel = `soak_${worker.id}_${worker.random.below(1e9)}`;
    const payload = String(worker.random.below(1e6));
    await client.query(`listen ${channel}`);
    await client.query(`select pg_notify('${channel}', '${payload}')`);
    await client.query('select 1');
    expectSame('notifications', heard, [`${channel} ${payload}`]);
  });

const pipeline: Application = (worker) =>
  raw(worker, async (client) => {
    const { random, id } = worker;
    const sent = Array.from({ length: 1 + random.below(20) }, (_, i) => ({
      fails: random.below(6) === 0,
      name: random.pick(['', 'a', 'b']),
      mine: `${id}-${i}-${random.below(1e6)}`,
    }));
    for (const { fails, name, mine } of sent) {
      // A name that is in use is an error, so it goes first.
      const text = fails ? 'select $1::int' : `select $1::text, ${id}`;
      const statement = name === '' ? '' : `${name}${random.below(1e6)}${mine}`;
      const pieces = [parse(statement, text), bind('', statement, [mine]), describe('P', ''), execute(''), sync()];
      if (random.below(3) === 0) for (const piece of pieces) client.send(piece);
      else client.send(...pieces);
    }
    for (const { fails, mine } of sent) {
      const messages = await answer(client);
      if (fails) expectSame('an error', errorOf(messages).code, '22P02');
      else expectSame('a pipeline', [types(messages), cell(messages)], ['12TDCZ', mine]);
    }
  });

const copies: Application = (worker) =>
  raw(worker, async (client) => {
    const { random, id } = worker;
    const n = random.below(3_000);
    // What is left of one whose connection went before it had deleted them is another's.
    const run = random.below(1e9);
    client.send(query(`copy (select '${id}-' || g from generate_series(1, ${n}) g) to stdout`));
    const lines = (await answer(client)).filter(({ type }) => type === 'd').map(({ body }) => body.toString());
    expectSame('lines of a COPY', lines.length, n);
    for (const [i, line] of lines.entries()) expectSame('a line', line, `${id}-${i + 1}\n`);
    client.send(query('copy soak_in from stdin'));
    for (let i = 0; i < n; i++) client.send(copyData(Buffer.from(`${run}\t${i}\n`)));
    const fails = random.below(2) === 0;
    client.send(fails ? copyFail('on purpose') : copyDone());
    const end = (await answer(client)).filter(({ type }) => type !== 'G');
    expectSame('the end of a COPY', types(end), fails ? 'EZ' : 'CZ');
    client.send(query(`delete from soak_in where id = ${run}`));
    const deleted = (await answer(client)).find(({ type }) => type === 'C')!;
    expectSame('what a COPY has brought', deleted.body.toString('latin1'), `DELETE ${fails ? 0 : n}\0`);
  });

const cancels: Application = (worker) =>
  raw(worker, async (client, greeting) => {
    const { pid, key } = keyOf(greeting);
    const millis = worker.random.pick([1, 20, 30_000]);
    client.send(query(`select pg_sleep(${millis / 1000}), '${worker.id}' as mine`));
    await new Promise((resolve) => setTimeout(resolve, worker.random.below(40)));
    // One that comes before the query has begun is for nobody, so it is asked again.
    let isAnswered = false;
    const cancelling = (async () => {
      while (!isAnswered) {
        const canceller = await RawClient.connect(worker.at.host, worker.at.port);
        canceller.send(cancelRequest(pid, key));
        await canceller.next();
        canceller.end();
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    })();
    cancelling.catch(() => {});
    const messages = await answer(client).finally(() => {
      isAnswered = true;
    });
    await cancelling;
    if (types(messages).endsWith('EZ')) expectSame('a cancelled query', errorOf(messages).code, '57014');
    else expectSame('a query that was faster', [types(messages), millis < 30_000], ['TDCZ', true]);
    // It may be late, and is for this client alone then.
    client.send(query(`select '${worker.id}'`));
    const after = await answer(client);
    if (types(after).endsWith('EZ')) expectSame('a late cancel', errorOf(after).code, '57014');
    else expectSame('the query behind it', cell(after), String(worker.id));
  });

const vanishes: Application = (worker) =>
  raw(worker, async (client) => {
    const id = -1 - worker.random.below(5);
    const bytes = Buffer.concat([
      query('begin'),
      query(`update soak_counts set n = n + 1 where id = ${id}`),
      query("set soak.tag = 'left behind'"),
      query('select pg_advisory_xact_lock(42)'),
      query("select repeat('y', 1000) from generate_series(1, 3000)"),
    ]);
    client.socket.write(bytes.subarray(0, 1 + worker.random.below(bytes.length)));
    await new Promise((resolve) => setTimeout(resolve, worker.random.below(15)));
    if (worker.random.below(2) === 0) client.socket.resetAndDestroy();
  });

const slowly: Application = (worker) =>
  raw(worker, async (client) => {
    const row = `${worker.id}-${'z'.repeat(900)}`;
    client.send(query(`select '${row}' from generate_series(1, 8000)`));
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, worker.random.below(300)));
    client.socket.resume();
    const rows = (await answer(client)).filter(({ type }) => type === 'D');
    expectSame('rows of a slow reader', rows.length, 8_000);
    if (rows.some(({ body }) => body.toString('latin1', 6) !== row)) throw new Wrong('a slow reader: a row of another');
  });

export const APPLICATIONS: Readonly<Record<string, Application>> = {
  clean,
  queries,
  transactions,
  state,
  notices,
  pipeline,
  copies,
  cancels,
  vanishes,
  slowly,
};
