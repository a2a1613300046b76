// npm start: installs, builds, and runs the pooler in this terminal. Without arguments it is `sluice demo`; a URL or a file is
// `sluice start`; anything else goes to `sluice` as it is.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode } from './common.mjs';

const COMMANDS = new Set(['start', 'demo', 'check', 'help', '--help', '-h', '--version', '-V']);

function command(args) {
  const [first] = args;
  if (first === undefined || (first.startsWith('-') && !COMMANDS.has(first))) return ['demo', ...args];
  return COMMANDS.has(first) ? args : ['start', ...args];
}

function start() {
  const child = spawn(
    process.execPath,
    [join(ROOT, 'packages', 'sluice', 'bin', 'sluice.js'), ...command(process.argv.slice(2))],
    // A process group of its own: the terminal's Ctrl-C reaches the pooler once, through us, as one sent to us alone does.
    // Files are named as they are where npm was called.
    { stdio: 'inherit', detached: true, cwd: process.env.INIT_CWD ?? process.cwd() },
  );
  if (process.env.npm_lifecycle_event === 'start') endWithNpm(child);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.on('exit', () => child.kill());
  child.once('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 130)));
}

/** Who ends npm ends what it runs, which npm itself does not see to. */
function endWithNpm(child) {
  const npm = process.ppid;
  setInterval(() => process.ppid === npm || child.kill('SIGINT'), 1_000).unref();
}

requireNode();
install().then(build).then(start).catch(fail);
