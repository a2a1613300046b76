// npm run bench: PostgreSQL, Sluice and, where the machine has one, PgBouncer; the same load through each in alternating
// rounds; one table. Flags: --rounds N --seconds S --quick --out DIR. PGBOUNCER=path names a PgBouncer to compare with.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort, startEmbedded } from '../packages/sluice/dist/embedded/postgres.js';
import { cpuMicros, findProgram, listening, median, memoryBytes, percentile, run } from './lib.mjs';
import { renderMarkdown } from './report.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '6' },
    quick: { type: 'boolean' },
    out: { type: 'string', default: join(HERE, 'results') },
  },
});
const ROUNDS = values.quick ? 2 : Number(values.rounds);
const SECONDS = values.quick ? 3 : Number(values.seconds);
const POOL = 20;
const CLIENTS = 50;
const IDLE = values.quick ? [1_000] : [1_000, 5_000, 10_000];
const PGBENCH = findProgram('pgbench');
const PGBOUNCER = process.env.PGBOUNCER ?? findProgram('pgbouncer');
const PROTOCOLS = PGBENCH === null ? ['simple'] : ['simple', 'extended', 'prepared'];
const OPENSSL = findProgram('openssl');

const NOBODY = { uid: 65_534, gid: 65_534 };

const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
chmodSync(dir, 0o755);
const children = [];
let postgres;

async function cleanUp() {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await postgres?.stop('immediate');
  rmSync(dir, { recursive: true, force: true });
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => cleanUp().then(() => process.exit(130)));

/** A certificate for everybody, or null where there is no openssl. Names of files. */
async function certificate() {
  if (OPENSSL === null || PGBENCH === null) return null;
  const [key, cert] = [join(dir, 'tls.key'), join(dir, 'tls.crt')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  await run(OPENSSL, [...kind, '-subj', '/CN=localhost', '-keyout', key, '-out', cert]);
  // PostgreSQL wants its key to be its own and closed to others, a pooler that runs as nobody must read it too.
  chmodSync(key, 0o600);
  if (process.getuid() === 0) chownSync(key, NOBODY.uid, NOBODY.gid);
  return { key, cert };
}

/** Sluice with unnamed statements kept prepared: for the extended protocol only, the others are the same without. */
const PREPARING = { name: 'Sluice, prepare_threshold = 5', only: 'extended' };

/** One configuration for both poolers but for the port. */
function configuration(port, authType, tls, name) {
  const file = join(dir, `pool-${port}.ini`);
  writeFileSync(join(dir, 'users.txt'), `"postgres" "${postgres.password}"\n`);
  writeFileSync(
    file,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${postgres.port}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      `auth_type = ${authType}`,
      `auth_file = ${join(dir, 'users.txt')}`,
      'pool_mode = transaction',
      `default_pool_size = ${POOL}`,
      'max_client_conn = 20000',
      'max_prepared_statements = 200',
      'log_connections = 0',
      'log_disconnections = 0',
      'log_stats = 0',
      'ignore_startup_parameters = extra_float_digits',
      ...(name === PREPARING.name ? ['prepare_threshold = 5'] : []),
      ...(tls === null
        ? ['server_tls_sslmode = disable']
        : [
            'client_tls_sslmode = require',
            `client_tls_key_file = ${tls.key}`,
            `client_tls_cert_file = ${tls.cert}`,
            'server_tls_sslmode = require',
          ]),
    ].join('\n'),
  );
  chmodSync(join(dir, 'users.txt'), 0o644);
  return file;
}

async function startPooler(name, authType = 'trust', tls = null) {
  const port = await freePort();
  const file = configuration(port, authType, tls, name);
  const shell = (program, args) => ['-c', `ulimit -n $(ulimit -Hn); exec "$0" "$@"`, program, ...args];
  const nobody = name === 'PgBouncer' && process.getuid() === 0 ? NOBODY : {};
  const [program, args] =
    name !== 'PgBouncer'
      ? [process.execPath, [join(HERE, '..', 'packages', 'sluice', 'bin', 'sluice.js'), 'start', file]]
      : [PGBOUNCER, ['-q', file]];
  const child = spawn('/bin/sh', shell(program, args), { stdio: ['ignore', 'ignore', 'ignore'], cwd: dir, ...nobody });
  children.push(child);
  await listening(port, child);
  return { name, port, pid: child.pid, child };
}

function stopPooler(pooler) {
  return new Promise((resolve) => {
    pooler.child.once('close', resolve);
    pooler.child.kill('SIGKILL');
  });
}

const login = (port) => [
  '--port',
  String(port),
  '--user',
  'postgres',
  '--password',
  postgres.password,
  '--database',
  'postgres',
];
const client = (command, port, ...more) =>
  run('/bin/sh', [
    '-c',
    'ulimit -n $(ulimit -Hn); exec "$0" "$@"',
    process.execPath,
    join(HERE, 'client.mjs'),
    command,
    ...login(port),
    ...more,
  ]);

async function load(port, protocol, seconds, sslmode = 'disable') {
  if (PGBENCH === null)
    return JSON.parse(await client('load', port, '--clients', String(CLIENTS), '--seconds', String(seconds)));
  const logs = mkdtempSync(join(dir, 'log-'));
  const args = [
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-U',
    'postgres',
    '-S',
    '-n',
    '-M',
    protocol,
    '-c',
    String(CLIENTS),
    '-j',
    '1',
    '-T',
    String(seconds),
    '-l',
    '--sampling-rate=0.2',
    'postgres',
  ];
  const out = await run(PGBENCH, args, {
    cwd: logs,
    env: { ...process.env, PGPASSWORD: postgres.password, PGSSLMODE: sslmode },
  });
  const latencies = readdirSync(logs)
    .flatMap((name) => readFileSync(join(logs, name), 'utf8').trim().split('\n'))
    .map((line) => Number(line.split(' ')[2]) / 1000)
    .sort((a, b) => a - b);
  rmSync(logs, { recursive: true });
  return {
    transactions: Number(/actually processed: (\d+)/.exec(out)[1]),
    tps: Number(/tps = ([\d.]+)/.exec(out)[1]),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
}

async function measure(pooler, protocol, sslmode) {
  const before = pooler.pid === undefined ? null : cpuMicros(pooler.pid);
  const { transactions, tps, p50, p99 } = await load(pooler.port, protocol, SECONDS, sslmode);
  if (before === null) return { tps, p50, p99 };
  const after = cpuMicros(pooler.pid);
  return {
    tps,
    p50,
    p99,
    user: (after.user - before.user) / transactions,
    system: (after.system - before.system) / transactions,
  };
}

/** Everything in turn, each round beginning with another one: what the machine does beside hits all alike. */
async function throughput(poolers, protocols, sslmode = 'disable') {
  const rounds = [];
  const those = (protocol) => poolers.filter(({ only }) => only === undefined || only === protocol);
  for (const protocol of protocols) for (const pooler of those(protocol)) await load(pooler.port, protocol, 2, sslmode);
  for (let round = 0; round < ROUNDS; round++)
    for (const protocol of protocols)
      for (let i = 0; i < those(protocol).length; i++) {
        const pooler = those(protocol)[(i + round) % those(protocol).length];
        const name = sslmode === 'disable' ? protocol : `${protocol}, TLS on both sides`;
        rounds.push({ protocol: name, round, pooler: pooler.name, ...(await measure(pooler, protocol, sslmode)) });
      }
  return rounds;
}

async function throughputOverTls(names, tls) {
  const poolers = [];
  for (const name of names) poolers.push(await startPooler(name, 'trust', tls));
  const rounds = await throughput([...poolers, { name: 'direct', port: postgres.port }], ['simple'], 'require');
  for (const pooler of poolers) await stopPooler(pooler);
  return rounds;
}

async function idleMemory(name) {
  const pooler = await startPooler(name);
  await client('load', pooler.port, '--clients', '5', '--seconds', '1');
  const base = memoryBytes(pooler.pid);
  const rows = [{ pooler: name, clients: 0, bytes: base, perClient: 0 }];
  for (const count of IDLE) {
    const holder = spawn(
      '/bin/sh',
      [
        '-c',
        'ulimit -n $(ulimit -Hn); exec "$0" "$@"',
        process.execPath,
        join(HERE, 'client.mjs'),
        'idle',
        ...login(pooler.port),
        '--clients',
        String(count),
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    children.push(holder);
    await new Promise((resolve, reject) => {
      holder.stdout.once('data', resolve);
      holder.once('exit', () => reject(new Error('the idle clients ended')));
    });
    // Garbage of the logins is not the clients': give the collector the time it takes in life.
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const bytes = memoryBytes(pooler.pid);
    rows.push({ pooler: name, clients: count, bytes, perClient: (bytes - base) / count });
    const closed = new Promise((resolve) => holder.once('close', resolve));
    holder.removeAllListeners('exit');
    holder.stdin.end();
    await closed;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  await stopPooler(pooler);
  return rows;
}

async function loginRates(names) {
  const rows = [];
  for (const authType of ['trust', 'scram-sha-256']) {
    const poolers = [];
    for (const name of names) poolers.push(await startPooler(name, authType));
    for (const pooler of poolers) await client('login', pooler.port, '--clients', '10', '--seconds', '1');
    for (let round = 0; round < ROUNDS; round++)
      for (const pooler of round % 2 === 0 ? poolers : [...poolers].reverse()) {
        const { perSecond } = JSON.parse(await client('login', pooler.port, '--clients', '10', '--seconds', '2'));
        rows.push({ pooler: pooler.name, authType, round, perSecond });
      }
    for (const pooler of poolers) await stopPooler(pooler);
  }
  return rows;
}

async function main() {
  const tls = await certificate();
  const ssl = tls === null ? {} : { ssl: 'on', ssl_key_file: tls.key, ssl_cert_file: tls.cert };
  postgres = await startEmbedded({
    dataDir: join(dir, 'pg'),
    throwaway: true,
    settings: { max_connections: 300, shared_buffers: '256MB', password_encryption: 'scram-sha-256', ...ssl },
  });
  if (PGBENCH !== null)
    await run(
      PGBENCH,
      ['-h', '127.0.0.1', '-p', String(postgres.port), '-U', 'postgres', '-i', '-q', '-s', '10', 'postgres'],
      { env: { ...process.env, PGPASSWORD: postgres.password } },
    );
  else await client('load', postgres.port, '--clients', '1', '--seconds', '1').catch(() => {});
  const version = PGBOUNCER === null ? null : (await run(PGBOUNCER, ['--version'])).split('\n')[0];
  if (version !== null && !version.startsWith('PgBouncer'))
    throw new Error(
      `${PGBOUNCER} is no PgBouncer (it says ${version}): name one in PGBOUNCER, or take it from the PATH`,
    );
  const names = PGBOUNCER === null ? ['Sluice'] : ['Sluice', 'PgBouncer'];
  const poolers = [];
  for (const name of names) poolers.push(await startPooler(name));
  if (PROTOCOLS.includes(PREPARING.only)) poolers.push({ ...(await startPooler(PREPARING.name)), ...PREPARING });
  const rounds = await throughput([...poolers, { name: 'direct', port: postgres.port }], PROTOCOLS);
  for (const pooler of poolers) await stopPooler(pooler);
  if (tls !== null) rounds.push(...(await throughputOverTls(names, tls)));
  const memory = [];
  for (const name of names) memory.push(...(await idleMemory(name)));
  const logins = await loginRates(names);
  const machine = {
    cores: cpus().length,
    model: cpus()[0].model,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    postgres: postgres.version.split('-')[0],
    pgbouncer: version,
  };
  const result = {
    machine,
    load: {
      tool: PGBENCH === null ? 'own' : 'pgbench -S',
      clients: CLIENTS,
      pool: POOL,
      rounds: ROUNDS,
      seconds: SECONDS,
    },
    rounds,
    memory,
    logins,
  };
  const markdown = renderMarkdown(result, median);
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, 'latest.json'), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(join(values.out, 'latest.md'), markdown);
  process.stdout.write(markdown);
}

main()
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  })
  .finally(cleanUp);
