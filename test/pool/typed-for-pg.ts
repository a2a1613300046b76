/**
 * A program for node-postgres that uses each name its types export, as a value where there is one and as a type. `npm run check`
 * reads it as it is; package.test.ts with the name of the package replaced, which is all that may have to change.
 */
import pg, {
  type BindConfig,
  Client,
  type ClientBase,
  type ClientConfig,
  Connection,
  type ConnectionConfig,
  type CustomTypesConfig,
  DatabaseError,
  type Defaults,
  defaults,
  type Events,
  type ExecuteConfig,
  escapeIdentifier,
  escapeLiteral,
  type FieldDef,
  type MessageConfig,
  type Notification,
  type native,
  Pool,
  type PoolClient,
  type PoolConfig,
  type PoolOptions,
  Query,
  type QueryArrayConfig,
  type QueryArrayResult,
  type QueryConfig,
  type QueryConfigValues,
  type QueryParse,
  type QueryResult,
  type QueryResultBase,
  type QueryResultRow,
  Result,
  type ResultBuilder,
  type Submittable,
  type TransactionStatus,
  TypeOverrides,
  types,
} from 'pg';

interface Row {
  id: number;
  name: string;
}

/** Is it what is expected, and not `any`? */
type Is<T, Expected> = 0 extends 1 & T ? false : T extends Expected ? true : false;
const yes = <T extends true>(_: T[]) => {};

export const config: PoolConfig & ClientConfig & ConnectionConfig = { max: 3, host: 'a', ssl: { ca: 'x' } };
export const pool: Pool = new Pool(config);
export class Mine extends Pool {
  constructor(options?: PoolConfig) {
    super({ ...options, Client: MyClient });
  }
}
export class MyClient extends Client {
  override connect(): Promise<this>;
  override connect(callback: (error: Error) => void): void;
  override connect(...args: [((error: Error) => void)?]): any {
    return super.connect(...(args as [() => void]));
  }
}
export const client: Client = new Client({ connectionString: 'x' });
export const base: ClientBase = client;
export const connection: Connection = new Connection();
export const overrides: TypeOverrides = new TypeOverrides();
export const custom: CustomTypesConfig = types;
export const parsed: unknown = types.getTypeParser(types.builtins.INT8, 'text')('1');
export const inUse: Defaults = defaults;
defaults.parseInt8 = true;
export const quoted: string = escapeIdentifier('a') + escapeLiteral('b');
export const result: Result<Row> = new Result<Row>('array', types);
export const query: Query<Row> = new Query<Row>('SELECT 1', (_error, built: ResultBuilder<Row>) => built.rows[0]!.id);
export const submitted: Submittable = query;
export type Several = [BindConfig, ExecuteConfig, MessageConfig, QueryParse, PoolOptions, Events, TransactionStatus];
export type OverLibpq = typeof native;

export function told(error: unknown, onNews: (news: Notification) => void): string | undefined {
  client.on('notification', onNews);
  if (!(error instanceof DatabaseError)) return undefined;
  const known: DatabaseError = error;
  return known.code;
}

export async function asked<R extends QueryResultRow = Row, I extends unknown[] = [number]>(
  held: PoolClient,
  text: QueryConfig<I>,
  values?: QueryConfigValues<I>,
): Promise<R[]> {
  const rows: QueryResult<R> = await held.query<R, I>(text, values);
  const fields: FieldDef[] = (rows as QueryResultBase).fields;
  const array: QueryArrayConfig<I> = { ...text, rowMode: 'array' };
  const arrays: QueryArrayResult<[number]> = await pool.query<[number]>(array);
  yes<Is<typeof arrays.rows, [number][]>>([]);
  yes<Is<typeof fields, { name: string }[]>>([]);
  held.release(new Error(arrays.rows[0]![0].toFixed()));
  return rows.rows;
}
export const connected = (): Promise<PoolClient> => pool.connect();
yes<Is<Query<Row>, Submittable>>([]);

/** What takes either, as helpers do. */
export async function either(db: Pool | PoolClient | Client): Promise<Row[]> {
  await db.query('SELECT $1', [1]);
  const { rows } = await db.query<Row>({ text: 'SELECT 1', values: [] });
  yes<Is<typeof rows, Row[]>>([]);
  return rows;
}

export const byDefault: pg.Pool = new pg.Pool({ Client: pg.Client, types: pg.types });
export class Another extends pg.Pool {}
export async function through(held: pg.PoolClient, wanted: pg.QueryConfig<[number]>): Promise<pg.QueryResult<Row>> {
  pg.defaults.user = pg.escapeLiteral('a') + pg.escapeIdentifier('b');
  const fresh: pg.Client = new pg.Client(pg.defaults satisfies pg.ClientConfig);
  await (pg.native ? new pg.native.Client() : fresh).connect();
  const failed = (error: unknown): pg.DatabaseError | null => (error instanceof pg.DatabaseError ? error : null);
  yes<Is<ReturnType<typeof failed>, { code?: string | undefined } | null>>([]);
  const all: [pg.Connection, pg.TypeOverrides, pg.Result] = [
    new pg.Connection(),
    new pg.TypeOverrides(),
    new pg.Result('', pg.types),
  ];
  const sent: pg.Submittable = new pg.Query('SELECT 1');
  const others: Partial<[pg.PoolConfig, pg.ClientBase, pg.Notification, pg.FieldDef, pg.QueryArrayResult<[number]>]> =
    [];
  yes<Is<typeof all, unknown[]>>([]);
  byDefault.query(sent);
  return (others.length === 0 ? held : byDefault).query<Row, [number]>(wanted);
}
