import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defaultGlobals, type GlobalSettings } from '../config/index.ts';
import { loadTls, TlsSetupError } from './tls-context.ts';

const dir = mkdtempSync(join(tmpdir(), 'sluice-tls-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string) => join(dir, name);
for (const name of ['a', 'b']) {
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '9'];
  const files = ['-subj', `/CN=${name}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)];
  execFileSync('openssl', [...request, ...files], { stdio: ['ignore', 'ignore', 'pipe'] });
}
writeFileSync(file('text'), 'no certificate');
writeFileSync(file('broken.crt'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');

const read = (path: string) => readFileSync(path, 'utf8');
const load = (settings: Partial<GlobalSettings>) =>
  loadTls({ ...defaultGlobals(), serverTlsSslmode: 'disable', ...settings }, read);
const CLIENT = {
  clientTlsSslmode: 'require',
  clientTlsKeyFile: file('a.key'),
  clientTlsCertFile: file('a.crt'),
} as const;

function refusal(settings: Partial<GlobalSettings>): { setting: string; message: string } {
  try {
    load(settings);
  } catch (error) {
    if (error instanceof TlsSetupError) return { setting: error.setting, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('contexts', () => {
  it('are not made and no file is read where TLS is disabled', () => {
    const tls = load({ clientTlsKeyFile: '/nowhere', serverTlsCaFile: '/nowhere' });
    expect([tls.client.context, tls.server.context]).toEqual([null, null]);
  });

  it('are made for every mode of either side', () => {
    for (const mode of ['allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const) {
      const both = { clientTlsSslmode: mode, clientTlsCaFile: file('b.crt'), serverTlsSslmode: mode };
      const tls = load({ ...CLIENT, ...both });
      expect(tls.client.needsCertificate).toBe(mode.startsWith('verify'));
      expect(tls.server.verify).toBe({ 'verify-ca': 'ca', 'verify-full': 'full' }[mode as string] ?? 'no');
      expect(tls.client.endPoint).toHaveLength(32);
    }
  });

  it.each([
    { clientTlsProtocols: 'all' },
    { clientTlsProtocols: 'tlsv1.0,tlsv1.3' },
    { clientTlsProtocols: 'tlsv1.2' },
    { clientTlsProtocols: 'tlsv1.3' },
    { clientTlsCiphers: 'HIGH:!aNULL' },
    { clientTlsCiphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    { clientTls13Ciphers: 'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256' },
    { clientTlsEcdhcurve: 'prime256v1' },
    { clientTlsEcdhcurve: 'none' },
    { clientTlsDheparams: 'none' },
    // Nothing is compared with it.
    { serverTlsSslmode: 'require', serverTlsCaFile: '/no/such/file' },
  ] satisfies Partial<GlobalSettings>[])('are made with %o', (settings) => {
    expect(load({ ...CLIENT, ...settings }).client.context).not.toBeNull();
  });

  it('take the old parameters of 1024 bits where OpenSSL still has them, and name the setting where it refuses them', () => {
    const make = () => load({ ...CLIENT, clientTlsDheparams: 'legacy' }).client.context;
    let refusal: unknown = null;
    try {
      expect(make()).not.toBeNull();
    } catch (error) {
      refusal = error;
    }
    if (refusal !== null) expect(refusal).toMatchObject({ name: 'TlsSetupError', setting: 'client_tls_dheparams' });
  });
});

describe('a setting that is no good is named, with its file and the reason', () => {
  it.each([
    [
      'a file that is missing',
      { clientTlsCertFile: file('none') },
      'client_tls_cert_file',
      /none": No such file or dir/,
    ],
    ['a key that is missing', { clientTlsKeyFile: file('none') }, 'client_tls_key_file', /none": No such file or dir/],
    [
      'a certificate without one in it',
      { clientTlsCertFile: file('text') },
      'client_tls_cert_file',
      /no certificate in/,
    ],
    [
      'a broken certificate',
      { clientTlsCertFile: file('broken.crt') },
      'client_tls_cert_file',
      /broken.crt" is not usab/,
    ],
    ['a key that is none', { clientTlsKeyFile: file('text') }, 'client_tls_key_file', /text" is not usable/],
    ['a key of another certificate', { clientTlsKeyFile: file('b.key') }, 'client_tls_key_file', /mismatch/],
    ['authorities without any', { clientTlsCaFile: file('text') }, 'client_tls_ca_file', /text" holds no certificate/],
    ['no key', { clientTlsKeyFile: '' }, 'client_tls_sslmode', /client_tls_key_file and .* must be set/],
    [
      'checks without authorities',
      { clientTlsSslmode: 'verify-ca' },
      'client_tls_sslmode',
      /requires client_tls_ca_file/,
    ],
    [
      'unknown ciphers',
      { clientTlsCiphers: 'ROT13' },
      'client_tls_ciphers',
      /"ROT13" is not usable: .*no cipher match/,
    ],
    [
      'an unknown suite',
      { clientTls13Ciphers: 'unknown' },
      'client_tls13_ciphers',
      /failed to set the TLSv1.3 cipher suites/,
    ],
    ['an unknown curve', { clientTlsEcdhcurve: 'round' }, 'client_tls_ecdhcurve', /"round" is not usable/],
    ['other parameters', { clientTlsDheparams: 'some' }, 'client_tls_dheparams', /must be auto, legacy or none/],
    [
      'a server CA',
      { serverTlsSslmode: 'verify-ca', serverTlsCaFile: file('none') },
      'server_tls_ca_file',
      /none": No such/,
    ],
  ] as const)('%s', (_, settings, setting, message) => {
    const refused = refusal({ ...CLIENT, ...settings } as Partial<GlobalSettings>);
    expect(refused.setting).toBe(setting);
    expect(refused.message).toMatch(message);
    expect(refused.message).toMatch(/^TLS setup failed: /);
  });
});

describe('the fingerprint of the server side', () => {
  const server = { serverTlsSslmode: 'verify-ca', serverTlsCaFile: file('ca') } as const;
  const fingerprint = (settings: Partial<GlobalSettings>) => load(settings).serverFingerprint;
  writeFileSync(file('ca'), read(file('a.crt')));

  it('stays while nothing changes, and with changes towards clients', () => {
    expect(fingerprint({ ...server, ...CLIENT })).toBe(fingerprint(server));
  });

  it('changes with a setting, and with the content of a file', () => {
    const before = fingerprint(server);
    expect(fingerprint({ ...server, serverTlsProtocols: 'tlsv1.3' })).not.toBe(before);
    writeFileSync(file('ca'), read(file('b.crt')));
    expect(fingerprint(server)).not.toBe(before);
  });

  it('does not depend on settings that disabled TLS leaves without effect', () => {
    expect(fingerprint({ serverTlsCaFile: file('ca') })).toBe(fingerprint({}));
  });
});
