/** What a SHOW view is: fixed columns, and rows made from a snapshot. */
import type { Column } from '@sluice/wire';
import { CONSOLE_DATABASE, CONSOLE_USER, type Config } from '../config/index.ts';
import type { DescriptorRow } from '../pooling/descriptor-rows.ts';
import type { Snapshot } from '../pooling/snapshot.ts';
import type { Carried, Cell } from './table.ts';

/** What views may look at. */
export interface ViewContext {
  readonly snapshot: Snapshot;
  readonly config: Config;
  /** The consoles that are open, as clients of the database `pgbouncer`. */
  readonly consoles: readonly ConsoleRow[];
  /** As `--version` prints it. */
  readonly version: string;
  /** The same at each call. For a client that is handed the descriptors themselves, those that can be. */
  descriptors(): readonly DescriptorRow[];
  /** The client is the daemon's own user, at its Unix socket: secrets are no news to it. */
  readonly own: boolean;
  /** The client is handed them. */
  readonly passesDescriptors: boolean;
}

export interface ConsoleRow {
  readonly id: number;
  readonly user: string;
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly connectedAt: Date;
  readonly requestedAt: Date;
  readonly tls: string;
  readonly applicationName: string;
}

export interface View {
  readonly columns: readonly Column[];
  /** It tells what others than admin_users must not know. */
  readonly adminOnly?: true;
  rows(context: ViewContext): (readonly Cell[])[];
  /** The descriptor that goes with each row, where the client is handed them. */
  carries?(context: ViewContext): readonly Carried[];
}

/** The console's database, its user and pool, as they stand in the views. */
export const CONSOLE = { database: CONSOLE_DATABASE, user: CONSOLE_USER, poolSize: 2, mode: 'statement' } as const;
