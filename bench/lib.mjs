// What the benchmark's parts share: processes, the operating system's accounting of them, medians.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';

const TICKS_PER_SECOND = 100;

/** Processor time of a process so far, in microseconds, from /proc/PID/stat. */
export function cpuMicros(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  const scale = 1e6 / TICKS_PER_SECOND;
  return { user: Number(fields[11]) * scale, system: Number(fields[12]) * scale };
}

/** Proportional set size of a process in bytes. */
export function memoryBytes(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)[1]) * 1024;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Runs a program to its end; rejects with its output when it fails. */
export function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${program} ${args.join(' ')} ended with ${code}:\n${err || out}`)),
    );
  });
}

/** Resolves when something listens on the port. */
export async function listening(port, child) {
  for (;;) {
    if (child.exitCode !== null) throw new Error('the program ended before it listened');
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** Where a program of this name is; null: nowhere. Not among those of npm's, where our own `pgbouncer` lies. */
export function findProgram(name) {
  const paths = (process.env.PATH ?? '').split(':').filter((folder) => !folder.includes('node_modules'));
  const folders = [...debian(), ...paths, '/usr/sbin'];
  for (const folder of folders)
    try {
      readFileSync(`${folder}/${name}`, { flag: 'r' });
      return `${folder}/${name}`;
    } catch {
      // not there
    }
  return null;
}

function debian() {
  try {
    return readdirSync('/usr/lib/postgresql').map((version) => `/usr/lib/postgresql/${version}/bin`);
  } catch {
    return [];
  }
}
