/**
 * Several exchanges in one write, of which an early one does not come out as expected: what the client gets is what it gets on a
 * direct connection, and other clients notice nothing.
 */
import { connect, createServer } from 'node:net';
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, type Message, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
const open: RawClient[] = [];
afterEach(async () => {
  for (const raw of open.splice(0)) raw.socket.destroy();
  await sluice.stop();
});

const login = async (direct = false): Promise<RawClient> => {
  const { raw } = await RawClient.login(direct ? server : { ...server, port: sluice.port });
  open.push(raw);
  return raw;
};
const use = (name: string) => [wire.bind('', name), wire.execute(''), wire.sync()];
const run = (sql: string) => [wire.parse('', sql), wire.bind('', ''), wire.execute('')];
const FAILS = run('select 1/0');
const show = (messages: Message[]) =>
  messages
    .map((message) => {
      if (message.type === 'E') return errorOf([message]).code;
      return message.type === 'D' ? cell([message]) : message.type;
    })
    .join(' ');
const ask = async (raw: RawClient, messages: Uint8Array[], exchanges = 1) => {
  raw.send(...messages);
  const answers: string[] = [];
  for (let i = 0; i < exchanges; i++) answers.push(show(await raw.until('Z')));
  return answers;
};

interface Script {
  settings?: string;
  /** What the other client does before. */
  before?: Uint8Array[][];
  prepared?: Uint8Array[][];
  /** In one write; how many exchanges that is. */
  pipeline: Uint8Array[];
  exchanges: number;
  /** What the two do after it. */
  after?: Uint8Array[];
  otherAfter?: Uint8Array[];
}

const SCRIPTS: Record<string, Script> = {
  'an injected Parse that an error skips is injected again': {
    settings: 'max_prepared_statements = 1\n',
    prepared: [[wire.parse('s1', 'select 1'), wire.parse('s2', 'select 2'), wire.sync()]],
    pipeline: [...FAILS, ...use('s1'), ...use('s1')],
    exchanges: 2,
    after: use('s1'),
  },
  'a Close that an error skips leaves the statement': {
    prepared: [[wire.parse('s', 'select 1'), wire.sync()]],
    pipeline: [...FAILS, wire.close('S', 's'), wire.sync(), ...use('s')],
    exchanges: 2,
  },
  'a Close and a Parse that an error skips leave the old statement under the name': {
    before: [[wire.parse('x', "select 'B'"), wire.sync()]],
    prepared: [[wire.parse('s', "select 'A'"), wire.sync()]],
    pipeline: [...FAILS, wire.close('S', 's'), wire.parse('s', "select 'B'"), wire.sync(), ...use('s')],
    exchanges: 2,
    after: use('s'),
  },
  'an eviction that an error skips leaves the server usable for everybody': {
    settings: 'max_prepared_statements = 1\n',
    before: [[wire.parse('x', 'select 1'), wire.sync()]],
    prepared: [
      [wire.parse('s2', 'select 2'), wire.sync()],
      [wire.parse('s1', 'select 1'), ...use('s1')],
    ],
    pipeline: [...FAILS, ...use('s2'), ...use('s1')],
    exchanges: 2,
    otherAfter: use('x'),
  },
  'a name whose Parse failed is free': {
    pipeline: [wire.parse('s', 'sel ect'), wire.sync(), wire.parse('s', 'select 5'), ...use('s')],
    exchanges: 2,
  },
  'what is prepared behind DEALLOCATE ALL stays': {
    before: [[wire.parse('x', 'select 2'), ...use('x')]],
    prepared: [[wire.parse('s1', 'select 1'), ...use('s1')]],
    pipeline: [wire.query('deallocate all'), wire.parse('s2', 'select 2'), ...use('s2')],
    exchanges: 2,
    after: use('s2'),
    otherAfter: use('x'),
  },
  'what is prepared behind DISCARD ALL stays': {
    before: [[wire.parse('x', 'select 2'), ...use('x')]],
    pipeline: [wire.query(' /* all */ DISCARD ALL'), wire.parse('s2', 'select 2'), ...use('s2')],
    exchanges: 2,
    after: use('s2'),
    otherAfter: use('x'),
  },
  'what is prepared behind DEALLOCATE ALL in one exchange stays, under an old name too': {
    prepared: [[wire.parse('s1', 'select 1'), ...use('s1')]],
    pipeline: [...run('deallocate all'), wire.parse('s1', 'select 1'), wire.parse('s2', 'select 2'), ...use('s2')],
    exchanges: 1,
    after: [...use('s1')],
  },
  'an error behind DEALLOCATE ALL brings nothing back that the server has forgotten': {
    settings: 'max_prepared_statements = 1\n',
    before: [[wire.parse('x', 'select 2'), ...use('x')]],
    pipeline: [...run('deallocate all'), ...FAILS, wire.parse('s3', 'select 3'), ...use('s3')],
    exchanges: 1,
    otherAfter: use('x'),
  },
};

describe('prepared statements', () => {
  test.each(Object.entries(SCRIPTS))('%s', async (_name, script) => {
    sluice = await startSluice(server, {
      settings: `pool_mode = transaction\ndefault_pool_size = 1\n${script.settings ?? ''}`,
    });
    const outcomes: unknown[] = [];
    for (const direct of [true, false]) {
      const [a, b] = [await login(direct), await login(direct)];
      for (const messages of script.before ?? []) await ask(b, messages);
      for (const messages of script.prepared ?? []) await ask(a, messages);
      const answers = await ask(a, script.pipeline, script.exchanges);
      for (let i = 0; i < 3; i++) {
        if (script.after) answers.push(...(await ask(a, script.after)));
        if (script.otherAfter) answers.push(...(await ask(b, script.otherAfter)));
      }
      outcomes.push(answers);
    }
    expect(outcomes[1]).toEqual(outcomes[0]);
  });

  test('an exchange that is sent again after its plan was rejected is answered before the one behind it', async () => {
    let passOn = () => {};
    let rejected = () => {};
    const waiting = new Promise<void>((resolve) => {
      rejected = resolve;
    });
    // Keeps what comes behind the error until told.
    const between = createServer((client) => {
      const upstream = connect({ host: server.host, port: server.port });
      let held: Buffer[] | null = null;
      for (const socket of [client, upstream]) socket.on('error', () => {});
      client.on('data', (chunk) => upstream.write(chunk)).on('close', () => upstream.destroy());
      upstream.on('close', () => client.destroy());
      upstream.on('data', (chunk) => {
        if (held !== null) held.push(chunk);
        else if (!chunk.includes('RevalidateCachedQuery')) client.write(chunk);
        else {
          let at = 0;
          while (chunk[at] !== 0x45) at += 1 + chunk.readInt32BE(at + 1);
          const end = at + 1 + chunk.readInt32BE(at + 1);
          client.write(chunk.subarray(0, end));
          held = [chunk.subarray(end)];
          passOn = () => {
            client.write(Buffer.concat(held!));
            held = null;
          };
          rejected();
        }
      });
    });
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
    const { port } = between.address() as { port: number };
    sluice = await startSluice(server, {
      databases: `* = host=127.0.0.1 port=${port}`,
      settings: 'pool_mode = transaction\ndefault_pool_size = 1\n',
    });
    const [a, direct] = [await login(), await login(true)];
    await ask(direct, [wire.query("create table plans (a text); insert into plans values ('first')")]);
    await ask(a, [wire.parse('s', 'select * from plans'), ...use('s')]);
    await ask(direct, [wire.query('alter table plans add b int')]);
    a.send(wire.bind('', 's'), wire.describe('P', ''), wire.execute(''), wire.sync());
    await waiting;
    // The pooler has been sent the error, by another connection: when it has answered somebody since, it has read that.
    const since = await RawClient.connect('127.0.0.1', sluice.port);
    since.send(wire.sslRequest());
    await since.byte();
    since.end();
    // Nothing tells when this has been read; that it is late would make the test weaker, not wrong.
    a.send(...run("select 'second'"), wire.sync());
    await new Promise((resolve) => setTimeout(resolve, 50));
    passOn();
    expect(show(await a.until('Z'))).toBe('2 T first C Z');
    expect(show(await a.until('Z'))).toBe('1 2 second C Z');
    await ask(direct, [wire.query('drop table plans')]);
    between.close();
  });
});

/** A conversation at random, the same for each seed, all of whose answers a direct connection gives too. */
class Talk {
  #state: number;
  readonly #id: number;

  constructor(seed: number, id: number) {
    this.#state = (seed * 7_919 + id * 104_729) >>> 0;
    this.#id = id;
  }

  below(n: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * n);
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }

  #text(): string {
    const own = `select 'client ${this.#id}', $1::text`;
    return this.pick([own, own, 'select $1::int', `select ${this.below(5)}, $1::text`, 'sel ect']);
  }

  #message(): Uint8Array[] {
    const name = this.pick(['a', 'b', 'c', 'PGBOUNCER_1']);
    switch (this.below(8)) {
      case 0:
      case 1:
        return [wire.parse(name, this.#text())];
      case 2:
        return [wire.close('S', name)];
      case 3:
        return [wire.close('S', name), wire.parse(name, this.#text()), wire.describe('S', name)];
      case 4:
        return run('select 1/0');
      default:
        return [wire.bind('', name, [this.pick(['7', '7', 'x'])]), wire.describe('P', ''), wire.execute('')];
    }
  }

  exchange(): Uint8Array {
    if (this.below(8) === 0)
      return wire.query(this.pick([`select 'client ${this.#id}'`, 'deallocate all', 'discard all', 'select 1/0', '']));
    return wire.concat(...Array.from({ length: 1 + this.below(4) }, () => this.#message()).flat(), wire.sync());
  }
}

describe('conversations at random', () => {
  const SEEDS = process.env.PIPELINE_SEED ? [Number(process.env.PIPELINE_SEED)] : [1, 2, 3, 4, 5, 6];

  test.each(SEEDS)('seed %i (PIPELINE_SEED): three clients of one server get what they get directly', async (seed) => {
    sluice = await startSluice(server, {
      settings: `pool_mode = transaction\ndefault_pool_size = 1\nmax_prepared_statements = ${1 + (seed % 4)}\n`,
    });
    const talks = async (direct: boolean, id: number) => {
      const [raw, talk, cuts] = [await login(direct), new Talk(seed, id), new Talk(seed + 1, id)];
      const heard: string[] = [];
      for (let round = 0; round < 40; round++) {
        const exchanges = Array.from({ length: 1 + talk.below(8) }, () => talk.exchange());
        const bytes = wire.concat(...exchanges);
        for (let at = 0; at < bytes.length; ) {
          const step = cuts.below(3) === 0 ? 1 + cuts.below(40) : bytes.length;
          raw.socket.write(bytes.subarray(at, at + step));
          at += step;
          if (at < bytes.length && cuts.below(4) === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        for (const _ of exchanges) heard.push(`${round}: ${show(await raw.until('Z'))}`);
      }
      return heard;
    };
    const ids = [1, 2, 3];
    const pooled = await Promise.all(ids.map((id) => talks(false, id)));
    const direct = await Promise.all(ids.map((id) => talks(true, id)));
    expect(pooled).toEqual(direct);
    expect(sluice.output()).not.toMatch(/bug:|protocol violation/);
  });
});

describe('COPY FROM STDIN in the extended protocol, with the Sync sent along', () => {
  test.each([
    ['by its data', [wire.copyData(Buffer.from('no number\n')), wire.copyDone(), wire.sync()]],
    ['by its client', [wire.copyData(Buffer.from('1\n')), wire.copyFail('no'), wire.sync()]],
  ])('fails %s: its server goes back to the pool', async (_how, messages) => {
    sluice = await startSluice(server, { settings: 'pool_mode = transaction\ndefault_pool_size = 1\n' });
    const [a, b] = [await login(), await login()];
    await ask(a, [wire.query('create table if not exists copied_so (n int)')]);
    a.send(...run('copy copied_so from stdin'), wire.sync());
    await a.until('G');
    expect(await ask(a, messages)).toEqual([expect.stringMatching(/^(22P02|57014) Z$/)]);
    expect(await ask(b, [wire.query('select 1')])).toEqual(['T 1 C Z']);
    expect(await ask(a, [wire.query('drop table copied_so')])).toEqual(['C Z']);
  });
});

describe('COPY FROM STDIN that fails by its data', () => {
  const bad = wire.copyData(Buffer.from('no number\n'));
  const slow = wire.query("select 'of a' from pg_sleep(0.2)");
  const behind: Record<string, Uint8Array[]> = {
    'a query': [slow],
    'two queries': [wire.query("select 'of a'"), slow],
    'a Sync and a query': [wire.sync(), slow],
    'CopyDone, Sync and a query': [wire.copyDone(), wire.sync(), slow],
  };
  test.each(Object.entries(behind))('with %s behind it: nobody else gets the answer', async (_name, messages) => {
    sluice = await startSluice(server, { settings: 'pool_mode = transaction\ndefault_pool_size = 1\n' });
    const [a, b] = [await login(), await login()];
    await ask(a, [wire.query('create table copied_numbers (n int)')]);
    for (const early of [false, true]) {
      const copier = await login();
      copier.send(wire.query('copy copied_numbers from stdin'));
      if (!early) await copier.until('G');
      copier.send(bad, ...messages);
      await new Promise((resolve) => setTimeout(resolve, 50));
      for (let i = 0; i < 3; i++) expect(await ask(b, [wire.query(`select 'of b ${i}'`)])).toEqual([`T of b ${i} C Z`]);
      copier.socket.destroy();
    }
    await ask(await login(true), [wire.query('drop table copied_numbers')]);
  });
});

test('what a client has sent behind its startup message is answered, however much it is and however long the login takes', async () => {
  // Nobody has been here: it waits for the pool's first server.
  sluice = await startSluice(server, { settings: 'auth_type = trust\n' });
  const raw = await RawClient.connect(sluice.host, sluice.port);
  open.push(raw);
  const { user, database } = server;
  const count = 1_000;
  const queries = Array.from({ length: count }, (_, i) => wire.query(`select ${i} --${' '.repeat(500)}`));
  raw.send(wire.startupMessage({ major: 3, minor: 0, params: { user, database } }), ...queries);
  await raw.until('Z');
  for (let i = 0; i < count; i++) expect(cell(await raw.until('Z'))).toBe(`${i}`);
});
