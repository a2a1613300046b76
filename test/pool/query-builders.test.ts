/** Knex and Sequelize on this pool: a transaction stays on one connection, and what they take they give back. */
import knex from 'knex';
import pg from 'pg';
import { Sequelize } from 'sequelize';
import { describe, expect, test } from 'vitest';
import type { Pool } from '../../packages/pool/src/index.ts';
import { at, failure, makePool } from './support.ts';

const PID = 'SELECT pg_backend_pid() AS pid, txid_current() AS xid';

/** The statements of a transaction ran on one connection and in one transaction. */
function expectOne(rows: { pid: number; xid: string }[]) {
  expect(rows.length).toBeGreaterThan(1);
  expect(new Set(rows.map(({ pid }) => pid)).size).toBe(1);
  expect(new Set(rows.map(({ xid }) => xid)).size).toBe(1);
}

describe('Knex, which takes the pool as connectionPool', () => {
  const open = (pool: Pool) => knex({ client: 'pg', connectionPool: pool as any });

  test('keeps a transaction on one connection while others use theirs', async () => {
    const pool = makePool({ max: 3 });
    const db = open(pool);
    const ask = async (on: any) => (await on.raw(PID)).rows[0];
    const seen = await Promise.all(
      [1, 2].map(() => db.transaction(async (tx) => [await ask(tx), await ask(db), await ask(tx), await ask(tx)])),
    );
    for (const [first, beside, ...later] of seen) {
      expectOne([first, ...later]);
      expect(beside.xid).not.toBe(first.xid);
    }
    expect(seen[0]![0].pid).not.toBe(seen[1]![0].pid);
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
    await db.destroy();
    expect(pool.ending).toBe(false);
  });

  test('rolls back what fails, in a savepoint too', async () => {
    const pool = makePool({ max: 1 });
    const db = open(pool);
    await db.schema.dropTableIfExists('knexed');
    await db.schema.createTable('knexed', (table) => table.integer('n'));
    await db.transaction(async (tx) => {
      await tx('knexed').insert({ n: 1 });
      const inner = tx.transaction(async (nested) => {
        await nested('knexed').insert({ n: 2 });
        await nested.raw('SELECT 1/0');
      });
      expect((await failure(inner)).code).toBe('22012');
      await tx('knexed').insert({ n: 3 });
    });
    await failure(
      db.transaction(async (tx) => {
        await tx('knexed').insert({ n: 4 });
        throw new Error('no');
      }),
    );
    expect((await db('knexed').orderBy('n')).map(({ n }) => n)).toEqual([1, 3]);
    await db.schema.dropTable('knexed');
    expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
    await db.destroy();
  });
});

describe('Sequelize, whose own pool is replaced', () => {
  /** What docs/coming-from.md shows. Sequelize sets up each of its connections; the pool's do that in afterConnect. */
  function open(options: object = {}): { sequelize: Sequelize; pool: Pool } {
    const { user, password, ...rest } = at();
    const sequelize = new Sequelize({
      dialect: 'postgres',
      dialectModule: pg,
      username: user,
      password,
      ...rest,
      databaseVersion: '18.0.0',
      logging: false,
    } as any);
    const pool = makePool({ ...options, afterConnect: (client) => client.query("SET TIME ZONE '+00:00'") });
    (sequelize as any).connectionManager.pool = {
      acquire: () => pool.connect(),
      release: (client: pg.PoolClient) => client.release(),
      destroy: (client: pg.PoolClient) => client.release(true),
      drain: () => pool.end(),
      destroyAllNow: async () => {},
    };
    return { sequelize, pool };
  }

  test('keeps a transaction on one connection while others use theirs', async () => {
    const { sequelize, pool } = open({ max: 3 });
    const ask = async (transaction?: any) =>
      (await sequelize.query(PID, { plain: true, type: 'SELECT', transaction } as any)) as any;
    const seen = await Promise.all(
      [1, 2].map(() => sequelize.transaction(async (tx) => [await ask(tx), await ask(), await ask(tx), await ask(tx)])),
    );
    for (const [first, beside, ...later] of seen) {
      expectOne([first, ...later]);
      expect(beside.xid).not.toBe(first.xid);
    }
    expect(seen[0]![0].pid).not.toBe(seen[1]![0].pid);
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
    await sequelize.close();
    expect([pool.ended, pool.totalCount]).toEqual([true, 0]);
  });

  test('rolls back what fails and gives the connection back', async () => {
    const { sequelize, pool } = open({ max: 1 });
    await sequelize.query('CREATE TABLE IF NOT EXISTS sequelized (n int)');
    await sequelize.transaction((transaction) => sequelize.query('INSERT INTO sequelized VALUES (1)', { transaction }));
    await failure(
      sequelize.transaction(async (transaction) => {
        await sequelize.query('INSERT INTO sequelized VALUES (2)', { transaction });
        await sequelize.query('SELECT 1/0', { transaction });
      }),
    );
    const [rows] = await sequelize.query('SELECT n FROM sequelized');
    expect(rows).toEqual([{ n: 1 }]);
    await sequelize.query('DROP TABLE sequelized');
    expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
    await sequelize.close();
  });
});
