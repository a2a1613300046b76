import { describe, expect, it } from 'vitest';
import { checkListenAddress, checkTlsProtocols, parseListenAddress, parseTlsProtocols } from './setting-checks.ts';

describe('TLS protocols', () => {
  it.each([
    ['secure', ['tlsv1.2', 'tlsv1.3']],
    ['default', ['tlsv1.2', 'tlsv1.3']],
    ['all', ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['', ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['tlsv1.3', ['tlsv1.3']],
    ['TLSv1.2, TLSv1.3', ['tlsv1.2', 'tlsv1.3']],
    ['tlsv1.3:tlsv1.1', ['tlsv1.1', 'tlsv1.3']],
    ['!tlsv1.0', ['tlsv1.1', 'tlsv1.2', 'tlsv1.3']],
    ['all,!tlsv1.1', ['tlsv1.0', 'tlsv1.2', 'tlsv1.3']],
    ['secure,!tlsv1.2', ['tlsv1.3']],
  ])('%j allows %j', (text, versions) => {
    expect(parseTlsProtocols(text)).toEqual(versions);
    expect(checkTlsProtocols(text)).toBeNull();
  });

  it.each(['tlsv1.4', 'ssl3', 'tlsv1.2,', ',', 'tlsv1.2;tlsv1.3', 'tlsv1.2,!tlsv1.2', '!all', '!'])(
    '%j is refused',
    (text) => {
      expect(parseTlsProtocols(text)).toBeNull();
      expect(checkTlsProtocols(text)).toMatch(/^a list of tlsv1\.0/);
    },
  );
});

describe('an address to listen on', () => {
  it.each([
    ['127.0.0.1:9127', '127.0.0.1', 9127],
    ['[::1]:9127', '::1', 9127],
    ['localhost:0', 'localhost', 0],
    ['*:65535', '*', 65_535],
  ])('%s is host %s and port %d', (text, host, port) => {
    expect(parseListenAddress(text)).toEqual({ host, port });
    expect(checkListenAddress(text)).toBeNull();
  });

  it.each(['9127', ':9127', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '::1:9127', '[::1]', '[host]:1', 'a b:1'])(
    '%j is refused',
    (text) => {
      expect(parseListenAddress(text)).toBeNull();
      expect(checkListenAddress(text)).toMatch(/^an address and a port/);
    },
  );

  it('may be empty, which turns it off', () => {
    expect(checkListenAddress('')).toBeNull();
  });
});
