import { describe, expect, it } from 'vitest';
import { parseTlsProtocols } from './setting-checks.ts';

describe('TLS protocols', () => {
  it.each([
    ['secure', ['tlsv1.2', 'tlsv1.3']],
    ['default', ['tlsv1.2', 'tlsv1.3']],
    ['all', ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['', ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['legacy', ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['tlsv1.3', ['tlsv1.3']],
    ['TLSv1.2, TLSv1.3', ['tlsv1.2', 'tlsv1.3']],
    ['tlsv1.3:tlsv1.1', ['tlsv1.1', 'tlsv1.3']],
    ['!tlsv1.0', ['tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['all,!tlsv1.1', ['tlsv1.0', 'tlsv1.2', 'tlsv1.3']],
    ['secure,!tlsv1.2', ['tlsv1.3']],
  ])('%j allows %j', (text, versions) => {
    expect(parseTlsProtocols(text)).toEqual(versions);
  });

  it.each(['tlsv1.4', 'ssl3', 'tlsv1.2,', ',', 'tlsv1.2;tlsv1.3', 'tlsv1.2,!tlsv1.2', '!all', '!'])(
    '%j is refused',
    (text) => {
      expect(parseTlsProtocols(text)).toBeNull();
    },
  );
});
