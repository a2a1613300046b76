/**
 * Reads a parse tree of PostgreSQL's own parser for what the text may leave behind in the session. Pure: tree in, suspicion
 * out. A function's body is not looked into; DO is taken for anything, and glanced at for what `refuse` must not let happen.
 */
import { isReadBy } from './read-by.ts';
import { signalsOf } from './signals.ts';
import {
  ALL_NAMES,
  ANYTHING,
  absorb,
  anythingIn,
  both,
  Keeps,
  type StateRefusal,
  type Suspicion,
  TEMPORARY_PATH,
} from './suspicion.ts';
import { type Node, nameOf, stringsOf } from './tree.ts';

const CURSOR_OPT_HOLD = 0x20;

/** Settings of the transaction, which end with it, and one that cannot be read back. */
const OF_THE_TRANSACTION = /^(?:transaction_(?:isolation|read_only|deferrable)|seed)$/;

/** Reported by every PostgreSQL that there is, and so with their client already (Parameters). */
const ALWAYS_FOLLOWED = new Set([
  'client_encoding',
  'datestyle',
  'timezone',
  'standard_conforming_strings',
  'application_name',
  'intervalstyle',
]);

const CHARACTERISTICS = [
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
];

/** Session-level advisory locks; those with `_xact_` in the name end with the transaction. */
const LOCK_FUNCTION = /^pg_(?:try_)?advisory_(?:lock|unlock)(?:_shared|_all)?$/;

const INSTEAD = {
  setting:
    'Use SET LOCAL inside the transaction, ALTER ROLE or ALTER DATABASE ... SET, or session_state = follow, which carries it along',
  temporary: 'Use ON COMMIT DROP inside the transaction, an ordinary (unlogged) table, or session_state = follow',
  cursor: 'Use a cursor without hold inside the transaction, or session_state = follow',
  lock: 'Use pg_advisory_xact_lock inside the transaction, or session_state = follow',
  listen: 'Listen over a connection of its own, to a pool in session mode or to PostgreSQL directly',
  prepare: 'Use prepared statements of the protocol (max_prepared_statements), or session_state = follow',
  load: 'Set session_preload_libraries with ALTER ROLE or ALTER DATABASE, or use session mode',
} as const;

const NOTHING: Suspicion = {
  names: new Set(),
  locals: new Set(),
  resets: new Set(),
  anySetting: false,
  keeps: 0,
  executes: false,
  unknowable: null,
  asksLastValue: false,
  databases: new Set(),
  signals: [],
  refusal: null,
};

function suspicion(part: Partial<Suspicion>): Suspicion {
  return { ...NOTHING, ...part };
}

const LAST_VALUE = /^(?:currval|lastval)$/;
/** What stands beside them and draws no value. Any other function might. */
const HARMLESS = /^(?:currval|lastval|pg_get_serial_sequence|quote_ident|quote_literal|format|concat|lower|upper)$/;
const MODIFIES = /^(?:Insert|Update|Delete|Merge)Stmt$/;

/** One SELECT that calls `currval` or `lastval` and nothing that could have drawn a value before. */
export function asksLastValue(tree: unknown): boolean {
  const { stmts } = tree as { stmts?: { stmt?: Node }[] };
  if (stmts?.length !== 1 || stmts[0]!.stmt?.SelectStmt === undefined) return false;
  const called = calledIn(stmts[0]!.stmt);
  if (called === null || !called.some((name) => LAST_VALUE.test(name))) return false;
  return called.every((name) => HARMLESS.test(name));
}

/** The names of the functions called; null when it modifies something. */
function calledIn(node: unknown): string[] | null {
  if (typeof node !== 'object' || node === null) return [];
  const found: string[] = [];
  for (const [kind, child] of Object.entries(node)) {
    if (MODIFIES.test(kind)) return null;
    if (kind === 'FuncCall') found.push(nameOf((child as Node).funcname));
    const inside = calledIn(child);
    if (inside === null) return null;
    found.push(...inside);
  }
  return found;
}

function refusal(what: string, instead: keyof typeof INSTEAD): StateRefusal {
  return { what, instead: INSTEAD[instead] };
}

/** Null: nothing is left behind. */
export function classify(tree: unknown): Suspicion | null {
  if (asksLastValue(tree)) return suspicion({ asksLastValue: true });
  // A text that signals does nothing else.
  const signals = signalsOf(tree);
  return signals.length > 0 ? suspicion({ signals }) : leftBehind(tree);
}

function leftBehind(tree: unknown): Suspicion | null {
  if (Array.isArray(tree)) return tree.reduce<Suspicion | null>((found, one) => add(found, leftBehind(one)), null);
  if (typeof tree !== 'object' || tree === null) return null;
  let found: Suspicion | null = null;
  for (const [kind, node] of Object.entries(tree)) {
    if (typeof node !== 'object' || node === null) continue;
    if (Object.hasOwn(NODES, kind)) found = add(found, NODES[kind]!(node as Node));
    found = add(found, leftBehind(node));
  }
  return found;
}

/** Made of others here, and so nobody else's: it may be added to. A new one each time would take as long as the square of a text. */
const OURS = new WeakSet<Suspicion>();

function add(found: Suspicion | null, more: Suspicion | null): Suspicion | null {
  if (more === null || found === null) return more ?? found;
  const sum = OURS.has(found) ? absorb(found, more) : both(found, more);
  OURS.add(sum);
  return sum;
}

/** What the nodes say that matter, by their kind. */
const NODES: Readonly<Record<string, (node: Node) => Suspicion | null>> = {
  VariableSetStmt: variable,
  FuncCall: call,
  // `CREATE TABLE pg_temp.x` and the like: whatever the statement, it names a temporary object.
  relation: named,
  UpdateStmt: update,
  rel: named,
  view: named,
  sequence: named,
  CreateStmt: (node) => temporary(node.relation as Node, node.oncommit),
  CreateSeqStmt: (node) => temporary(node.sequence as Node),
  ViewStmt: (node) => temporary(node.view as Node),
  CreateTableAsStmt: into,
  SelectStmt: into,
  CreateFunctionStmt: ({ funcname }) => inTemporarySchema(funcname),
  CreateEnumStmt: ({ typeName }) => inTemporarySchema(typeName),
  CreateDomainStmt: ({ domainname }) => inTemporarySchema(domainname),
  CompositeTypeStmt: ({ typevar }) => inTemporarySchema(typevar),
  CreateRangeStmt: ({ typeName }) => inTemporarySchema(typeName),
  // Aggregates, operators, types, collations and what belongs to text search.
  DefineStmt: ({ defnames }) => inTemporarySchema(defnames),
  CreateConversionStmt: ({ conversion_name: name }) => inTemporarySchema(name),
  CreateOpClassStmt: ({ opclassname }) => inTemporarySchema(opclassname),
  CreateOpFamilyStmt: ({ opfamilyname }) => inTemporarySchema(opfamilyname),
  DropStmt: () => suspicion({ keeps: Keeps.Temporary }),
  DiscardStmt: ({ target }) =>
    target === 'DISCARD_ALL'
      ? { ...ANYTHING, resets: new Set([ALL_NAMES]) }
      : target === 'DISCARD_TEMP'
        ? suspicion({ keeps: Keeps.Temporary })
        : null,
  DeclareCursorStmt: ({ options }) =>
    (Number(options ?? 0) & CURSOR_OPT_HOLD) === 0 ? null : keeping(Keeps.Cursor, 'a cursor WITH HOLD', 'cursor'),
  ClosePortalStmt: () => suspicion({ keeps: Keeps.Cursor }),
  ListenStmt: () => keeping(Keeps.Listen, 'LISTEN', 'listen'),
  UnlistenStmt: () => suspicion({ keeps: Keeps.Listen }),
  PrepareStmt: () => keeping(Keeps.Prepared, 'PREPARE', 'prepare'),
  DeallocateStmt: () => suspicion({ keeps: Keeps.Prepared }),
  ExecuteStmt: () => suspicion({ executes: true }),
  // What the body does stands in no tree.
  DoStmt: ({ args }) => body(JSON.stringify(args).replace(/\\[nrtf]/g, ' ')),
  CallStmt: () => ANYTHING,
  DropdbStmt: ({ dbname }) => alone(dbname),
  RenameStmt: ({ renameType, subname }) => (renameType === 'OBJECT_DATABASE' ? alone(subname) : null),
  CreatedbStmt: ({ options }) => alone(optionOf(options, 'template') ?? 'template1'),
  AlterDatabaseStmt: ({ dbname, options }) => (optionOf(options, 'tablespace') === null ? null : alone(dbname)),
  LoadStmt: () => suspicion({ unknowable: 'LOAD', refusal: refusal('LOAD', 'load') }),
};

/** Words in a body that nobody parses, for `refuse`: what it says in strings and comments is taken for what it does. */
const IN_BODY: readonly (readonly [RegExp, string, keyof typeof INSTEAD])[] = [
  [/\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(/i, 'an advisory lock in DO', 'lock'],
  [/\bset_config\s*\([^()]*,\s*(?:false|'f(?:alse)?'|'off'|'0')\s*\)/i, 'set_config() in DO', 'setting'],
  [/(?:;|\bbegin|\bthen|\belse|\bloop)\s+set\s+(?!local\b|transaction\b|constraints\b)\w/i, 'SET in DO', 'setting'],
  [/(?:;|\bbegin|\bthen|\belse|\bloop)\s+listen\s/i, 'LISTEN in DO', 'listen'],
];

const CREATES_TEMPORARY = /\bcreate\s+(?:(?:local|global)\s+)?temp(?:orary)?\b/i;
const DROPS = /\bon\s+commit\s+drop\b/i;

function body(text: string): Suspicion {
  const [, what, instead] = IN_BODY.find(([pattern]) => pattern.test(text)) ?? [];
  const found = anythingIn(text);
  if (what !== undefined) return { ...found, refusal: refusal(what, instead!) };
  // Behind the last ON COMMIT DROP: looked for once, not from each CREATE.
  const isLeft = CREATES_TEMPORARY.test(text.split(DROPS).at(-1)!);
  return isLeft ? { ...found, refusal: refusal('a temporary relation in DO', 'temporary') } : found;
}

/** The database as it is named in a text whose bytes were taken for a character each. */
function alone(name: unknown): Suspicion {
  return suspicion({ databases: new Set([Buffer.from(String(name), 'latin1').toString()]) });
}

/** What an option of a statement says; null: it is not there, or says nothing. */
function optionOf(options: unknown, name: string): string | null {
  for (const { DefElem } of (options ?? []) as readonly { DefElem?: Node }[])
    if (DefElem?.defname === name) return stringsOf([DefElem.arg ?? {}])[0] || null;
  return null;
}

function keeping(keeps: number, what: string, instead: keyof typeof INSTEAD): Suspicion {
  return suspicion({ keeps, refusal: refusal(what, instead) });
}

function variable(node: Node): Suspicion | null {
  const name = String(node.name ?? '').toLowerCase();
  if (node.is_local === true)
    return name === 'search_path' && mayBeginWithTemp(node.args) ? temporaries() : locally(name);
  switch (node.kind) {
    case 'VAR_RESET_ALL':
      return suspicion({ anySetting: true, resets: new Set([ALL_NAMES]) });
    case 'VAR_SET_MULTI':
      // The others, SET TRANSACTION, end with the transaction.
      return name === 'session characteristics' ? settings(CHARACTERISTICS, 'SET SESSION CHARACTERISTICS') : null;
    case 'VAR_RESET':
    case 'VAR_SET_DEFAULT':
      return { ...(settings([name], null) ?? NOTHING), resets: new Set([name]) };
    default:
      return name === 'search_path' ? searchPath(node.args) : settings([name], `SET ${name}`);
  }
}

/** Where the schema of temporary objects comes first, any CREATE makes one. */
function searchPath(args: unknown): Suspicion | null {
  const set = settings(['search_path'], 'SET search_path')!;
  return mayBeginWithTemp(args) ? { ...set, unknowable: TEMPORARY_PATH } : set;
}

/** Whatever stands before pg_temp may not exist. What is computed may be anything. */
function mayBeginWithTemp(args: unknown): boolean {
  return ((args ?? []) as readonly Node[]).some((arg) => /\bpg_temp\b/i.test(constantOf(arg)?.sval ?? 'pg_temp'));
}

const temporaries = () => keeping(Keeps.Temporary, 'a search_path with pg_temp', 'temporary');

/** For the time of the transaction. */
function locally(name: string): Suspicion | null {
  return isReadBy(name) ? suspicion({ locals: new Set([name]) }) : null;
}

/** `what` null: nothing is left that was not there before. */
function settings(names: readonly string[], what: string | null): Suspicion | null {
  const kept = names.filter((name) => !OF_THE_TRANSACTION.test(name) && !ALWAYS_FOLLOWED.has(name));
  if (kept.length === 0) return null;
  return suspicion({ names: new Set(kept), refusal: what === null ? null : refusal(what, 'setting') });
}

function call(node: Node): Suspicion | null {
  const name = stringsOf(node.funcname).at(-1) ?? '';
  if (LOCK_FUNCTION.test(name))
    return name.includes('unlock') ? suspicion({ keeps: Keeps.Lock }) : keeping(Keeps.Lock, `${name}()`, 'lock');
  return name === 'set_config' ? setConfig((node.args ?? []) as readonly Node[]) : null;
}

function setConfig([nameNode, valueNode = {}, localNode]: readonly Node[]): Suspicion | null {
  const temporary = constantOf(nameNode)?.sval?.toLowerCase() === 'search_path' && mayBeginWithTemp([valueNode]);
  const name = constantOf(nameNode)?.sval;
  if (constantOf(localNode)?.boolval === true)
    return temporary ? temporaries() : locally(name?.toLowerCase() ?? 'search_path');
  if (temporary) return searchPath([valueNode]);
  if (name !== undefined) return settings([name.toLowerCase()], `set_config('${name}')`);
  const what = 'set_config() with a computed name';
  return suspicion({ anySetting: true, unknowable: what, refusal: refusal(what, 'setting') });
}

/** PostgreSQL's manual: "Updating this view is the equivalent of executing SET". */
function update({ relation }: Node): Suspicion | null {
  const { relname, schemaname } = relation as Node;
  if (relname !== 'pg_settings' || (schemaname ?? 'pg_catalog') !== 'pg_catalog') return null;
  return suspicion({ anySetting: true, refusal: refusal('UPDATE pg_settings', 'setting') });
}

function named(node: Node): Suspicion | null {
  return node.schemaname === 'pg_temp' ? suspicion({ keeps: Keeps.Temporary }) : null;
}

function inTemporarySchema(name: unknown): Suspicion | null {
  return JSON.stringify(name ?? null).includes('"pg_temp"')
    ? keeping(Keeps.Temporary, 'a temporary function or type', 'temporary')
    : null;
}

function into(node: Node): Suspicion | null {
  const clause = (node.into ?? node.intoClause) as Node | undefined;
  return temporary(clause?.rel as Node | undefined, clause?.onCommit);
}

function temporary(target: Node | undefined, onCommit?: unknown): Suspicion | null {
  if (target?.relpersistence !== 't' && target?.schemaname !== 'pg_temp') return null;
  if (onCommit === 'ONCOMMIT_DROP') return suspicion({ keeps: Keeps.Temporary });
  return keeping(Keeps.Temporary, `the temporary relation ${String(target.relname)}`, 'temporary');
}

/** A constant, or a cast of one: its text, and whether it means true. Null: something that is computed. */
function constantOf(node: Node | undefined): { sval?: string; boolval: boolean } | null {
  const cast = node?.TypeCast as Node | undefined;
  if (cast !== undefined) return constantOf(cast.arg as Node);
  const constant = node?.A_Const as { sval?: { sval?: string }; boolval?: { boolval?: boolean } } | undefined;
  if (constant?.sval !== undefined) {
    const sval = constant.sval.sval ?? '';
    return { sval, boolval: /^(?:t|true|y|yes|on|1)$/i.test(sval) };
  }
  return constant?.boolval === undefined ? null : { boolval: constant.boolval.boolval === true };
}
