/**
 * What a text does to sessions by their numbers (pg_cancel_backend, pg_terminate_backend), where its tree leaves no doubt whom it means: the
 * number stands in the call, or the call is for each row of pg_stat_activity whose pid is that and about which nothing else is asked. Pure.
 */
import { type Node, nameOf } from './tree.ts';

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

/** Statements that may stand beside it: what an INSERT does, or an EXPLAIN leaves out, is not known. */
const BESIDE = /^(?:SelectStmt|TransactionStmt|VariableSetStmt)$/;
const PARTS = new Set(['targetList', 'fromClause', 'whereClause', 'limitOption', 'op']);
const PARTS_OF_CALL = new Set(['funcname', 'args', 'funcformat', 'location']);

/** Of all statements of the text; empty: it concerns nobody, as far as can be told. */
export function signalsOf(tree: unknown): SessionSignal[] {
  const { stmts = [] } = tree as { stmts?: { stmt?: Node }[] };
  const statements = stmts.map(({ stmt = {} }) => stmt);
  if (!statements.every((statement) => Object.keys(statement).every((kind) => BESIDE.test(kind)))) return [];
  return statements.flatMap(({ SelectStmt }) => (SelectStmt === undefined ? [] : signalsIn(SelectStmt as Node)));
}

function signalsIn(select: Node): SessionSignal[] {
  if (select.op !== 'SETOP_NONE' || !Object.keys(select).every((part) => PARTS.has(part))) return [];
  return listOf(select.targetList).flatMap(({ ResTarget }) => {
    const call = uncast((ResTarget as Node | undefined)?.val).FuncCall as Node | undefined;
    const kind = call === undefined ? undefined : KINDS.get(nameOf(call.funcname));
    if (call === undefined || kind === undefined || !Object.keys(call).every((part) => PARTS_OF_CALL.has(part)))
      return [];
    const [whom] = listOf(call.args);
    const meant = whom === undefined ? null : isPid(whom) ? rowsMeant(select) : alone(select) ? [whom] : null;
    return meant === null ? [] : gather(kind, meant);
  });
}

/** Is the call made once, whatever there is in the database? */
function alone({ fromClause, whereClause }: Node): boolean {
  return fromClause === undefined && whereClause === undefined;
}

/** With what the pid of pg_stat_activity is compared; null: nothing that can be told. */
function rowsMeant({ fromClause, whereClause }: Node): readonly Node[] | null {
  const [from, ...others] = listOf(fromClause);
  const table = from?.RangeVar as Node | undefined;
  if (others.length > 0 || table?.relname !== 'pg_stat_activity') return null;
  if ((table.schemaname ?? 'pg_catalog') !== 'pg_catalog') return null;
  const condition = (whereClause as Node | undefined)?.A_Expr as Node | undefined;
  if (condition === undefined || nameOf(condition.name) !== '=') return null;
  const [left, right] = [condition.lexpr as Node, condition.rexpr as Node];
  switch (condition.kind) {
    case 'AEXPR_OP':
      return isPid(left) ? [right] : isPid(right) ? [left] : null;
    case 'AEXPR_IN':
      return isPid(left) ? listOf((right.List as Node | undefined)?.items) : null;
    case 'AEXPR_OP_ANY':
      return isPid(left) ? listOf((uncast(right).A_ArrayExpr as Node | undefined)?.elements) : null;
    default:
      return null;
  }
}

function gather(kind: SessionSignal['kind'], meant: readonly Node[]): SessionSignal[] {
  const numbers: number[] = [];
  const params: number[] = [];
  for (const each of meant) {
    const { A_Const, ParamRef } = uncast(each) as { A_Const?: Node; ParamRef?: Node };
    const constant = A_Const as { ival?: { ival?: number }; sval?: { sval?: string } } | undefined;
    const number = Number(constant?.ival?.ival ?? constant?.sval?.sval ?? Number.NaN);
    if (Number.isInteger(number)) numbers.push(number);
    if (ParamRef !== undefined) params.push(Number(ParamRef.number ?? 0));
  }
  return numbers.length + params.length === 0 ? [] : [{ kind, numbers, params }];
}

function isPid(node: Node): boolean {
  const fields = listOf((node.ColumnRef as Node | undefined)?.fields);
  return (fields.at(-1)?.String as Node | undefined)?.sval === 'pid';
}

function uncast(node: unknown): Node {
  const cast = (node as Node | undefined)?.TypeCast as Node | undefined;
  return cast === undefined ? ((node ?? {}) as Node) : uncast(cast.arg);
}

function listOf(list: unknown): readonly Node[] {
  return (list ?? []) as readonly Node[];
}
