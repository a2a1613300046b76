import { describe, expect, it } from 'vitest';
import type { SslMode } from '../config/index.ts';
import type { ServerTls } from '../net/tls-context.ts';
import { attempts } from './open.ts';

const tls = (mode: SslMode): ServerTls => ({ mode, context: null, verify: 'no' });

/** 'plain', 'tls' (nothing else will do), 'tls?' (plain if the server has none), 'direct'. */
function kinds(host: string, mode: SslMode, direct = false): string[] {
  return attempts(host, tls(mode), direct).map((way) => {
    if (way === null) return 'plain';
    if (way.direct) return 'direct';
    return way.required ? 'tls' : 'tls?';
  });
}

describe('the kinds of connection tried, in order', () => {
  it.each([
    ['disable', ['plain']],
    ['allow', ['tls?', 'plain']],
    ['prefer', ['tls?', 'plain']],
    ['require', ['tls']],
    ['verify-ca', ['tls']],
    ['verify-full', ['tls']],
  ] as const)('with server_tls_sslmode=%s', (mode, expected) => {
    expect(kinds('db.example', mode)).toEqual(expected);
  });

  it('over a Unix socket is plain, whatever the mode', () => {
    expect(kinds('/var/run/postgresql', 'verify-full')).toEqual(['plain']);
  });

  it('with sslnegotiation=direct is never plain, also in the modes that could be', () => {
    for (const mode of ['allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const)
      expect(kinds('db.example', mode, true)).toEqual(['direct']);
  });

  it('with sslnegotiation=direct is none while TLS is disabled, and says what to set', () => {
    expect(() => kinds('db.example', 'disable', true)).toThrow(/set server_tls_sslmode to require/);
  });
});
