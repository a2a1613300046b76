// What PgBouncer 1.25.2 shows (SHOW CONFIG, SHOW DATABASES, SHOW USERS) or does when it is given the same.
import { describe, expect, it } from 'vitest';
import { LARGEST } from './bounds.ts';
import { oddGlobal, oddInEntry } from './odd-numbers.ts';
import { findRow } from './settings.ts';
import { parseValue } from './values.ts';

const global = (name: string) => findRow('global', name)!.row;
const entry = (name: string) => findRow('database', name)!.row;

describe('a number of [pgbouncer] that makes no sense', () => {
  it.each([
    ['default_pool_size', '4294967297', 1],
    ['default_pool_size', '0x100000002', 2],
    ['default_pool_size', '040000000003', 3],
    ['tcp_keepidle', '-4294967291', 5],
    // Shown there as they are, and as good as 0.
    ['default_pool_size', '-1', 0],
    ['default_pool_size', '3000000000', 0],
    ['max_client_conn', '99999999999999999999', 0],
    ['query_wait_notify', '-1', 0],
    ['peer_id', '-5', 0],
    // Compared as an unsigned number, or cut by the kernel.
    ['max_prepared_statements', '-1', LARGEST],
    ['listen_backlog', '-1', LARGEST],
    ['max_packet_size', '-1', LARGEST],
    ['max_packet_size', '3000000000', LARGEST],
    ['tcp_socket_buffer', '-1', LARGEST],
    ['unix_socket_mode', '-1', 0o7777],
    ['unix_socket_mode', '010777', 0o777],
    ['query_timeout', '1e30', 0],
    ['query_timeout', 'inf', 0],
    ['query_timeout', '0.0000001', 0],
    ['query_timeout', 'nan', LARGEST],
    ['server_lifetime', '4294967297', LARGEST],
  ])('%s = %s counts as %d', (name, text, number) => {
    expect(oddGlobal(global(name), text)).toEqual({ number, note: expect.stringContaining('as in PgBouncer') });
  });

  it.each([
    // Refused there, too.
    ['default_pool_size', 'abc'],
    ['default_pool_size', ''],
    ['query_timeout', '-1'],
    ['query_timeout', '-inf'],
    ['query_timeout', '5 min'],
    ['query_timeout', '1e400'],
    ['query_timeout', '1e-400'],
    // It starts there, and serves nobody.
    ['stats_period', '-1'],
    ['stats_period', '0'],
    ['scram_iterations', '0'],
    ['max_packet_size', '4294967297'],
    ['pkt_buf', '0'],
    ['listen_port', '-1'],
    ['listen_port', '70000'],
    ['peer_id', '20000'],
    ['tcp_keepidle', '-1'],
    ['tcp_keepidle', '99999'],
    ['tcp_user_timeout', '-1'],
  ])('%s = %s is refused', (name, text) => {
    expect(oddGlobal(global(name), text)).toBe(null);
    expect(parseValue(global(name), text, 'c').ok).toBe(false);
  });

  it('an unknown facility of syslog is `daemon`', () => {
    expect(parseValue(global('syslog_facility'), 'local9', 'c')).toMatchObject({ ok: true, value: 'daemon' });
  });
});

describe('a number of an entry that makes no sense', () => {
  it.each([
    ['pool_size', 'abc', 0],
    ['pool_size', '', 0],
    ['pool_size', '4294967297', 1],
    ['pool_size', '-5', null],
    ['pool_size', '3000000000', null],
    ['max_db_connections', '99999999999999999999', null],
    ['server_lifetime', '-1', LARGEST],
    ['query_wait_timeout', '3000000000', LARGEST],
    ['query_wait_timeout', '-5x', LARGEST],
    ['query_wait_timeout', 'abc', 0],
    ['server_lifetime', '0x10', 0],
    ['query_wait_timeout', '4294967297', 1],
  ])('%s=%s counts as %s', (name, text, number) => {
    expect(oddInEntry(entry(name), text)).toEqual({ number, note: expect.stringContaining('as in PgBouncer') });
  });

  it.each([
    ['1e3', 1_000],
    ['1.9', 1_900],
    ['0x10', 0],
    ['1e400', 1_000],
  ])('server_lifetime=%s is %d ms', (text, value) => {
    expect(parseValue(entry('server_lifetime'), text, 'decimal')).toMatchObject({ ok: true, value });
  });

  it.each(['0', 'abc', '-1', '70000', '4294967297'])('port=%s is refused', (text) => {
    expect(parseValue(entry('port'), text, 'decimal').ok).toBe(false);
  });
});
