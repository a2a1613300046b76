/**
 * What is read out of certificates: the hash that SCRAM binds a login to (tls-server-end-point), and the names that a
 * certificate speaks for. Knows DER as far as needed, no sockets and no settings.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/** Hash functions by the hex of the signature algorithm's OID. MD5 and SHA-1 become SHA-256, as RFC 5929 has it. */
const SIGNATURE_HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256', // sha256WithRSAEncryption
  '2a864886f70d01010c': 'sha384', // sha384WithRSAEncryption
  '2a864886f70d01010d': 'sha512', // sha512WithRSAEncryption
  '2a864886f70d01010e': 'sha224', // sha224WithRSAEncryption
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224', // ecdsa-with-SHA224
  '2a8648ce3d040302': 'sha256', // ecdsa-with-SHA256
  '2a8648ce3d040303': 'sha384', // ecdsa-with-SHA384
  '2a8648ce3d040304': 'sha512', // ecdsa-with-SHA512
};

/** The hash functions that the parameters of RSASSA-PSS name. */
const PSS = '2a864886f70d01010a';
const PSS_HASHES: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // SHA-1
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
  '608648016503040204': 'sha224',
};

interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** Where the next element begins. */
  readonly end: number;
}

/** One DER element; null when the bytes end before it does. Lengths over four bytes do not occur. */
function element(der: Buffer, at: number): Element | null {
  if (at + 2 > der.length) return null;
  const short = der[at + 1]!;
  const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
  if (lengthBytes > 4 || at + 2 + lengthBytes > der.length) return null;
  const length = lengthBytes === 0 ? short & 0x7f : der.readUIntBE(at + 2, lengthBytes);
  const start = at + 2 + lengthBytes;
  const end = start + length;
  return end > der.length ? null : { tag: der[at]!, content: der.subarray(start, end), end };
}

/** The hash function of a certificate's signature; null for those that have none of their own (Ed25519). */
function signatureHash(der: Buffer): string | null {
  const certificate = element(der, 0);
  const signed = certificate && element(certificate.content, 0);
  const algorithm = signed && element(certificate.content, signed.end);
  const oid = algorithm && element(algorithm.content, 0);
  if (oid === null || oid.tag !== 6) return null;
  const name = oid.content.toString('hex');
  if (name !== PSS) return SIGNATURE_HASHES[name] ?? null;
  const params = element(algorithm!.content, oid.end);
  const tagged = params && element(params.content, 0);
  if (tagged?.tag !== 0xa0) return 'sha256'; // SHA-1 is the default of PSS
  const hash = element(tagged.content, 0);
  const hashOid = hash && element(hash.content, 0);
  return hashOid === null ? null : (PSS_HASHES[hashOid.content.toString('hex')] ?? null);
}

/**
 * The channel binding data of type tls-server-end-point (RFC 5929, section 4): the hash of the server's certificate,
 * by the hash function of its signature. Null where the RFC leaves it undefined: then SCRAM goes without.
 */
export function endPointHash(der: Buffer): Uint8Array | null {
  const hash = signatureHash(der);
  return hash === null ? null : createHash(hash).update(der).digest();
}

/** All certificates of a PEM text. Throws OpenSSL's error for one that cannot be read. */
export function pemCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g);
  return (blocks ?? []).map((block) => new X509Certificate(block));
}

/**
 * Does the certificate speak for this host? Names and addresses among the alternative names first; a certificate
 * without any goes by its common name, also for an address (as libpq and PgBouncer do it).
 */
export function speaksFor(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) === 0) return certificate.checkHost(host, { subject: 'default', wildcards: true }) !== undefined;
  if (certificate.checkIP(host) !== undefined) return true;
  return !certificate.subjectAltName && commonName(certificate) === host;
}

/** The common name; '' when there is none, or more than one, of which either might be meant. */
export function commonName(certificate: X509Certificate): string {
  const { CN } = certificate.toLegacyObject().subject as unknown as { CN?: string | string[] };
  return typeof CN === 'string' ? CN : '';
}
