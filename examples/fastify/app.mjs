// A small service on Fastify: an account each request may pay from, in a transaction that is on one connection.
// DATABASE_URL=postgres://user:password@host/db PORT=3000 node examples/fastify/app.mjs
import { sluicePool } from '@sluice/pool/fastify';
import Fastify from 'fastify';

const app = Fastify({ forceCloseConnections: 'idle' });
await app.register(sluicePool, {
  pool: { connectionString: process.env.DATABASE_URL, max: 5, connectionTimeoutMillis: 2_000 },
});

app.get('/balance', async (request) => {
  const db = await request.db(); // given back when the response has been sent
  const { rows } = await db.query('select coalesce(sum(amount), 0)::int as balance from payments');
  return rows[0];
});

app.post('/pay/:amount', (request) => {
  const amount = Number(request.params.amount);
  // What the function throws undoes the transaction, and is the answer; it may run several times, so it answers nothing itself.
  return app.pool.transaction(
    async (tx) => {
      await tx.query('insert into payments (amount) values ($1)', [amount]);
      const { rows } = await tx.query('select sum(amount)::int as balance from payments');
      if (rows[0].balance < 0) throw Object.assign(new Error('not enough'), { statusCode: 409 });
      return { balance: rows[0].balance };
    },
    { isolation: 'serializable', retry: true },
  );
});

app.addHook('onReady', async () => {
  await app.pool.query('create table if not exists payments (amount int not null)');
});
await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
console.log(`listening on ${app.server.address().port}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close());
