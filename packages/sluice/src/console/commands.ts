/**
 * The console's commands: a row each, with what it takes and what it does. Texts of errors are PgBouncer's where it has
 * them: scripts match on them.
 */
import type { Listener } from '../net/listen.ts';
import type { HandedOver } from '../pooling/hand-over.ts';
import { type Operator, OperatorError } from '../pooling/operator.ts';
import { columns, type Table } from './table.ts';

/** What only the daemon can do: files and the process. */
export interface ConsoleHost {
  readonly listeners: readonly Listener[];
  /** Reads the configuration again; throws an OperatorError when it is no good, and nothing was changed then. */
  reload(): void;
  /** SET: returns warnings; throws an OperatorError when it was refused. */
  set(name: string, value: string): readonly string[];
  /** Ends the process, now or when the last client, or the last server in use, is gone. */
  shutDown(mode: 'now' | 'wait for clients' | 'wait for servers'): void;
  /** Lets go of every listening socket for a successor, and ends the process when the last client is gone. */
  letGo(): void;
  /**
   * Hands listening sockets, and then step by step all connections, to a successor that receives descriptors at this path. Throws
   * an OperatorError when that cannot be.
   */
  handOver(path: string): HandedOver;
  /** A successor was asked to cancel a query of this process's: "PID KEY", the key in hexadecimal. False: nobody here has that process id. */
  cancelFor(request: string): boolean;
  /** No console is open any more. */
  successorLeft(): void;
  /**
   * Has the process that this one takes the place of do a command, too, as long as it serves clients. Resolves when it is done there,
   * with what went wrong; null: nothing. Never rejects.
   */
  passOn(command: string): Promise<string | null>;
  log(message: string): void;
}

export interface CommandContext {
  readonly operator: Operator;
  readonly host: ConsoleHost;
  /** The client is the daemon's own user, at the Unix socket. */
  readonly own: boolean;
  /** Ends the console of this number. False: there is none. */
  killConsole(id: number): boolean;
}

export interface Command {
  /** Its argument is a word of its own, which the log has without quotes. */
  readonly keyword?: true;
  /** Whether it takes the name of a database or the like. */
  readonly argument: 'none' | 'optional' | 'required';
  /** Not worth a line in the log each time. */
  readonly quiet?: true;
  /** It holds for the clients, too, that the process before this one still serves (-R). */
  readonly passedOn?: true;
  /**
   * Resolves when the command is done, with a table if it has one for an answer; 'silent' leaves the client without an answer, as
   * the process is about to end.
   */
  run(context: CommandContext, arg: string): Promise<undefined> | 'silent' | Table | undefined;
}

/** PgBouncer's SQLSTATE for a RELOAD that failed (config_file_error). */
export class ReloadError extends OperatorError {
  readonly sqlState = 'F0000';
}

function simple(argument: Command['argument'], act: (context: CommandContext, arg: string) => void): Command {
  return {
    argument,
    run(context, arg) {
      act(context, arg);
      return undefined;
    },
  };
}

function passedOn(command: Command): Command {
  return { ...command, passedOn: true };
}

async function done(work: Promise<void>): Promise<undefined> {
  await work;
}

function shutDown({ host, operator }: CommandContext, arg: string): 'silent' | undefined {
  switch (arg.toUpperCase()) {
    case '':
      host.shutDown('now');
      return 'silent';
    case 'WAIT_FOR_CLIENTS':
      host.shutDown('wait for clients');
      return undefined;
    case 'WAIT_FOR_SERVERS':
      host.shutDown('wait for servers');
      return undefined;
    case 'HAND_OVER':
      operator.mustRunAll();
      host.letGo();
      return undefined;
    default:
      throw new SyntaxError(`SHUTDOWN ${arg}`);
  }
}

/** By `id`, or by `ptr`, which is the same number in hexadecimal. */
function killClient({ operator, killConsole }: CommandContext, arg: string): void {
  if (!/^(?:\d{1,15}|0x[0-9a-f]{1,12})$/i.test(arg)) throw new OperatorError('invalid client pointer supplied');
  const id = Number(arg);
  if (!operator.killClient(id) && !killConsole(id)) throw new OperatorError('client not found');
}

const FOUND = columns('i', ['found']);
const HANDED_OVER = columns('iiis', ['moved', 'left', 'process_ids', 'strays']);

/** Secrets go along: only to a process of the same user. */
export function ownOnly({ own }: CommandContext): void {
  if (!own) throw new OperatorError('only the user of the process may do this, at its Unix socket');
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  disable: passedOn(simple('required', ({ operator }, arg) => operator.disable(arg))),
  enable: passedOn(simple('required', ({ operator }, arg) => operator.enable(arg))),
  forward_cancel: {
    argument: 'required',
    quiet: true,
    run(context, arg) {
      ownOnly(context);
      return { columns: FOUND, rows: [[context.host.cancelFor(arg) ? 1 : 0]] };
    },
  },
  hand_over: {
    argument: 'required',
    quiet: true,
    run(context, arg) {
      ownOnly(context);
      const { moved, left, processIds, strays } = context.host.handOver(arg);
      return { columns: HANDED_OVER, rows: [[moved, left, processIds, strays.join(',')]] };
    },
  },
  kill: passedOn(simple('optional', ({ operator }, arg) => operator.kill(arg))),
  kill_client: simple('optional', killClient),
  pause: {
    argument: 'optional',
    passedOn: true,
    run: ({ operator }, arg) => done(arg === '' ? operator.pause() : operator.pauseDatabase(arg)),
  },
  reconnect: passedOn(simple('optional', ({ operator }, arg) => operator.reconnect(arg))),
  reload: simple('none', ({ host }) => host.reload()),
  resume: passedOn(
    simple('optional', ({ operator }, arg) => (arg === '' ? operator.resume() : operator.resumeDatabase(arg))),
  ),
  shutdown: { argument: 'optional', keyword: true, run: shutDown },
  suspend: { argument: 'none', run: ({ operator }) => done(operator.suspend()) },
  wait_close: { argument: 'optional', passedOn: true, run: ({ operator }, arg) => done(operator.waitClose(arg)) },
};
