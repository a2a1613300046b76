/** A real LDAP server with two users, where the machine has slapd. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { freePort } from '../../packages/sluice/src/embedded/postgres.ts';
import type { Pair } from './certificates.ts';

const PLACES = [
  '/usr/sbin/slapd',
  '/usr/libexec/slapd',
  '/usr/local/libexec/slapd',
  '/opt/homebrew/opt/openldap/libexec/slapd',
];
const SCHEMAS = [
  '/etc/ldap/schema',
  '/etc/openldap/schema',
  '/usr/local/etc/openldap/schema',
  '/opt/homebrew/etc/openldap/schema',
];

function usable(paths: string[], mode: number): string | null {
  for (const path of paths)
    try {
      accessSync(path, mode);
      return path;
    } catch {
      // not there
    }
  return null;
}

const PROGRAM = usable(PLACES, constants.X_OK);
const SCHEMA = usable(SCHEMAS, constants.R_OK);
export const SLAPD: boolean = PROGRAM !== null && SCHEMA !== null;

const ENTRIES = `dn: dc=example,dc=net
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: uid=ldap_one,dc=example,dc=net
objectClass: inetOrgPerson
uid: ldap_one
cn: One
sn: One
mail: one@example.net
userPassword: secret one

dn: ou=deep,dc=example,dc=net
objectClass: organizationalUnit
ou: deep

dn: cn=Zwei ütwo,ou=deep,dc=example,dc=net
objectClass: inetOrgPerson
uid: ldap_two
cn: Zwei ütwo
sn: Two
userPassword: sècret

dn: cn=twin a,ou=deep,dc=example,dc=net
objectClass: inetOrgPerson
uid: ldap_twin
cn: twin a
sn: Twin
userPassword: twin

dn: cn=twin b,ou=deep,dc=example,dc=net
objectClass: inetOrgPerson
uid: ldap_twin
cn: twin b
sn: Twin
userPassword: twin
`;

export class Slapd {
  readonly port: number;
  readonly tlsPort: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number, tlsPort: number) {
    this.#child = child;
    this.port = port;
    this.tlsPort = tlsPort;
  }

  static async start(dir: string, site: Pair, ca: string): Promise<Slapd> {
    const data = join(dir, 'ldap-data');
    mkdirSync(data);
    const conf = join(dir, 'slapd.conf');
    const schemas = ['core', 'cosine', 'inetorgperson'].map((name) => `include ${SCHEMA}/${name}.schema`);
    const tls = [`TLSCACertificateFile ${ca}`, `TLSCertificateFile ${site.cert}`, `TLSCertificateKeyFile ${site.key}`];
    const rules = ['access to attrs=userPassword by anonymous auth', 'access to * by * read'];
    const database = [
      'database ldif',
      `directory ${data}`,
      'suffix "dc=example,dc=net"',
      'rootdn "cn=admin,dc=example,dc=net"',
      'rootpw top',
    ];
    writeFileSync(conf, [...schemas, ...tls, ...rules, ...database, ''].join('\n'));
    const ldif = join(dir, 'entries.ldif');
    writeFileSync(ldif, ENTRIES);
    execFileSync(PROGRAM!, ['-Ta', '-f', conf, '-l', ldif], { stdio: ['ignore', 'ignore', 'pipe'] });
    const [port, tlsPort] = [await freePort(), await freePort()];
    const urls = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${tlsPort}`;
    const child = spawn(PROGRAM!, ['-f', conf, '-h', urls, '-d', '0'], { stdio: 'ignore', cwd: dirname(conf) });
    const slapd = new Slapd(child, port, tlsPort);
    await slapd.#answers();
    return slapd;
  }

  async #answers(): Promise<void> {
    for (;;) {
      const there = await new Promise<boolean>((resolve) => {
        const socket = connect(this.port, '127.0.0.1', () => resolve(true));
        socket.once('error', () => resolve(false));
        socket.once('connect', () => socket.destroy());
      });
      if (there) return;
      if (this.#child.exitCode !== null) throw new Error('slapd ended at once');
    }
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}
