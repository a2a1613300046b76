import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as wire from '../index.ts';

const { DESCRIBED_EXCHANGE, PLAIN_EXCHANGE, SIMPLE_EXCHANGE, unnamedExchange } = wire;

const exchange = (sql: string, values: string[], isDescribed: boolean, portal = '', statement = '') =>
  Buffer.from(
    wire.concat(
      ...[wire.parse(statement, sql), wire.bind(portal, statement, values)],
      ...(isDescribed ? [wire.describe('P', portal)] : []),
      ...[wire.execute(portal), wire.sync()],
    ),
  );

/** The types of the messages of which the bytes exactly consist, or null. */
function framed(bytes: Buffer): string | null {
  let types = '';
  let at = 0;
  while (at + wire.HEADER_BYTES <= bytes.length) {
    types += String.fromCharCode(bytes[at]!);
    const size = wire.lengthAt(bytes, at) + 1;
    if (size < wire.HEADER_BYTES) return null;
    at += size;
  }
  return at === bytes.length ? types : null;
}

describe('an exchange without names', () => {
  test('is known, wherever in the buffer it is', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), fc.boolean(), fc.nat(50), (sql, values, isDescribed, at) => {
        const bytes = exchange(sql.replaceAll('\0', ''), values, isDescribed);
        const buffer = Buffer.concat([Buffer.alloc(at, 0x50), bytes, Buffer.alloc(20, 0x53)]);
        expect(unnamedExchange(buffer, at, at + bytes.length)).toBe(isDescribed ? DESCRIBED_EXCHANGE : PLAIN_EXCHANGE);
      }),
    );
  });

  test('is a Query', () => {
    const query = wire.query('select 1');
    expect(unnamedExchange(query, 0, query.length)).toBe(SIMPLE_EXCHANGE);
  });

  test('is not one with names, cut, longer, or of other messages', () => {
    const [whole, other] = [exchange('select 1', [], true), exchange('select 1', [], false)];
    const not = (bytes: Buffer) => expect(unnamedExchange(bytes, 0, bytes.length)).toBeNull();
    not(exchange('select 1', [], true, 'portal'));
    not(exchange('select 1', [], true, '', 'name'));
    for (let end = 0; end < whole.length; end++) not(whole.subarray(0, end));
    // Nor by the bytes that an earlier one has left behind it in the buffer.
    for (let end = 0; end < whole.length; end++) expect(unnamedExchange(whole, 0, end)).toBeNull();
    not(Buffer.concat([whole, other]));
    const query = Buffer.from(wire.query('select 1'));
    for (let end = 0; end < query.length; end++) not(query.subarray(0, end));
    not(Buffer.concat([query, query]));
    not(
      Buffer.from(
        wire.concat(wire.parse('', 'x'), wire.describe('S', ''), wire.bind('', ''), wire.execute(''), wire.sync()),
      ),
    );
    not(
      Buffer.from(
        wire.concat(wire.parse('', 'x'), wire.bind('', ''), wire.describe('S', ''), wire.execute(''), wire.sync()),
      ),
    );
  });

  test('with bytes changed is one only if its messages still are the same and have no names', () => {
    const flaw = fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.boolean(), fc.array(flaw, { minLength: 1, maxLength: 3 }), (isDescribed, flaws) => {
        const bytes = exchange('select $1', ['5'], isDescribed);
        for (const [at, byte] of flaws) bytes[at % bytes.length] = byte;
        const found = unnamedExchange(bytes, 0, bytes.length);
        if (found === null) return;
        expect(framed(bytes)).toBe(found === DESCRIBED_EXCHANGE ? 'PBDES' : 'PBES');
        const bind = wire.lengthAt(bytes, 0) + 1;
        expect([bytes[5], bytes[bind + 5], bytes[bind + 6]]).toEqual([0, 0, 0]);
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('the answer to an exchange', () => {
  const { Reply } = wire;
  const COLUMNS = wire.rowDescription([{ name: 'n', type: 23, size: 4 }]);
  const ready = wire.readyForQuery(0x49);
  const done = wire.commandComplete('UPDATE 1');
  const NO_COLUMNS = Uint8Array.of(0x6e, 0, 0, 0, 4);
  const of = (...messages: Uint8Array[]) => {
    const bytes = Buffer.from(wire.concat(...messages));
    return wire.exchangeAnswer(
      Buffer.concat([Buffer.alloc(7, 0x31), bytes, Buffer.alloc(7, 0x5a)]),
      7,
      7 + bytes.length,
    );
  };

  test('is known by its messages, with any number of rows', () => {
    for (const rows of [[], [wire.dataRow(['5'])], [wire.dataRow([null]), wire.dataRow(['x'.repeat(500)])]]) {
      expect(of(COLUMNS, ...rows, done, ready)).toEqual([Reply.Query]);
      expect(of(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, COLUMNS, ...rows, done, ready)).toEqual(DESCRIBED_EXCHANGE);
      expect(of(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, ...rows, done, ready)).toEqual(PLAIN_EXCHANGE);
      expect(of(wire.BIND_COMPLETE, COLUMNS, ...rows, done, ready)).toEqual(DESCRIBED_EXCHANGE.slice(1));
      expect(of(wire.BIND_COMPLETE, ...rows, done, ready)).toEqual(PLAIN_EXCHANGE.slice(1));
    }
    expect(of(wire.BIND_COMPLETE, NO_COLUMNS, done, ready)).toEqual(DESCRIBED_EXCHANGE.slice(1));
  });

  test('is not one that is cut, is followed by another, or says something else', () => {
    const whole = wire.concat(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, COLUMNS, wire.dataRow(['5']), done, ready);
    for (let end = 0; end < whole.length; end++) expect(wire.exchangeAnswer(whole, 0, end)).toBeNull();
    for (let end = 0; end < whole.length; end++) expect(of(whole.subarray(0, end))).toBeNull();
    expect(of(whole, whole)).toBeNull();
    expect(of(COLUMNS, done, COLUMNS, done, ready)).toBeNull();
    expect(of(COLUMNS, wire.parameterStatus('TimeZone', 'UTC'), done, ready)).toBeNull();
    expect(
      of(COLUMNS, wire.noticeResponse({ severity: 'NOTICE', code: '00000', message: 'x' }), done, ready),
    ).toBeNull();
    expect(
      of(wire.BIND_COMPLETE, wire.errorResponse({ severity: 'ERROR', code: '22012', message: 'x' }), ready),
    ).toBeNull();
    expect(of(wire.PARSE_COMPLETE, COLUMNS, done, ready)).toBeNull();
    expect(of(done, ready)).toBeNull();
  });

  test('is not one of a command by which prepared statements may have gone', () => {
    for (const tag of [
      'ALTER TABLE',
      'CREATE TABLE',
      'DROP TABLE',
      'DO',
      'IMPORT FOREIGN SCHEMA',
      'DEALLOCATE ALL',
      'DISCARD ALL',
    ])
      expect(of(wire.BIND_COMPLETE, wire.commandComplete(tag), ready)).toBeNull();
    for (const tag of ['UPDATE 1', 'INSERT 0 1', 'COMMIT', 'COPY 5', 'SET', 'SAVEPOINT', 'ROLLBACK', 'CALL'])
      expect(of(wire.BIND_COMPLETE, wire.commandComplete(tag), ready)).not.toBeNull();
  });

  test('is not one of a SELECT that has made a table: without columns, or without its rows', () => {
    const row = wire.dataRow(['5']);
    const [none, some] = [wire.commandComplete('SELECT 0'), wire.commandComplete('SELECT 5')];
    for (const answer of [
      [COLUMNS, none],
      [COLUMNS, row, some],
      [wire.BIND_COMPLETE, COLUMNS, none],
      [wire.BIND_COMPLETE, none],
      [wire.BIND_COMPLETE, row, some],
    ])
      expect(of(...answer, ready)).not.toBeNull();
    for (const answer of [
      [wire.BIND_COMPLETE, NO_COLUMNS, none],
      [wire.BIND_COMPLETE, NO_COLUMNS, some],
      [wire.BIND_COMPLETE, some],
      [wire.PARSE_COMPLETE, wire.BIND_COMPLETE, some],
    ])
      expect(of(...answer, ready)).toBeNull();
  });

  test('with bytes changed is one only if its messages are', () => {
    const flaw = fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(flaw, { minLength: 1, maxLength: 3 }), (flaws) => {
        const bytes = Buffer.from(wire.concat(wire.BIND_COMPLETE, COLUMNS, wire.dataRow(['5']), done, ready));
        for (const [at, byte] of flaws) bytes[at % bytes.length] = byte;
        if (wire.exchangeAnswer(bytes, 0, bytes.length) !== null) expect(framed(bytes)).toMatch(/^(1?2[Tn]?|T)D*CZ$/);
      }),
      { numRuns: 20_000 },
    );
  });
});
