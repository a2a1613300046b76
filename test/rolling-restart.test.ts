/** Two processes on one port (so_reuseport), restarted one after the other while clients work: nobody notices. */
import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { freePort } from '../packages/sluice/src/embedded/postgres.ts';
import { Place, until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { ON_BUN } from './support/sluice.ts';

const server = postgres();
const places: Place[] = [];

afterEach(async () => {
  await Promise.all(places.splice(0).map((place) => place.stop()));
});

/** What an application's pool does: a connection is used some times and then replaced. */
const USES = 20;

test.skipIf(ON_BUN || process.platform !== 'linux')('no query is lost, and no login', async () => {
  const port = await freePort();
  const [a, b] = [new Place(server, port), new Place(server, port)];
  places.push(a, b);
  const settings = (own: number) =>
    `so_reuseport = 1\npeer_id = ${own}\n[peers]\n1 = host=${a.dir} port=${port}\n2 = host=${b.dir} port=${port}\n`;
  await a.begin(settings(1));
  await b.begin(settings(2));
  const counts = { logins: 0, transactions: 0 };
  let stop = false;
  const work = async () => {
    while (!stop) {
      const client = new pg.Client({ ...server, port });
      await client.connect();
      counts.logins++;
      for (let i = 0; i < USES && !stop; i++) {
        await client.query('begin');
        expect((await client.query('select $1::int as n', [i])).rows).toEqual([{ n: i }]);
        await client.query('commit');
        counts.transactions++;
      }
      await client.end();
    }
  };
  const load = Promise.all(Array.from({ length: 10 }, work));
  for (let round = 0; round < 3; round++)
    for (const place of [a, b]) {
      const before = counts.logins;
      await Promise.race([load, until(() => counts.logins > before + 50)]);
      await Promise.race([load, place.restart()]);
    }
  stop = true;
  await load;
  for (const { log } of [a, b].map((place) => ({ log: place.log() }))) {
    expect(log.match(/client connections dropped, exiting/g)).toHaveLength(3);
    expect(log).not.toMatch(/pooler error|server conn crashed/);
  }
});
