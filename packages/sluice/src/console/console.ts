/**
 * The admin console: the database `pgbouncer`. Owns its open sessions and who may do what; the login itself is the login
 * desk's. Commands are in commands.ts, views in views.ts.
 */
import type { Column } from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { descriptorsPass } from '../net/descriptors.ts';
import { type DescriptorRow, descriptorRows } from '../pooling/descriptor-rows.ts';
import type { ConsoleClient, ConsoleDoor } from '../pooling/desk.ts';
import type { Operator } from '../pooling/operator.ts';
import { FORCED_DISCONNECT, type Pooler } from '../pooling/pooler.ts';
import { Snapshot } from '../pooling/snapshot.ts';
import type { ConsoleAccess } from '../pooling/visit.ts';
import { type ConsoleHost, ReloadError } from './commands.ts';
import { type Answer, columnsOf, type InterpreterContext, interpret } from './interpreter.ts';
import { ConsoleSession } from './session.ts';
import type { Carried } from './table.ts';
import { type ConsoleRow, CONSOLE as NAMES } from './view.ts';

/** PgBouncer's line, where the console has other words. */
const RELOAD_FAILED = 'RELOAD Failed, see logs for more details';

interface Open {
  readonly client: ConsoleClient;
  readonly conn: Conn;
  readonly session: ConsoleSession;
  readonly connectedAt: Date;
}

export class Console implements ConsoleDoor {
  readonly operator: Operator;
  readonly #pooler: Pooler;
  readonly #host: ConsoleHost;
  readonly #version: string;
  readonly #open = new Set<Open>();

  /** `version`: as `--version` prints it. */
  constructor(pooler: Pooler, operator: Operator, host: ConsoleHost, version: string) {
    this.#pooler = pooler;
    this.operator = operator;
    this.#host = host;
    this.#version = version;
  }

  /** admin_users may do everything, stats_users may look. */
  access(user: string): ConsoleAccess | null {
    const { adminUsers, statsUsers } = this.#pooler.config.global;
    if (adminUsers.includes(user)) return 'admin';
    return statsUsers.includes(user) ? 'stats' : null;
  }

  get reported(): ReadonlyMap<string, string> {
    return new Map([
      ['server_version', `${this.#version.replace(/^\D*/, '').split(' ')[0]}/bouncer`],
      ['client_encoding', 'UTF8'],
      ['server_encoding', 'UTF8'],
      ['DateStyle', 'ISO'],
      ['TimeZone', 'GMT'],
      ['standard_conforming_strings', 'on'],
      ['is_superuser', 'on'],
    ]);
  }

  enter(conn: Conn, client: ConsoleClient, rest: Buffer): void {
    const session = new ConsoleSession(this, conn, client);
    const open: Open = { client, conn, session, connectedAt: new Date() };
    this.#open.add(open);
    this.#pooler.consoleTraffic.logins++;
    void session.serve(rest).then((reason) => {
      this.#open.delete(open);
      client.left(reason, session.wasTold);
      if (this.#open.size === 0) this.#host.successorLeft();
      // Nobody is left who could resume.
      if (this.#open.size === 0 && this.#pooler.pauseMode === 'suspended' && this.#pooler.shutdown === 'none') {
        this.#host.log('admin disappeared when suspended, doing RESUME');
        this.operator.resume();
      }
    });
  }

  /** Ctrl-C in a console that waits for PAUSE or SUSPEND: the pooler runs again. */
  cancel(): void {
    if (this.#pooler.shutdown !== 'none' || this.#pooler.pauseMode === 'active') return;
    this.operator.resume();
    void this.#host.passOn('RESUME');
  }

  endAll(reason: string): void {
    for (const { session } of this.#open) session.end(reason);
  }

  run(sql: string, { access, own }: Pick<ConsoleClient, 'access' | 'own'>): Promise<Answer> {
    const pooler = this.#pooler;
    pooler.consoleTraffic.queries++;
    pooler.consoleTraffic.transactions++;
    // While anything is read and written here, two processes with one connection would spoil it.
    const passesDescriptors = own && descriptorsPass && pooler.pauseMode === 'suspended';
    let descriptors: readonly DescriptorRow[] | null = null;
    const context: InterpreterContext = {
      operator: this.operator,
      host: this.#host,
      own,
      killConsole: (id) => this.kill(id),
      view: () => ({
        snapshot: new Snapshot(pooler),
        config: pooler.config,
        consoles: [...this.#open].map(consoleRow),
        version: this.#version,
        own,
        passesDescriptors,
        descriptors: () => {
          descriptors ??= descriptorRows(pooler, this.#host.listeners).filter(
            ({ passing }) => passing !== null || !passesDescriptors,
          );
          return descriptors;
        },
      }),
    };
    return interpret(sql, access === 'admin', context);
  }

  /** Of rows with descriptors: another process has this one. */
  passedOn(carried: Carried): void {
    this.operator.passedOn(carried.done);
  }

  columnsOf(sql: string): readonly Column[] | null {
    return columnsOf(sql);
  }

  /** KILL_CLIENT of a console. False: there is none of this number. */
  kill(id: number): boolean {
    const found = [...this.#open].find(({ client }) => client.id === id);
    found?.session.end(FORCED_DISCONNECT);
    return found !== undefined;
  }

  /** A command has failed. What a RELOAD lacks stands in the log already. */
  report(error: Error, { name }: Pick<ConsoleClient, 'name'>): void {
    this.#pooler.log.error(error instanceof ReloadError ? RELOAD_FAILED : error.message);
    if (this.#pooler.config.global.logPoolerErrors) this.#pooler.log.warn(`pooler error: ${error.message}`, name);
  }
}

function consoleRow({ client, conn, session, connectedAt }: Open): ConsoleRow {
  return {
    id: client.id,
    user: client.access === 'admin' && client.own ? NAMES.user : client.user,
    address: conn.remote.address,
    port: conn.remote.port,
    localAddress: conn.local.address,
    localPort: conn.local.port,
    connectedAt,
    requestedAt: session.requestedAt,
    tls: conn.tls?.description ?? '',
    applicationName: client.applicationName,
  };
}
