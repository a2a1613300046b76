// A load generator in a process of its own, for machines without pgbench, and for what pgbench does not do: idle clients and
// logins. It speaks the protocol itself. Commands: `load`, `idle`, `login`; prints one line of JSON.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string' },
    user: { type: 'string' },
    password: { type: 'string' },
    database: { type: 'string' },
    clients: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '5' },
    rows: { type: 'string', default: '100000' },
  },
});
const port = Number(values.port);
const clients = Number(values.clients);
const [command] = positionals;

const salted = new Map();

function message(type, body) {
  const head = Buffer.alloc(type === '' ? 4 : 5);
  if (type !== '') head.write(type);
  head.writeInt32BE(body.length + 4, head.length - 4);
  return Buffer.concat([head, body]);
}

/** Connects and logs in (trust, plain or SCRAM). `from`: a loopback address, so that ports do not run out. */
function login(from) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from, noDelay: true });
    let data = Buffer.alloc(0);
    const scram = {};
    socket.once('error', reject);
    socket.once('connect', () =>
      socket.write(
        message('', Buffer.from(`\0\x03\0\0user\0${values.user}\0database\0${values.database}\0\0`, 'latin1')),
      ),
    );
    const onData = (chunk) => {
      data = Buffer.concat([data, chunk]);
      while (data.length >= 5 && data.length > data.readInt32BE(1)) {
        const end = data.readInt32BE(1) + 1;
        const type = data[0];
        const body = data.subarray(5, end);
        data = data.subarray(end);
        if (type === 0x45) {
          reject(new Error(body.toString('latin1').replaceAll('\0', ' ')));
          socket.destroy();
        } else if (type === 0x52) answer(socket, body, scram);
        else if (type === 0x5a) {
          socket.removeListener('data', onData);
          resolve(socket);
        }
      }
    };
    socket.on('data', onData);
  });
}

function answer(socket, body, scram) {
  const code = body.readInt32BE(0);
  if (code === 3) socket.write(message('p', Buffer.from(`${values.password}\0`)));
  if (code === 10) {
    scram.nonce = randomBytes(18).toString('base64');
    scram.bare = `n=,r=${scram.nonce}`;
    const first = Buffer.from(`n,,${scram.bare}`);
    const size = Buffer.alloc(4);
    size.writeInt32BE(first.length);
    socket.write(message('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), size, first])));
  }
  if (code === 11) socket.write(message('p', proof(body.subarray(4).toString(), scram)));
}

function proof(challenge, scram) {
  const [, nonce, salt, iterations] = /r=([^,]+),s=([^,]+),i=(\d+)/.exec(challenge);
  const key = `${salt}${iterations}`;
  if (!salted.has(key))
    salted.set(key, pbkdf2Sync(values.password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256'));
  const hmac = (k, text) => createHmac('sha256', k).update(text).digest();
  const clientKey = hmac(salted.get(key), 'Client Key');
  const without = `c=biws,r=${nonce}`;
  const signature = hmac(createHash('sha256').update(clientKey).digest(), `${scram.bare},${challenge},${without}`);
  return Buffer.from(`${without},p=${Buffer.from(clientKey.map((byte, i) => byte ^ signature[i])).toString('base64')}`);
}

const address = (i) => `127.0.0.${2 + (i % 200)}`;

/** Single-row reads, as `pgbench -S`: as many as fit into the time. */
async function load() {
  const sockets = await Promise.all(Array.from({ length: clients }, (_, i) => login(address(i))));
  const latencies = [];
  const end = performance.now() + Number(values.seconds) * 1000;
  const begun = performance.now();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise((resolve) => {
          let sent = 0;
          const ask = () => {
            sent = performance.now();
            const id = 1 + Math.floor(Math.random() * Number(values.rows));
            socket.write(message('Q', Buffer.from(`SELECT abalance FROM pgbench_accounts WHERE aid = ${id};\0`)));
          };
          socket.on('data', (chunk) => {
            // ReadyForQuery ends the answer; it is short enough to come in one piece.
            if (chunk[chunk.length - 6] !== 0x5a) return;
            const now = performance.now();
            latencies.push(now - sent);
            if (now < end) ask();
            else resolve();
          });
          ask();
        }),
    ),
  );
  const seconds = (performance.now() - begun) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)];
  console.log(
    JSON.stringify({ transactions: latencies.length, tps: latencies.length / seconds, p50: at(0.5), p99: at(0.99) }),
  );
  process.exit(0);
}

/** Holds idle clients until its standard input ends. */
async function idle() {
  const sockets = [];
  for (let i = 0; i < clients; i += 50)
    sockets.push(
      ...(await Promise.all(Array.from({ length: Math.min(50, clients - i) }, (_, j) => login(address(i + j))))),
    );
  console.log(JSON.stringify({ held: sockets.length }));
  process.stdin.on('end', () => process.exit(0)).resume();
}

/** Connects, logs in and leaves, over and over. */
async function logins() {
  const begun = performance.now();
  const end = begun + Number(values.seconds) * 1000;
  let count = 0;
  const worker = async (i) => {
    while (performance.now() < end) {
      const socket = await login(address(i + count));
      socket.end(message('X', Buffer.alloc(0)));
      count++;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, i) => worker(i)));
  console.log(JSON.stringify({ logins: count, perSecond: count / ((performance.now() - begun) / 1000) }));
  process.exit(0);
}

const commands = { load, idle, login: logins };
commands[command]().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
