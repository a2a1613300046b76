import { describe, expect, test } from 'vitest';
import { explainLdap } from './ldap-errors.ts';

const coded = (code: unknown, message: string): Error => Object.assign(new Error(message), { code });

describe('an error of a directory', () => {
  test.each([
    [coded(49, ' Code: 0x31'), 'Invalid credentials'],
    [
      coded(53, 'unauthenticated bind (DN with no password) disallowed Code: 0x35'),
      'Server is unwilling to perform: unauthenticated bind (DN with no password) disallowed',
    ],
    [coded(4_096, ' Code: 0x1000'), 'result code 4096'],
    [coded('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:389'), 'connect ECONNREFUSED 127.0.0.1:389'],
    [coded('ETIMEDOUT', ''), 'ETIMEDOUT: Error'],
    [coded('CERT_HAS_EXPIRED', 'certificate has expired'), 'CERT_HAS_EXPIRED: certificate has expired'],
    [
      coded(
        'ERR_SSL_WRONG_VERSION_NUMBER',
        '80DC02F0087F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/ssl/record.c:80:',
      ),
      'wrong version number',
    ],
  ])('%s is told as %s', (error, text) => {
    expect(explainLdap(error)).toBe(text);
  });
});
