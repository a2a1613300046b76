/** What a handshake has shown, whoever has done it. Owns nothing. */
import type { X509Certificate } from 'node:crypto';
import type { TlsFacts } from './conn.ts';

export interface Shown {
  /** PostgreSQL's protocol was agreed on (ALPN). */
  readonly isPostgres: boolean;
  /** The other side's certificate; null: it has shown none. */
  peer(): X509Certificate | null;
  /** Why that is not valid; null: it is. */
  verifyError(): string | null;
  /** "TLSv1.3/TLS_AES_256_GCM_SHA384", as SHOW CLIENTS and the log have it. */
  description(): string;
}

/** Throws what is wrong with it. */
export type Inspect = (shown: Shown) => TlsFacts;
