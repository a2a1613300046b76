/** What one command of the console comes to: finds the view or the command, checks rights and arguments, runs it. */
import type { Column } from '@sluice/wire';
import { OperatorError, UNDONE } from '../pooling/operator.ts';
import { COMMANDS, type Command, type CommandContext, ownOnly } from './commands.ts';
import { type Parsed, parseCommand } from './grammar.ts';
import { columns, type Table } from './table.ts';
import type { ViewContext } from './view.ts';
import { findView, HELP, isFakeParameter } from './views.ts';

export interface ConsoleNotice {
  readonly message: string;
  readonly detail?: string;
}

export type Answer =
  | { kind: 'done'; tag: string; table: Table | null; notices: readonly ConsoleNotice[] }
  | { kind: 'empty' }
  /** No answer: the process is about to end. */
  | { kind: 'silent' };

export interface InterpreterContext extends CommandContext {
  view(): ViewContext;
}

/** Throws an OperatorError that the client is told. */
export async function interpret(sql: string, admin: boolean, context: InterpreterContext): Promise<Answer> {
  const parsed = parseCommand(sql);
  switch (parsed.kind) {
    case 'empty':
      return { kind: 'empty' };
    case 'invalid':
      throw invalid(sql);
    case 'set':
      return set(parsed, admin, context);
    case 'command':
      return command(sql, parsed, admin, context);
  }
}

/** The columns of what a command would return, or null: for Describe. */
export function columnsOf(sql: string): readonly Column[] | null {
  const parsed = parseCommand(sql);
  if (parsed.kind !== 'command' || !isShow(parsed.name)) return null;
  return findView(parsed.arg)?.columns ?? null;
}

function isShow(name: string): boolean {
  return /^(?:show|select)$/i.test(name);
}

async function command(
  sql: string,
  { name, arg }: Extract<Parsed, { kind: 'command' }>,
  admin: boolean,
  context: InterpreterContext,
): Promise<Answer> {
  if (isShow(name)) return show(sql, arg, admin, context);
  const key = name.toLowerCase();
  if (key === 'carry_out' && admin) return carryOut(arg, context);
  const found = Object.hasOwn(COMMANDS, key) ? COMMANDS[key]! : null;
  if (found === null || (found.argument === 'none' && arg !== '')) throw invalid(sql);
  if (!admin) throw new OperatorError('admin access needed');
  if (found.argument === 'required' && arg === '') throw new OperatorError('a database is required');
  const tag = key.toUpperCase();
  if (!found.quiet) context.host.log(issued(tag, arg, found));
  const notices: ConsoleNotice[] = [];
  let table: Table | undefined;
  try {
    const running = found.run(context, arg);
    const before = found.passedOn ? context.host.passOn(sql) : null;
    const result = await running;
    if (result === 'silent') return { kind: 'silent' };
    table = result;
    const failure = await before;
    if (failure === UNDONE) throw new OperatorError(UNDONE);
    if (failure) notices.push({ message: `in the process before this one, which serves clients still: ${failure}` });
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid(sql);
    throw error;
  }
  return { kind: 'done', tag, table: table ?? null, notices };
}

/** PgBouncer's line. */
function issued(tag: string, arg: string, { keyword }: Command): string {
  if (arg === '') return `${tag} command issued`;
  return `${tag} ${keyword ? arg.toUpperCase() : `'${arg}'`} command issued`;
}

/** What a successor has asked for and not been told the outcome of yet, by its request: null while it is being done. */
const carriedOut = new Map<string, { failure: OperatorError | null } | null>();
const CARRIED_OUT = columns('i', ['done']);

/**
 * CARRY_OUT "NUMBER COMMAND": a command that holds for this process's clients, too, the text in hexadecimal. It is begun, and the answer says
 * whether it has ended; asked again until then, so that nothing else waits for it. Throws what it came to.
 */
function carryOut(request: string, context: InterpreterContext): Answer {
  ownOnly(context);
  const outcome = carriedOut.get(request);
  if (outcome) carriedOut.delete(request);
  if (outcome?.failure) throw outcome.failure;
  if (outcome === undefined) {
    carriedOut.set(request, null);
    const end = (failure: OperatorError | null) => carriedOut.set(request, { failure });
    interpret(Buffer.from(request.replace(/^\S+ /, ''), 'hex').toString(), true, context).then(() => end(null), end);
  }
  const table = { columns: CARRIED_OUT, rows: [[outcome ? 1 : 0]], carries: undefined };
  return { kind: 'done', tag: 'CARRY_OUT', table, notices: [] };
}

function show(sql: string, name: string, admin: boolean, context: InterpreterContext): Answer {
  if (name.toLowerCase() === 'help')
    return { kind: 'done', tag: 'SHOW', table: null, notices: [{ message: 'Console usage', detail: HELP }] };
  const view = findView(name);
  if (view === null) throw invalid(sql);
  if (view.adminOnly === true && !admin) throw new OperatorError('admin access needed');
  const seen = context.view();
  const { columns } = view;
  const carries = seen.passesDescriptors ? view.carries?.(seen) : undefined;
  return { kind: 'done', tag: 'SHOW', table: { columns, rows: view.rows(seen), carries }, notices: [] };
}

function set({ key, value }: Extract<Parsed, { kind: 'set' }>, admin: boolean, { host }: InterpreterContext): Answer {
  if (isFakeParameter(key)) return { kind: 'done', tag: 'SET', table: null, notices: [{ message: 'SET ignored' }] };
  if (!admin) throw new OperatorError('admin access needed');
  const warnings = host.set(key, value);
  return { kind: 'done', tag: `SET ${key}=${value}`, table: null, notices: warnings.map((message) => ({ message })) };
}

function invalid(sql: string): OperatorError {
  return new OperatorError(`invalid command '${sql.slice(0, 200)}', use SHOW HELP;`);
}
