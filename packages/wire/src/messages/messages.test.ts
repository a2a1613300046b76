import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as wire from '../index.ts';
import { ProtocolError } from '../index.ts';

/** Text that the protocol can carry: no NUL, well-formed. */
const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0') && !/\p{Surrogate}/u.test(value));
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const blob = fc.uint8Array({ maxLength: 60 });

/** Each message with random content: built, then read back. `typed`: it begins with a type byte. */
const CASES: Record<
  string,
  {
    typed: boolean;
    build: fc.Arbitrary<{ bytes: Uint8Array; expected: unknown }>;
    read: (b: Uint8Array, s: number, e: number) => unknown;
  }
> = {
  startup: {
    typed: false,
    build: fc
      .tuple(
        fc.constantFrom(0, 2, 77),
        fc.dictionary(
          text.filter((key) => key !== '' && key !== '__proto__'),
          text,
        ),
      )
      .map(([minor, params]) => ({
        bytes: wire.startupMessage({ major: 3, minor, params }),
        expected: { kind: 'startup', major: 3, minor, params: new Map(Object.entries(params)) },
      })),
    read: wire.parseStartup,
  },
  cancel: {
    typed: false,
    build: fc
      .tuple(int32, fc.uint8Array({ minLength: 1, maxLength: 256 }))
      .map(([pid, key]) => ({ bytes: wire.cancelRequest(pid, key), expected: { kind: 'cancel', pid, key } })),
    read: wire.parseStartup,
  },
  query: { typed: true, build: text.map((sql) => ({ bytes: wire.query(sql), expected: sql })), read: wire.parseQuery },
  parse: {
    typed: true,
    build: fc
      .tuple(text, text, fc.array(int32, { maxLength: 9 }))
      .map(([name, sql, types]) => ({ bytes: wire.parse(name, sql, types), expected: { name, sql, types } })),
    read: wire.parseParse,
  },
  bind: {
    typed: true,
    build: fc.tuple(text, text, fc.array(fc.option(text), { maxLength: 9 })).map(([portal, statement, values]) => ({
      bytes: wire.bind(portal, statement, values),
      expected: {
        portal,
        statement,
        formats: [],
        values: values.map((value) => (value === null ? null : new TextEncoder().encode(value))),
        resultFormats: [],
      },
    })),
    read: wire.parseBind,
  },
  describe: {
    typed: true,
    build: text.map((name) => ({ bytes: wire.describe('S', name), expected: { target: 'S', name } })),
    read: wire.parseTarget,
  },
  execute: {
    typed: true,
    build: fc
      .tuple(text, int32)
      .map(([portal, rows]) => ({ bytes: wire.execute(portal, rows), expected: { portal, rows } })),
    read: wire.parseExecute,
  },
  password: {
    typed: true,
    build: text.map((password) => ({ bytes: wire.passwordMessage(password), expected: password })),
    read: wire.parsePassword,
  },
  sasl: {
    typed: true,
    build: fc.tuple(text, blob).map(([mechanism, data]) => ({
      bytes: wire.saslInitialResponse(mechanism, data),
      expected: { mechanism, data },
    })),
    read: wire.parseSaslInitialResponse,
  },
  error: {
    typed: true,
    build: fc.tuple(text, text, text).map(([message, detail, hint]) => ({
      bytes: wire.errorResponse({ severity: 'ERROR', code: '42P01', message, detail, hint }),
      expected: { severity: 'ERROR', code: '42P01', message, detail, hint, routine: '' },
    })),
    read: wire.parseErrorFields,
  },
  parameterStatus: {
    typed: true,
    build: fc
      .tuple(text, text)
      .map(([name, value]) => ({ bytes: wire.parameterStatus(name, value), expected: { name, value } })),
    read: wire.parseParameterStatus,
  },
  backendKey: {
    typed: true,
    build: fc
      .tuple(int32, blob)
      .map(([pid, key]) => ({ bytes: wire.backendKeyData(pid, key), expected: { pid, key } })),
    read: wire.parseBackendKeyData,
  },
  ready: {
    typed: true,
    build: fc.constantFrom(0x49, 0x54, 0x45).map((status) => ({ bytes: wire.readyForQuery(status), expected: status })),
    read: wire.parseReadyForQuery,
  },
  authMd5: {
    typed: true,
    build: fc
      .uint8Array({ minLength: 4, maxLength: 4 })
      .map((salt) => ({ bytes: wire.authenticationMd5Password(salt), expected: { kind: 'md5', salt } })),
    read: wire.parseAuthentication,
  },
  authSasl: {
    typed: true,
    build: fc
      .array(
        text.filter((name) => name !== ''),
        { maxLength: 4 },
      )
      .map((mechanisms) => ({ bytes: wire.authenticationSasl(mechanisms), expected: { kind: 'sasl', mechanisms } })),
    read: wire.parseAuthentication,
  },
  negotiate: {
    typed: true,
    build: fc.tuple(fc.nat(65_535), fc.array(text, { maxLength: 5 })).map(([minor, unsupported]) => ({
      bytes: wire.negotiateProtocolVersion(minor, unsupported),
      expected: { minor, unsupported },
    })),
    read: wire.parseNegotiate,
  },
  dataRow: {
    typed: true,
    build: fc.array(fc.option(text), { maxLength: 9 }).map((values) => ({
      bytes: wire.dataRow(values),
      expected: values.map((value) => (value === null ? null : new TextEncoder().encode(value))),
    })),
    read: wire.parseDataRow,
  },
  rowDescription: {
    typed: true,
    build: fc.array(fc.tuple(text, int32), { maxLength: 5 }).map((columns) => ({
      bytes: wire.rowDescription(columns.map(([name, type]) => ({ name, type, size: -1 }))),
      expected: columns.map(([name, type]) => ({ name, type })),
    })),
    read: wire.parseRowDescription,
  },
  commandComplete: {
    typed: true,
    build: text.map((tag) => ({ bytes: wire.commandComplete(tag), expected: tag })),
    read: wire.parseCommandComplete,
  },
};

describe.each(Object.entries(CASES))('%s', (_, { typed, build, read }) => {
  const start = typed ? 5 : 4;

  test('what was built is read back, and its length field is right', () => {
    fc.assert(
      fc.property(build, ({ bytes, expected }) => {
        expect(wire.lengthAt(bytes, typed ? 0 : -1)).toBe(bytes.length - (typed ? 1 : 0));
        expect(read(bytes, start, bytes.length)).toEqual(expected);
      }),
    );
  });

  test('cut anywhere or mutated, it is read or refused with a ProtocolError, never anything else', () => {
    fc.assert(
      fc.property(build, fc.nat(), fc.nat(), fc.nat(255), ({ bytes }, cut, at, value) => {
        const mutated = bytes.slice();
        mutated[start + (at % Math.max(1, bytes.length - start))] = value;
        for (const [data, end] of [
          [bytes, start + (cut % (bytes.length - start + 1))],
          [mutated, bytes.length],
        ] as const)
          try {
            read(data, start, end);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
      }),
    );
  });
});

test('SSLRequest and GSSENCRequest are known', () => {
  expect(wire.parseStartup(wire.sslRequest(), 4, 8)).toEqual({ kind: 'ssl' });
  expect(wire.parseStartup(wire.gssEncRequest(), 4, 8)).toEqual({ kind: 'gssenc' });
});

test('a NUL in a text is refused before it could end it', () => {
  expect(() => wire.query('select 1;\0drop')).toThrow(RangeError);
});
