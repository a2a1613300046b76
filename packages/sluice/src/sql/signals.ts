/**
 * What a text does to sessions by their numbers (pg_cancel_backend, pg_terminate_backend), where its tree leaves no doubt whom it means and that
 * it does it: the text is one SELECT of nothing else; the number stands in the call, or the call is for each row of pg_stat_activity whose pid is
 * that and about which nothing else is asked. Pure.
 */
import { type Node, nameOf, stringsOf } from './tree.ts';

export interface SessionSignal {
  readonly kind: 'cancel' | 'terminate';
  readonly numbers: readonly number[];
  /** Numbers of parameters, from 1, whose values are such numbers. */
  readonly params: readonly number[];
}

const KINDS: ReadonlyMap<string, SessionSignal['kind']> = new Map([
  ['pg_cancel_backend', 'cancel'],
  ['pg_terminate_backend', 'terminate'],
]);

/** Of an int4. */
const LARGEST = 2_147_483_647;
const PARTS = new Set(['targetList', 'fromClause', 'whereClause', 'limitOption', 'op']);
const PARTS_OF_CALL = new Set(['funcname', 'args', 'funcformat', 'location']);

/** Of a text that does nothing else; empty: it concerns nobody, as far as can be told. */
export function signalsOf(tree: unknown): SessionSignal[] {
  const { stmts = [] } = tree as { stmts?: { stmt?: Node }[] };
  const select = stmts.length === 1 ? (stmts[0]!.stmt?.SelectStmt as Node | undefined) : undefined;
  if (select?.op !== 'SETOP_NONE' || !Object.keys(select).every((part) => PARTS.has(part))) return [];
  const signals = listOf(select.targetList).map((target) => signalOf(select, target));
  return signals.includes(null) ? [] : (signals as SessionSignal[]);
}

function signalOf(select: Node, { ResTarget }: Node): SessionSignal | null {
  const call = ((ResTarget as Node | undefined)?.val as Node | undefined)?.FuncCall as Node | undefined;
  const kind = KINDS.get(nameOf(call?.funcname));
  if (call === undefined || kind === undefined || !Object.keys(call).every((part) => PARTS_OF_CALL.has(part)))
    return null;
  const [whom, patience, ...others] = listOf(call.args);
  if (whom === undefined || others.length > 0) return null;
  // The milliseconds that pg_terminate_backend is to wait.
  if (patience !== undefined && (kind !== 'terminate' || numberOf(patience) === null)) return null;
  const meant = isColumn(whom) ? rowsMeant(select, whom) : alone(select) ? [whom] : null;
  return meant === null ? null : gather(kind, meant);
}

/** Is the call made once, whatever there is in the database? */
function alone({ fromClause, whereClause }: Node): boolean {
  return fromClause === undefined && whereClause === undefined;
}

/** With what the pid of pg_stat_activity, which is what the call is given, is compared; null: nothing that can be told. */
function rowsMeant({ fromClause, whereClause }: Node, given: Node): readonly Node[] | null {
  const [from, ...others] = listOf(fromClause);
  const table = from?.RangeVar as Node | undefined;
  if (others.length > 0 || table?.relname !== 'pg_stat_activity' || table.catalogname !== undefined) return null;
  if ((table.schemaname ?? 'pg_catalog') !== 'pg_catalog') return null;
  const alias = table.alias as Node | undefined;
  const name = String(alias?.aliasname ?? table.relname);
  if (alias?.colnames !== undefined || !isPid(given, name)) return null;
  const condition = (whereClause as Node | undefined)?.A_Expr as Node | undefined;
  if (condition === undefined || nameOf(condition.name) !== '=') return null;
  const [left, right] = [condition.lexpr as Node, condition.rexpr as Node];
  switch (condition.kind) {
    case 'AEXPR_OP':
      return isPid(left, name) ? [right] : isPid(right, name) ? [left] : null;
    case 'AEXPR_IN':
      return isPid(left, name) ? listOf((right.List as Node | undefined)?.items) : null;
    case 'AEXPR_OP_ANY': {
      const elements = listOf((right.A_ArrayExpr as Node | undefined)?.elements);
      // Of constants that say what they are: others would make it an array of texts.
      return isPid(left, name) && elements.every(({ A_Const }) => (A_Const as Node | undefined)?.ival)
        ? elements
        : null;
    }
    default:
      return null;
  }
}

function gather(kind: SessionSignal['kind'], meant: readonly Node[]): SessionSignal | null {
  const numbers: number[] = [];
  const params: number[] = [];
  for (const each of meant) {
    const number = numberOf(each);
    const param = Number(((uncast(each).ParamRef as Node | undefined)?.number as number | undefined) ?? 0);
    if (number === null && param === 0) return null;
    if (number !== null) numbers.push(number);
    else params.push(param);
  }
  return { kind, numbers, params };
}

/** A constant that PostgreSQL takes for this whole number. */
function numberOf(node: Node): number | null {
  const { A_Const } = uncast(node) as { A_Const?: { ival?: { ival?: number }; sval?: { sval?: string } } };
  return processIdIn(String(A_Const?.ival?.ival ?? A_Const?.sval?.sval ?? ''));
}

/** Null: it is none. */
export function processIdIn(text: string): number | null {
  return /^[0-9]{1,10}$/.test(text) && Number(text) <= LARGEST ? Number(text) : null;
}

function isColumn(node: Node): boolean {
  return node.ColumnRef !== undefined;
}

/** `pid`, or `TABLE.pid`. */
function isPid(node: Node, table: string): boolean {
  const fields = stringsOf((node.ColumnRef as Node | undefined)?.fields);
  return fields.at(-1) === 'pid' && (fields.length === 1 || (fields.length === 2 && fields[0] === table));
}

/** What is cast to a process id, once; another cast might make another number of it. */
function uncast(node: Node): Node {
  const { arg, typeName } = (node.TypeCast ?? {}) as { arg?: Node; typeName?: Node };
  if (arg === undefined) return node;
  const isPlain = nameOf(typeName?.names) === 'int4' && typeName?.typemod === -1 && typeName?.arrayBounds === undefined;
  return isPlain ? arg : {};
}

function listOf(list: unknown): readonly Node[] {
  return (list ?? []) as readonly Node[];
}
