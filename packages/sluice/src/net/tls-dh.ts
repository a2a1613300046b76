/** Diffie-Hellman parameters of 1024 bits for client_tls_dheparams=legacy: the second group of RFC 2409, as PEM. */
import { getDiffieHellman } from 'node:crypto';

/** ASN.1 DHParameter of PKCS #3: the prime and the generator. */
export function legacyDhParams(): string {
  const group = getDiffieHellman('modp2');
  const der = tagged(0x30, Buffer.concat([integer(group.getPrime()), integer(group.getGenerator())]));
  return `-----BEGIN DH PARAMETERS-----\n${der.toString('base64')}\n-----END DH PARAMETERS-----\n`;
}

function integer(value: Buffer): Buffer {
  const positive = value[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), value]) : value;
  return tagged(0x02, positive);
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
