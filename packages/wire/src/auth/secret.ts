/** What auth_file or pg_authid holds for a user: a plain password, an md5 hash or a SCRAM secret. */
import { concat } from '../messages/writer.ts';
import { encodeText } from '../text.ts';
import { type CryptoPort, fromBase64, toBase64, toHex } from './crypto.ts';
import { saslprep } from './saslprep.ts';

export interface ScramSecret {
  kind: 'scram';
  iterations: number;
  salt: Uint8Array;
  storedKey: Uint8Array;
  serverKey: Uint8Array;
}

export type Secret = { kind: 'plain'; password: string } | { kind: 'md5'; hash: string } | ScramSecret;

const KEY_BYTES = 32;
const SCRAM = /^SCRAM-SHA-256\$(\d{1,9}):([^$]+)\$([^:]+):(.+)$/;

/** Tells them apart as PostgreSQL does (get_password_type): what is not a well-formed hash is a plain password. */
export function parseSecret(text: string): Secret {
  if (/^md5[0-9a-f]{32}$/.test(text)) return { kind: 'md5', hash: text };
  const match = SCRAM.exec(text);
  if (match !== null) {
    const iterations = Number(match[1]);
    const [salt, storedKey, serverKey] = match.slice(2).map((part) => fromBase64(part));
    if (iterations > 0 && salt && storedKey?.length === KEY_BYTES && serverKey?.length === KEY_BYTES)
      return { kind: 'scram', iterations, salt, storedKey, serverKey };
  }
  return { kind: 'plain', password: text };
}

/** "md5" and the hash of password and user name. */
export function md5Secret(crypto: CryptoPort, user: string, password: string): string {
  return `md5${toHex(crypto.md5(encodeText(password + user)))}`;
}

/** The answer to AuthenticationMD5Password, from a plain or md5 secret. */
export function md5Response(crypto: CryptoPort, user: string, secret: Secret, salt: Uint8Array): string {
  if (secret.kind === 'scram') throw new Error('bug: a SCRAM secret cannot answer an md5 challenge');
  const hash = secret.kind === 'md5' ? secret.hash : md5Secret(crypto, user, secret.password);
  return `md5${toHex(crypto.md5(concat(encodeText(hash.slice(3)), salt)))}`;
}

/** The keys of RFC 5802 for a password. */
export async function scramSecret(
  crypto: CryptoPort,
  password: string,
  salt: Uint8Array,
  iterations: number,
): Promise<ScramSecret> {
  const salted = await crypto.pbkdf2Sha256(encodeText(saslprep(password)), salt, iterations);
  const clientKey = crypto.hmacSha256(salted, encodeText('Client Key'));
  return {
    kind: 'scram',
    iterations,
    salt,
    storedKey: crypto.sha256(clientKey),
    serverKey: crypto.hmacSha256(salted, encodeText('Server Key')),
  };
}

export function formatScramSecret({ iterations, salt, storedKey, serverKey }: ScramSecret): string {
  return `SCRAM-SHA-256$${iterations}:${toBase64(salt)}$${toBase64(storedKey)}:${toBase64(serverKey)}`;
}

/** Does this password belong to this secret? In constant time for the comparison itself. */
export async function verifyPlainPassword(
  crypto: CryptoPort,
  user: string,
  secret: Secret,
  password: string,
): Promise<boolean> {
  switch (secret.kind) {
    case 'plain':
      // Compared by hash, so that length does not show either.
      return crypto.timingSafeEqual(crypto.sha256(encodeText(secret.password)), crypto.sha256(encodeText(password)));
    case 'md5':
      return crypto.timingSafeEqual(encodeText(secret.hash), encodeText(md5Secret(crypto, user, password)));
    case 'scram': {
      const { storedKey } = await scramSecret(crypto, password, secret.salt, secret.iterations);
      return crypto.timingSafeEqual(storedKey, secret.storedKey);
    }
  }
}
