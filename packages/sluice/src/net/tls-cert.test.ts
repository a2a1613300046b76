import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { commonName, endPointHash, pemCertificates, speaksFor } from './tls-cert.ts';

const dir = mkdtempSync(join(tmpdir(), 'sluice-cert-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function certificate(...args: string[]): X509Certificate {
  const request = ['req', '-x509', '-nodes', '-days', '9', '-keyout', join(dir, 'key'), '-out', join(dir, 'cert')];
  execFileSync('openssl', [...request, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  return new X509Certificate(readFileSync(join(dir, 'cert')));
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-subj', '/CN=test'];
const RSA = ['-newkey', 'rsa:2048', '-subj', '/CN=test'];
const PSS = [...RSA, '-sigopt', 'rsa_padding_mode:pss'];

describe('the hash for channel binding is that of the certificate’s signature', () => {
  it.each([
    ['RSA with SHA-1, which becomes SHA-256', [...RSA, '-sha1'], 'sha256'],
    ['RSA with SHA-256', [...RSA, '-sha256'], 'sha256'],
    ['RSA with SHA-384', [...RSA, '-sha384'], 'sha384'],
    ['RSA with SHA-512', [...RSA, '-sha512'], 'sha512'],
    ['RSA-PSS with SHA-256', [...PSS, '-sha256'], 'sha256'],
    ['RSA-PSS with SHA-512', [...PSS, '-sha512'], 'sha512'],
    ['ECDSA with SHA-256', [...EC, '-sha256'], 'sha256'],
    ['ECDSA with SHA-384', [...EC, '-sha384'], 'sha384'],
  ])('%s', (_, args, hash) => {
    const { raw } = certificate(...args);
    const expected = createHash(hash).update(raw).digest('hex');
    expect(Buffer.from(endPointHash(raw)!).toString('hex')).toBe(expected);
  });

  it('Ed25519 has none, so there is no binding to offer', () => {
    expect(endPointHash(certificate('-newkey', 'ed25519', '-subj', '/CN=test').raw)).toBeNull();
  });

  it('is null for bytes that are no certificate, and never an exception', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => endPointHash(Buffer.from(bytes)) === null));
    const { raw } = certificate(...EC);
    for (let end = 0; end < raw.length; end++) expect(endPointHash(raw.subarray(0, end))).toBeNull();
  });
});

describe('a certificate speaks for', () => {
  const named = certificate(...EC, '-addext', 'subjectAltName=DNS:db.example,DNS:*.pool.example,IP:10.0.0.1,IP:::1');
  const bare = certificate('-newkey', 'ed25519', '-subj', '/CN=10.0.0.1');
  it.each([
    ['a name that it has', named, 'db.example', true],
    ['a name under its wildcard', named, 'a.pool.example', true],
    ['no name two levels under its wildcard', named, 'a.b.pool.example', false],
    ['no other name', named, 'other.example', false],
    ['not its common name when it has others', named, 'test', false],
    ['an address that it has', named, '10.0.0.1', true],
    ['an IPv6 address that it has', named, '::1', true],
    ['no other address', named, '10.0.0.2', false],
    ['an address as its common name', bare, '10.0.0.1', true],
    ['no other address than its common name', bare, '10.0.0.2', false],
  ])('%s', (_, cert, host, expected) => {
    expect(speaksFor(cert, host)).toBe(expected);
  });
});

describe('the common name', () => {
  it('is read where there is one', () => {
    expect(commonName(certificate(...EC))).toBe('test');
  });

  it('is empty where there is none, or more than one', () => {
    expect(commonName(certificate('-newkey', 'ed25519', '-subj', '/O=nobody'))).toBe('');
    expect(commonName(certificate('-newkey', 'ed25519', '-subj', '/CN=alice/CN=bob'))).toBe('');
  });
});

describe('a file of certificates', () => {
  it('gives all of them, whatever stands between', () => {
    const pem = certificate(...EC).toString();
    expect(pemCertificates(`a comment\n${pem}more\n${pem}`)).toHaveLength(2);
    expect(pemCertificates('nothing')).toEqual([]);
  });

  it('is refused when one of them is broken', () => {
    expect(() => pemCertificates('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----')).toThrow();
  });
});
