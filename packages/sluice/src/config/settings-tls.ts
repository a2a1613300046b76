// Owns the rows about TLS, towards clients and towards servers.
// It must not know how values are read, nor how a TLS context is made.

import type { SettingRow } from './setting-row.ts';

const CLIENT = { scopes: ['global'], reload: true, group: 'TLS from clients' } as const;
const SERVER = { scopes: ['global'], reload: true, group: 'TLS to servers' } as const;

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

export const TLS_ROWS = {
  client_tls_sslmode: {
    ...CLIENT,
    kind: 'enum',
    values: SSL_MODES,
    default: 'disable',
    doc: 'Whether clients may or must use TLS. From `verify-ca` on they must show a certificate that is valid.',
  },
  client_tls_key_file: {
    ...CLIENT,
    kind: 'path',
    default: '',
    doc: 'Private key shown to clients. Needed unless client_tls_sslmode is `disable`.',
  },
  client_tls_cert_file: {
    ...CLIENT,
    kind: 'path',
    default: '',
    doc: 'Certificate shown to clients. Needed unless client_tls_sslmode is `disable`.',
  },
  client_tls_ca_file: {
    ...CLIENT,
    kind: 'path',
    default: '',
    doc: "Root certificates that clients' certificates are checked against.",
  },
  client_tls_protocols: {
    ...CLIENT,
    kind: 'string',
    default: 'secure',
    doc: 'TLS versions: `tlsv1.0` to `tlsv1.3`, separated by commas; `all`; or `secure`, which is 1.2 and 1.3.',
  },
  client_tls_ciphers: {
    ...CLIENT,
    kind: 'string',
    default: 'default',
    doc: 'Ciphers up to TLS 1.2, in OpenSSL syntax. `default`, `secure`, `fast` and `normal` are the usual ones.',
  },
  client_tls13_ciphers: {
    ...CLIENT,
    kind: 'string',
    default: null,
    doc: 'Ciphers of TLS 1.3, separated by colons. Not set: the usual ones.',
  },
  client_tls_ecdhcurve: {
    ...CLIENT,
    kind: 'string',
    default: 'auto',
    doc: 'Curve for the key exchange: `auto`, `none`, or its OpenSSL name.',
  },
  client_tls_dheparams: {
    ...CLIENT,
    kind: 'string',
    default: 'auto',
    doc: 'Diffie-Hellman key exchange: `auto` (2048 bits), `legacy` (1024 bits) or `none`.',
  },
  server_tls_sslmode: {
    ...SERVER,
    kind: 'enum',
    values: SSL_MODES,
    default: 'prefer',
    doc: 'Whether servers may or must use TLS; `verify-ca` checks their certificate, `verify-full` the host name too.',
  },
  server_tls_ca_file: {
    ...SERVER,
    kind: 'path',
    default: '',
    doc: "Root certificates that servers' certificates are checked against.",
  },
  server_tls_key_file: {
    ...SERVER,
    kind: 'path',
    default: '',
    doc: 'Private key shown to servers that ask for a certificate.',
  },
  server_tls_cert_file: {
    ...SERVER,
    kind: 'path',
    default: '',
    doc: 'Certificate shown to servers that ask for one.',
  },
  server_tls_protocols: {
    ...SERVER,
    kind: 'string',
    default: 'secure',
    doc: 'TLS versions: `tlsv1.0` to `tlsv1.3`, separated by commas; `all`; or `secure`, which is 1.2 and 1.3.',
  },
  server_tls_ciphers: {
    ...SERVER,
    kind: 'string',
    default: 'default',
    doc: 'Ciphers up to TLS 1.2, in OpenSSL syntax. `default`, `secure`, `fast` and `normal` are the usual ones.',
  },
  server_tls13_ciphers: {
    ...SERVER,
    kind: 'string',
    default: null,
    doc: 'Ciphers of TLS 1.3, separated by colons. Not set: the usual ones.',
  },
} as const satisfies Record<string, SettingRow>;
