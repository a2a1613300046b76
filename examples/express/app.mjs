// The same on Express.
// DATABASE_URL=postgres://user:password@host/db PORT=3000 node examples/express/app.mjs
import { Pool } from '@sluice/pool';
import { sluicePool, start, stop } from '@sluice/pool/express';
import express from 'express';

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 5, connectionTimeoutMillis: 2_000 });
const app = express();
app.use(sluicePool(pool));

app.get('/balance', async (request, response) => {
  const db = await request.db(); // given back when the response has ended
  const { rows } = await db.query('select coalesce(sum(amount), 0)::int as balance from payments');
  response.json(rows[0]);
});

app.post('/pay/:amount', async (request, response) => {
  const balance = await pool.transaction(
    async (tx) => {
      await tx.query('insert into payments (amount) values ($1)', [Number(request.params.amount)]);
      const { rows } = await tx.query('select sum(amount)::int as balance from payments');
      // What is thrown undoes the transaction, and is the answer.
      if (rows[0].balance < 0) throw Object.assign(new Error('not enough'), { status: 409 });
      return rows[0].balance;
    },
    { isolation: 'serializable', retry: true },
  );
  response.json({ balance });
});

await pool.query('create table if not exists payments (amount int not null)');
const server = await start(app, pool, Number(process.env.PORT ?? 3000));
console.log(`listening on ${server.address().port}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop(server, pool));
