/** What signals do to a running daemon, as PgBouncer has it, and what the end of the process is. */
import { constants } from 'node:os';
import type { Daemon } from '../daemon.ts';

export interface SignalOptions {
  /**
   * The daemon runs from a file, as a service: HUP reads it again and TERM waits for clients, as in PgBouncer from 1.23 on.
   * Otherwise it runs in a terminal, and both do what Ctrl-C does: HUP means that the terminal was closed.
   */
  service: boolean;
  /** Runs after the daemon has ended, before the process does. */
  cleanUp?: () => Promise<void> | void;
}

/**
 * INT waits until servers are free, TERM until clients are gone; a second one of either ends at once, QUIT does so
 * always. HUP reloads, USR1 pauses, USR2 resumes. Ends the process when the daemon has ended.
 */
export async function serveUntilStopped(daemon: Daemon, options: SignalOptions): Promise<never> {
  let asked = 0;
  const stop = (name: string, mode: 'wait for clients' | 'wait for servers') => {
    if (asked++ > 0) {
      daemon.log(`got ${name} while shutting down, fast exit`);
      daemon.stop();
    } else {
      daemon.log(
        `got ${name}, shutting down, waiting for all ${mode.endsWith('servers') ? 'servers connections to be released' : 'clients disconnect'}`,
      );
      daemon.tellStopping();
      daemon.shutDown(mode);
    }
  };
  process.on('SIGINT', () => stop('SIGINT', 'wait for servers'));
  process.on('SIGTERM', () => stop('SIGTERM', options.service ? 'wait for clients' : 'wait for servers'));
  process.on('SIGQUIT', () => {
    daemon.log('got SIGQUIT, fast exit');
    daemon.stop();
  });
  process.on('SIGHUP', () => {
    if (!options.service) {
      stop('SIGHUP', 'wait for servers');
      return;
    }
    daemon.log('got SIGHUP, re-reading config');
    attempt(daemon, () => daemon.reload());
  });
  process.on('SIGUSR1', () => {
    if (refusedInShutdown(daemon, 'SIGUSR1')) return;
    if (daemon.pooler.pauseMode !== 'active') {
      daemon.log('got SIGUSR1, but already paused/suspended');
      return;
    }
    daemon.log('got SIGUSR1, pausing all activity');
    attempt(daemon, () => void daemon.operator.pause().catch(() => {}));
  });
  process.on('SIGUSR2', () => {
    if (refusedInShutdown(daemon, 'SIGUSR2')) return;
    if (daemon.pooler.pauseMode === 'active') {
      daemon.log('got SIGUSR2, but not paused/suspended');
      return;
    }
    daemon.log(`got SIGUSR2, continuing from ${daemon.pooler.pauseMode === 'suspended' ? 'SUSPEND' : 'PAUSE'}`);
    attempt(daemon, () => daemon.operator.resume());
  });
  await daemon.ended;
  await options.cleanUp?.();
  // A service that is told twice has ended as it was told to, as PgBouncer has.
  process.exit(asked > 1 && !options.service ? 128 + constants.signals.SIGINT : 0);
}

const EARLY: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'];

/**
 * Signals that come before the daemon serves wait until it does: by themselves they would end the process. Returns what lets
 * them go, to be called when it has its handlers.
 */
export function holdSignals(): () => void {
  const held: NodeJS.Signals[] = [];
  const hold = (name: NodeJS.Signals) => held.push(name);
  for (const name of EARLY) process.on(name, hold);
  return () => {
    for (const name of EARLY) process.off(name, hold);
    for (const name of held) process.emit(name, name);
  };
}

function refusedInShutdown(daemon: Daemon, name: string): boolean {
  if (daemon.pooler.shutdown === 'none') return false;
  daemon.log(`got ${name} while shutting down, ignoring`);
  return true;
}

function attempt(daemon: Daemon, act: () => void): void {
  try {
    act();
  } catch (error) {
    daemon.log((error as Error).message, 'ERROR');
  }
}
