/** Certificates for tests, made by the openssl program: authorities, and what they sign. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Pair {
  readonly key: string;
  readonly cert: string;
}

export const OPENSSL: boolean = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** An authority in a folder; its files are named after it. */
export class Authority {
  readonly #dir: string;
  readonly #name: string;
  #issued = 0;

  constructor(dir: string, name: string) {
    this.#dir = dir;
    this.#name = name;
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];
    openssl(...request, '-subj', `/CN=${name}`, '-keyout', this.#path('key'), '-out', this.#path('crt'));
  }

  get ca(): string {
    return this.#path('crt');
  }

  /** A certificate for a common name; `alternatives` such as "DNS:localhost,IP:127.0.0.1". `digest`: of its signature. */
  issue(commonName: string, alternatives = '', digest = 'sha256'): Pair {
    const base = `${this.#name}-${++this.#issued}`;
    const file = (ending: string) => join(this.#dir, `${base}.${ending}`);
    const request = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    openssl(...request, '-subj', `/CN=${commonName}`, '-keyout', file('key'), '-out', file('csr'));
    writeFileSync(file('ext'), alternatives === '' ? '' : `subjectAltName=${alternatives}\n`);
    const sign = ['x509', '-req', '-in', file('csr'), '-CA', this.ca, '-CAkey', this.#path('key'), '-CAcreateserial'];
    openssl(...sign, `-${digest}`, '-days', '30', '-extfile', file('ext'), '-out', file('crt'));
    return { key: file('key'), cert: file('crt') };
  }

  #path(ending: string): string {
    return join(this.#dir, `${this.#name}.${ending}`);
  }
}

/** Puts one pair's files in the place of another's, as a renewal does. */
export function renew(old: Pair, next: Pair): void {
  writeFileSync(old.key, readFileSync(next.key));
  writeFileSync(old.cert, readFileSync(next.cert));
}
