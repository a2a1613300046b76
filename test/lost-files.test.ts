/** Files of a running daemon's that somebody removes: a cleaner of /tmp, a PgBouncer at its end. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Place, until } from './support/place.ts';
import { postgres } from './support/postgres.ts';

const server = postgres();
let place: Place;
afterEach(() => place.stop());

describe.runIf(process.platform !== 'win32')('a file that was removed', () => {
  test('is there again: the socket, at which people come in, and the pidfile', async () => {
    place = new Place(server);
    await place.begin(`pidfile = ${place.dir}/pid\n`);
    const socket = `${place.dir}/.s.PGSQL.${place.port}`;
    const early = await place.connect({ host: place.dir });
    // The second time it is one of our own making.
    for (let i = 0; i < 2; i++) {
      rmSync(socket);
      rmSync(`${place.dir}/pid`);
      await until(() => existsSync(socket) && existsSync(`${place.dir}/pid`));
      expect(readFileSync(`${place.dir}/pid`, 'utf8')).toBe(`${place.pid(0)}\n`);
      const late = await place.connect({ host: place.dir });
      for (const client of [early, late]) expect((await client.query('select 1 as x')).rows).toEqual([{ x: 1 }]);
    }
    expect(place.log()).toMatch(/WARNING the file of unix socket .* was removed, listening there again/);
  });

  test('with its folder is made when there is such a folder again, and the reason is told once', async () => {
    place = new Place(server);
    const folder = `${place.dir}/sockets`;
    const make = () => {
      mkdirSync(folder);
      chmodSync(folder, 0o777);
    };
    make();
    await place.begin(`unix_socket_dir = ${folder}\n`);
    rmSync(folder, { recursive: true });
    await until(() => /cannot listen on unix socket/.test(place.log()));
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    make();
    await until(() => existsSync(`${folder}/.s.PGSQL.${place.port}`));
    const client = await place.connect({ host: folder });
    expect((await client.query('select 1 as x')).rows).toEqual([{ x: 1 }]);
    expect(place.log().match(/was removed, listening there again/g)).toHaveLength(1);
    expect(place.log().match(/cannot listen on unix socket/g)).toHaveLength(1);
  });
});
