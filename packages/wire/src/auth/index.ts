export { type CryptoPort, fromBase64, toBase64, toHex } from './crypto.ts';
export { saslprep } from './saslprep.ts';
export { ScramClient, type ScramClientOptions, type ScramSource } from './scram-client.ts';
export { ScramError, type ScramKeys, type ScramOutcome, ScramServer, type ScramServerOptions } from './scram-server.ts';
export {
  formatScramSecret,
  md5Response,
  md5Secret,
  parseSecret,
  type ScramSecret,
  type Secret,
  scramSecret,
  verifyPlainPassword,
} from './secret.ts';
