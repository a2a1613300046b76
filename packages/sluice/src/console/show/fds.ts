/** SHOW FDS: descriptors and what is needed to go on with them. Source: PgBouncer's usage.md, admin.c. */
import type { DescriptorRow } from '../../pooling/descriptor-rows.ts';
import { type Cell, columns } from '../table.ts';
import type { View } from '../view.ts';

const NAMES = [
  ...['fd', 'task', 'user', 'database', 'addr', 'port', 'cancel', 'link'],
  ...['client_encoding', 'std_strings', 'datestyle', 'timezone', 'password', 'scram_client_key', 'scram_server_key'],
];

function cells(row: DescriptorRow, own: boolean): Cell[] {
  const { parameters } = row;
  const scramKeys = own ? row.scramKeys : null;
  const followed = ['client_encoding', 'standard_conforming_strings', 'DateStyle', 'TimeZone'];
  return [
    ...[row.fd, row.task, row.user, row.database, row.address, row.port, row.cancel, row.link],
    ...followed.map((name) => parameters?.get(name) ?? null),
    ...[own ? row.password : null, bytea(scramKeys?.clientKey), bytea(scramKeys?.serverKey)],
  ];
}

function bytea(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : `\\x${Buffer.from(bytes).toString('hex')}`;
}

export const FDS: View = {
  columns: columns('issssiqisssssbb', NAMES),
  adminOnly: true,
  rows: ({ descriptors, own }) => descriptors().map((row) => cells(row, own)),
  carries: ({ descriptors }) =>
    descriptors().flatMap(({ fd, passing }) => (passing === null ? [] : [{ fd, ...passing }])),
};
