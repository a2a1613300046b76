import { describe, expect, test } from 'vitest';
import { failure, makePool } from './support.ts';

const one = (options = {}) => makePool({ max: 1, ...options });

describe('what a holder leaves behind', () => {
  test('a clean connection is not reset', async () => {
    const pool = one();
    for (let i = 0; i < 3; i++) await pool.query('SELECT 1');
    await pool.transaction((tx) => tx.query('SET LOCAL work_mem = 65536'));
    expect(pool.stats().resets).toBe(0);
  });

  test('an open transaction is rolled back, and only that', async () => {
    const pool = one();
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query('CREATE TABLE left_open (n int)');
    client.release();
    expect((await pool.query("SELECT to_regclass('left_open') AS it")).rows[0].it).toBeNull();
    expect(pool.stats().resets).toBe(1);
  });

  test('a failed transaction is rolled back', async () => {
    const pool = one();
    await pool.use(async (lease) => {
      await lease.query('BEGIN');
      await failure(lease.query('SELECT 1/0'));
    });
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
  });

  test.each([
    ['SET', "SET application_name = 'dirty'", "SELECT current_setting('application_name') = 'dirty' AS left"],
    [
      'set_config',
      "SELECT set_config('work_mem', '65MB', false)",
      "SELECT current_setting('work_mem') = '65MB' AS left",
    ],
    ['LISTEN', 'LISTEN news', 'SELECT count(*) > 0 AS left FROM pg_listening_channels()'],
    ['a temporary table', 'CREATE TEMP TABLE mess (n int)', "SELECT to_regclass('mess') IS NOT NULL AS left"],
    [
      'an advisory lock',
      'SELECT pg_advisory_lock(42)',
      "SELECT count(*) > 0 AS left FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ],
    ['a table of pg_temp', 'CREATE TABLE pg_temp.mess (n int)', "SELECT to_regclass('mess') IS NOT NULL AS left"],
    [
      'a SET in a DO block',
      "DO $$ BEGIN SET work_mem = '65MB'; END $$",
      "SELECT current_setting('work_mem') = '65MB' AS left",
    ],
    [
      'what a long script does at its end',
      `SELECT 1 /* ${'-'.repeat(70_000)} */; SELECT pg_advisory_lock(42)`,
      "SELECT count(*) > 0 AS left FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ],
    [
      'a role by parameters of set_config',
      { text: 'SELECT set_config($1, $2, false)', values: ['role', 'pg_monitor'] },
      "SELECT current_user = 'pg_monitor' AS left",
    ],
    ['a role in quotes', 'SET "role" = pg_monitor', "SELECT current_user = 'pg_monitor' AS left"],
    ['a role behind comments', 'SET /* x */ ROLE pg_monitor', "SELECT current_user = 'pg_monitor' AS left"],
    [
      'a DO block behind a comment',
      "/* traced */ DO $$ BEGIN SET work_mem = '65MB'; END $$",
      "SELECT current_setting('work_mem') = '65MB' AS left",
    ],
    [
      'an update of pg_settings',
      "UPDATE pg_settings SET setting = '66560' WHERE name = 'work_mem'",
      "SELECT current_setting('work_mem') = '65MB' AS left",
    ],
    [
      'set_config in Unicode escapes',
      `SELECT U&"set\\005fconfig"('work_mem', '65MB', false)`,
      "SELECT current_setting('work_mem') = '65MB' AS left",
    ],
    [
      'a lock whose name is followed by a comment',
      'SELECT "pg_advisory_lock" /* x */ (42)',
      "SELECT count(*) > 0 AS left FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ],
    ['SET ROLE', 'SET ROLE pg_monitor', "SELECT current_user = 'pg_monitor' AS left"],
    [
      'PREPARE',
      'PREPARE plan AS SELECT 1',
      "SELECT count(*) > 0 AS left FROM pg_prepared_statements WHERE name = 'plan'",
    ],
  ])('%s is undone', async (_, dirty, look) => {
    const pool = one();
    await pool.query(dirty as string);
    expect((await pool.query(look)).rows[0].left).toBe(false);
    expect(pool.stats().resets).toBe(1);
    expect(pool.stats().opened).toBe(1);
  });

  test('a procedure may have done anything, and all of it is undone', async () => {
    const made = `CREATE OR REPLACE PROCEDURE mess_up() LANGUAGE plpgsql AS $$ BEGIN
        SET work_mem = '65MB';
        PERFORM pg_advisory_lock(42);
        EXECUTE 'CREATE TEMP TABLE mess (n int)';
        EXECUTE 'LISTEN news';
        EXECUTE 'PREPARE plan AS SELECT 1';
        EXECUTE 'DECLARE kept CURSOR WITH HOLD FOR SELECT 1';
      END $$`;
    const look = `SELECT current_setting('work_mem') = '65MB' AS setting, to_regclass('mess') IS NOT NULL AS tables,
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
        (SELECT count(*)::int FROM pg_listening_channels()) AS listens,
        (SELECT count(*)::int FROM pg_prepared_statements WHERE name = 'plan') AS plans,
        (SELECT count(*)::int FROM pg_cursors WHERE name = 'kept') AS cursors`;
    await one().query(made);
    for (const call of ['CALL mess_up()', 'DO $$ BEGIN CALL mess_up(); END $$']) {
      const pool = one();
      await pool.query({ name: 'named', text: 'SELECT 7 AS n' });
      await pool.query(call);
      const { rows } = await pool.query(look);
      expect(rows[0]).toEqual({ setting: false, tables: false, locks: 0, listens: 0, plans: 0, cursors: 0 });
      expect((await pool.query({ name: 'named', text: 'SELECT 7 AS n' })).rows).toEqual([{ n: 7 }]);
      expect(pool.stats()).toMatchObject({ opened: 1, resets: 1, resetsFailed: 0 });
    }
  });

  test("what a function does inside is not seen, and reset: 'full' undoes it", async () => {
    await one().query(`CREATE OR REPLACE FUNCTION hidden() RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN SET work_mem = '65MB'; PERFORM pg_advisory_lock(42); END $$`);
    const look = `SELECT current_setting('work_mem') = '65MB' AS setting,
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks`;
    const left = { lazy: { setting: true, locks: 1 }, full: { setting: false, locks: 0 } };
    for (const reset of ['lazy', 'full'] as const) {
      const pool = one({ reset });
      await pool.query('SELECT hidden()');
      expect((await pool.query(look)).rows[0]).toEqual(left[reset]);
    }
  });

  test('what the connect hook and a connect listener have set survives', async () => {
    const pool = one({ onConnect: (client: any) => client.query("SET search_path = 'pg_catalog'") });
    pool.on('connect', (client) => void client.query("SET application_name = 'mine'"));
    await pool.query("SET search_path = 'nowhere'");
    await pool.query("SET application_name = 'other'");
    const { rows } = await pool.query(
      "SELECT current_setting('search_path') AS path, current_setting('application_name') AS app",
    );
    expect(rows[0]).toEqual({ path: 'pg_catalog', app: 'mine' });
  });

  test.each([
    ['commits', false],
    ['rolls back', true],
  ])('a transaction that %s is cleaned up after in the same message', async (_, fails) => {
    const pool = one();
    const answers: string[] = [];
    const done = pool.transaction(async (tx) => {
      await tx.query("SET work_mem = '65MB'");
      await tx.query('LISTEN news');
      await tx.query('SELECT pg_advisory_lock(42)');
      const { connection } = tx.client as unknown as { connection: import('node:events').EventEmitter };
      connection.on('readyForQuery', () => answers.push('ready'));
      if (fails) throw new Error('no');
      return 'done';
    });
    expect(await done.catch(({ message }) => message)).toBe(fails ? 'no' : 'done');
    // Idle at once: nothing more is said.
    expect(pool.idleCount).toBe(1);
    expect(answers).toEqual(['ready']);
    const { rows } = await pool.query(
      `SELECT current_setting('work_mem') <> '65MB' AS reset, (SELECT count(*)::int FROM pg_listening_channels()) AS heard,
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS held`,
    );
    expect(rows[0]).toEqual({ reset: true, heard: 0, held: 0 });
    expect(pool.stats()).toMatchObject({ resets: 1, opened: 1 });
  });

  test('named statements of pg survive a reset of settings, and are known to be gone after DEALLOCATE ALL', async () => {
    const pool = one();
    const named = { name: 'n', text: 'SELECT 7 AS n' };
    await pool.query(named);
    await pool.query("SET work_mem = '65MB'");
    expect((await pool.query(named)).rows[0].n).toBe(7);
    await pool.query('PREPARE other AS SELECT 1');
    expect((await pool.query(named)).rows[0].n).toBe(7);
  });

  test.each([
    ['DISCARD ALL', 'DISCARD ALL'],
    ['DEALLOCATE ALL', 'DEALLOCATE ALL'],
  ])("pg's named statements are prepared again after the holder's own %s", async (_, sql) => {
    const pool = one();
    const named = { name: 'n', text: 'SELECT 7 AS n' };
    await pool.query(named);
    await pool.query(sql);
    expect((await pool.query(named)).rows[0].n).toBe(7);
  });

  test('queries sent without waiting are told apart: what the first one did is not taken for the last one', async () => {
    const pool = one();
    const client = await pool.connect();
    const sent = ["SET work_mem = '65MB'", "SET LOCAL work_mem = '66MB'"].map((sql) => client.query(sql));
    await Promise.all(sent);
    client.release();
    expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('65MB');
  });

  test('what a transaction sends without waiting for it is undone too', async () => {
    const pool = one();
    for (const sql of ["SET work_mem = '65MB'", 'LISTEN unawaited'])
      await pool.transaction(async (tx) => {
        await tx.query('SELECT pg_advisory_lock(77)');
        void tx.query(sql);
      });
    expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('65MB');
    expect((await pool.query('SELECT pg_listening_channels()')).rows).toEqual([]);
  });

  test('a named statement that the holder has deallocated is prepared again', async () => {
    const pool = one();
    const named = (name: string) => ({ name, text: 'SELECT 7 AS n' });
    for (const sql of ['DEALLOCATE first', "DO $$ BEGIN EXECUTE 'DEALLOCATE first'; END $$"]) {
      for (const name of ['first', 'second']) await pool.query(named(name));
      await pool.query(sql);
      await pool.query(named('first')).catch(() => {});
      for (const name of ['first', 'second']) expect((await pool.query(named(name))).rows).toEqual([{ n: 7 }]);
    }
  });

  test('a lock taken right behind a DISCARD ALL is let go of', async () => {
    const pool = one();
    const client = await pool.connect();
    await Promise.all([client.query('DISCARD ALL'), client.query('SELECT pg_advisory_lock(42)')]);
    client.release();
    const held = "SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    expect((await pool.query(held)).rows[0].n).toBe(0);
  });

  test.each(['DISCARD ALL', 'RESET ALL', 'RESET search_path'])(
    'what the connect hook has set survives a %s',
    async (sql) => {
      const pool = one({ onConnect: (client: any) => client.query("SET search_path = 'pg_catalog'") });
      await pool.query(sql);
      expect((await pool.query('SHOW search_path')).rows[0].search_path).toBe('pg_catalog');
    },
  );

  test.each(['DISCARD ALL', 'DEALLOCATE ALL', 'DEALLOCATE one'])(
    'what the connect hook has prepared survives a %s',
    async (sql) => {
      const pool = one({ onConnect: (client: any) => client.query('PREPARE one AS SELECT 1 AS n') });
      await pool.query(sql);
      for (let i = 0; i < 2; i++) expect((await pool.query('EXECUTE one')).rows).toEqual([{ n: 1 }]);
      expect(pool.stats().resets).toBe(1);
    },
  );

  test('what runs statements of the connect hook costs no connection, whatever else the hook has said with them', async () => {
    for (const hook of [
      "SET work_mem = '9MB'; PREPARE one AS SELECT 1 AS n",
      "PREPARE one AS SELECT 1 AS n; SELECT set_config('work_mem', '9MB', false)",
      "PREPARE one AS SELECT length(set_config('work_mem', '9MB', false))::int - 2 AS n",
    ]) {
      const pool = one({ onConnect: (client: any) => client.query(hook) });
      for (let i = 0; i < 3; i++) expect((await pool.query('EXECUTE one')).rows).toEqual([{ n: 1 }]);
      await pool.query("SET application_name = 'other'");
      expect((await pool.query('EXECUTE one')).rows).toEqual([{ n: 1 }]);
      expect(pool.stats()).toMatchObject({ opened: 1, resetsFailed: 0 });
    }
  });

  test('what the connect hook has put into a temporary table stays, or is put there again', async () => {
    const pool = one({
      onConnect: async (client: any) => {
        await client.query('CREATE TEMP TABLE cache (n int)');
        await client.query('INSERT INTO cache VALUES (1), (2)');
        await client.query('PREPARE cached AS SELECT count(*)::int AS n FROM cache');
      },
    });
    for (let i = 0; i < 3; i++) expect((await pool.query('EXECUTE cached')).rows).toEqual([{ n: 2 }]);
    expect(pool.stats().opened).toBe(1);
    await pool.query('CREATE TEMP TABLE own (n int)');
    expect((await pool.query('EXECUTE cached')).rows).toEqual([{ n: 2 }]);
    await pool.query('DISCARD ALL');
    expect((await pool.query('EXECUTE cached')).rows).toEqual([{ n: 2 }]);
  });

  test('a transaction of the connect hook costs no connection, and a table that it fills is full with every reset', async () => {
    const pool = one({
      onConnect: async (client: any) => {
        await client.query('BEGIN');
        await client.query("SET work_mem = '9MB'");
        await client.query('COMMIT');
      },
    });
    for (let i = 0; i < 3; i++) await pool.query("SET application_name = 'other'");
    expect((await pool.query('SHOW work_mem')).rows).toEqual([{ work_mem: '9MB' }]);
    expect(pool.stats()).toMatchObject({ opened: 1, resetsFailed: 0 });
    const full = one({
      reset: 'full',
      onConnect: async (client: any) => {
        await client.query('CREATE TEMP TABLE filled (n int)');
        await client.query('INSERT INTO filled VALUES (1)');
      },
    });
    for (let i = 0; i < 3; i++)
      expect((await full.query('SELECT count(*)::int AS n FROM filled')).rows).toEqual([{ n: 1 }]);
    expect(full.stats().resetsFailed).toBe(0);
  });

  test('a temporary table of the connect hook is there again after a DISCARD ALL', async () => {
    const pool = one({ onConnect: (client: any) => client.query('CREATE TEMP TABLE mine (n int)') });
    await pool.query('DISCARD ALL');
    expect((await pool.query('SELECT count(*)::int AS n FROM mine')).rows).toEqual([{ n: 0 }]);
  });

  test('a lock taken by a statement that the connect hook has prepared is given back', async () => {
    const pool = one({ onConnect: (client: any) => client.query('PREPARE locks(int) AS SELECT pg_advisory_lock($1)') });
    await pool.query('EXECUTE locks(5)');
    const held = "SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    expect((await pool.query(held)).rows[0].n).toBe(0);
  });

  test('a query still running at the release is waited for', async () => {
    const pool = one();
    const client = await pool.connect();
    const late = client.query("SELECT pg_sleep(0.05), 'late' AS it");
    client.release();
    expect((await pool.query("SELECT 'next' AS it")).rows[0].it).toBe('next');
    expect((await late).rows[0].it).toBe('late');
  });

  test("reset: 'full' undoes what no tag tells, 'none' undoes nothing", async () => {
    const hidden = "DO $$ BEGIN PERFORM pg_catalog.set_config('work_mem', '66MB', false); END $$";
    const look = "SELECT current_setting('work_mem') AS it";
    const full = one({ reset: 'full' });
    await full.query(hidden);
    expect((await full.query(look)).rows[0].it).not.toBe('66MB');
    const none = one({ reset: 'none' });
    await none.query("SET work_mem = '66MB'");
    expect((await none.query(look)).rows[0].it).toBe('66MB');
  });
});

describe('an error that pg makes by itself', () => {
  test.each([
    ['a name with another text', (client: any) => client.query({ name: 'twice', text: 'SELECT 2' })],
    ['values that are no array', (client: any) => client.query({ text: 'SELECT $1', values: 'x' })],
    ['nothing to run', (client: any) => client.query({})],
  ])('costs neither time nor the connection: %s', async (_, wrong) => {
    const pool = one({ resetTimeoutMillis: 600_000 });
    const client = await pool.connect();
    await client.query({ name: 'twice', text: 'SELECT 1' });
    await client.query("SET work_mem = '9MB'");
    // Released as early as can be.
    const told = new Promise((resolve) => {
      wrong({
        query: (config: object) =>
          client.query({ ...config } as any, (error: unknown) => {
            client.release();
            resolve(error);
          }),
      });
    });
    expect(await told).toBeInstanceOf(Error);
    expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('9MB');
    // And behind another that is still under way.
    const again = await pool.connect();
    const before = again.query("SET work_mem = '9MB'");
    const refused = wrong(again).catch((error: Error) => error);
    again.release();
    expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('9MB');
    await before;
    expect(await refused).toBeInstanceOf(Error);
    expect(pool.stats().opened).toBe(1);
  });
});
