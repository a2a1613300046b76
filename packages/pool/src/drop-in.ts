/**
 * What node-postgres exports besides its Pool, by the same names, so that the name of the package is all that changes in an import. Owns
 * nothing: all of it is the `pg` of the application. Types that are no classes come with `export type *` in index.ts.
 */
// biome-ignore-all lint/suspicious/noExplicitAny: the defaults of pg's type parameters
import type * as Pg from 'pg';
import driver from 'pg';
import type { PoolOptions as OurOptions } from './contract.ts';
import { Pool as OurPool } from './pool.ts';

// From the default export, since the ES module of an older pg has no other; and each with its type written out, which would
// otherwise lead into packages that only pg depends on.
export const Client: typeof Pg.Client = driver.Client;
export type Client = Pg.Client;
export const Connection: typeof Pg.Connection = driver.Connection;
export type Connection = Pg.Connection;
export const DatabaseError: typeof Pg.DatabaseError = driver.DatabaseError;
export type DatabaseError = Pg.DatabaseError;
export const Query: typeof Pg.Query = driver.Query;
export type Query<R extends Pg.QueryResultRow = any, I extends any[] = any> = Pg.Query<R, I>;
export const Result: typeof Pg.Result = driver.Result;
export type Result<R extends Pg.QueryResultRow = any> = Pg.Result<R>;
export const TypeOverrides: typeof Pg.TypeOverrides = driver.TypeOverrides;
export type TypeOverrides = Pg.TypeOverrides;
export const defaults: typeof Pg.defaults = driver.defaults;
export const escapeIdentifier: typeof Pg.escapeIdentifier = driver.escapeIdentifier;
export const escapeLiteral: typeof Pg.escapeLiteral = driver.escapeLiteral;
export const types: typeof Pg.types = driver.types;

/** All of pg in one object, `Pool` ours: the default export. */
interface Whole {
  Client: typeof Pg.Client;
  Connection: typeof Pg.Connection;
  DatabaseError: typeof Pg.DatabaseError;
  Pool: typeof OurPool;
  Query: typeof Pg.Query;
  Result: typeof Pg.Result;
  TypeOverrides: typeof Pg.TypeOverrides;
  defaults: typeof Pg.defaults;
  escapeIdentifier: typeof Pg.escapeIdentifier;
  escapeLiteral: typeof Pg.escapeLiteral;
  types: typeof Pg.types;
  /** The same over libpq; null where `pg-native` is not installed. It is loaded when it is asked for. */
  readonly native: Whole | null;
}

function withPool(of: object, Pool: typeof OurPool): Whole {
  return Object.defineProperties(
    {},
    {
      ...Object.getOwnPropertyDescriptors(of),
      Pool: { value: Pool, enumerable: true, configurable: true, writable: true },
    },
  ) as Whole;
}

function overLibpq(): Whole | null {
  const { native } = driver;
  if (!native) return null;
  class NativePool extends OurPool {
    constructor(options?: OurOptions) {
      super(options, native!.Client as never);
    }
  }
  return withPool(native, NativePool);
}

const whole = withPool(driver, OurPool);
Object.defineProperty(whole, 'native', {
  configurable: true,
  get() {
    const value = overLibpq();
    Object.defineProperty(whole, 'native', { value });
    return value;
  },
});

/** pg's types by the names that they have below its default export. */
declare namespace whole {
  type BindConfig = Pg.BindConfig;
  type Client = Pg.Client;
  type ClientBase = Pg.ClientBase;
  type ClientConfig = Pg.ClientConfig;
  type Connection = Pg.Connection;
  type ConnectionConfig = Pg.ConnectionConfig;
  type CustomTypesConfig = Pg.CustomTypesConfig;
  type DatabaseError = Pg.DatabaseError;
  type Defaults = Pg.Defaults;
  type Events = Pg.Events;
  type ExecuteConfig = Pg.ExecuteConfig;
  type FieldDef = Pg.FieldDef;
  type MessageConfig = Pg.MessageConfig;
  type Notification = Pg.Notification;
  type Pool = OurPool;
  type PoolClient = Pg.PoolClient;
  type PoolConfig = OurOptions;
  type PoolOptions = OurOptions;
  type QueryConfigValues<T> = Pg.QueryConfigValues<T>;
  type QueryParse = Pg.QueryParse;
  type QueryResultBase = Pg.QueryResultBase;
  type QueryResultRow = Pg.QueryResultRow;
  type Submittable = Pg.Submittable;
  type TypeOverrides = Pg.TypeOverrides;
  type Query<R extends Pg.QueryResultRow = any, I extends any[] = any> = Pg.Query<R, I>;
  type QueryArrayConfig<I = any[]> = Pg.QueryArrayConfig<I>;
  type QueryArrayResult<R extends any[] = any[]> = Pg.QueryArrayResult<R>;
  type QueryConfig<I = any[]> = Pg.QueryConfig<I>;
  type QueryResult<R extends Pg.QueryResultRow = any> = Pg.QueryResult<R>;
  type Result<R extends Pg.QueryResultRow = any> = Pg.Result<R>;
  type ResultBuilder<R extends Pg.QueryResultRow = any> = Pg.ResultBuilder<R>;
}

export default whole;
