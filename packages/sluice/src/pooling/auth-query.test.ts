import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readAnswer } from './auth-query.ts';

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function row(...values: (string | null)[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(values.length);
  const fields = values.map((value) => {
    const size = Buffer.alloc(4);
    size.writeInt32BE(value === null ? -1 : Buffer.byteLength(value));
    return Buffer.concat([size, Buffer.from(value ?? '')]);
  });
  return message('D', Buffer.concat([count, ...fields]));
}

const COMPLETE = message('C', Buffer.from('SELECT 1\0'));

describe('an answer to auth_query', () => {
  test('is the name and the secret of its row', () => {
    expect(readAnswer(Buffer.concat([row('bob', `md5${'a'.repeat(32)}`), COMPLETE]))).toEqual({
      name: 'bob',
      secret: { kind: 'md5', hash: `md5${'a'.repeat(32)}` },
    });
    expect(readAnswer(row('bob', 'plain'))).toEqual({ name: 'bob', secret: { kind: 'plain', password: 'plain' } });
  });

  test('without a row, or without a name, is nobody', () => {
    expect(readAnswer(COMPLETE)).toBe(null);
    expect(readAnswer(row(null, null))).toBe(null);
    expect(readAnswer(row(null, 'x'))).toBe(null);
  });

  test('without a secret is somebody whom no password lets in', () => {
    for (const secret of [null, '']) expect(readAnswer(row('bob', secret))).toEqual({ name: 'bob', secret: null });
  });

  test('of several rows is the last', () => {
    expect(readAnswer(Buffer.concat([row('a', 'x'), row('b', 'y')]))?.name).toBe('b');
  });

  test('with more or fewer than two columns is none', () => {
    expect(() => readAnswer(row('bob'))).toThrow('expected 2 columns from auth_query, not 1');
    expect(() => readAnswer(row('bob', 'x', 'y'))).toThrow('expected 2 columns from auth_query, not 3');
  });

  test('that is nonsense throws, and reads no further', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const body = message('D', Buffer.from(bytes));
        try {
          const found = readAnswer(body);
          expect(found === null || typeof found.name === 'string').toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});
