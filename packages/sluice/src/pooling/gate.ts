/**
 * Who may come in: finds the method that applies (auth_type, or a rule of auth_hba_file), what is known of the user
 * (auth_file, or auth_query), and lets the method in auth/ examine. A user that does not exist goes the same way as one
 * that does. Which pool a client gets, and limits, are the desk's business.
 */
import type { Secret } from '@sluice/wire';
import { authenticateCert } from '../auth/cert.ts';
import { type Failure, failureText } from '../auth/failures.ts';
import { authenticateLdap } from '../auth/ldap.ts';
import { authenticateMd5 } from '../auth/md5.ts';
import { type AuthRequest, type AuthResult, failed, type NotProven } from '../auth/method.ts';
import { authenticatePeer } from '../auth/peer.ts';
import { authenticatePlain } from '../auth/plain.ts';
import { authenticateScram } from '../auth/scram.ts';
import { LoginRefused } from '../client/login.ts';
import { CONSOLE_DATABASE, type HbaMethod, type IdentMap, type LdapOptions, matchHba } from '../config/index.ts';
import { isEmpty } from './credentials.ts';
import { type Asked, Lookups } from './lookups.ts';
import type { Pooler } from './pooler.ts';
import type { Visitor } from './visit.ts';

/** How a client is to be examined. */
interface Way {
  readonly method: HbaMethod;
  readonly map: IdentMap | null;
  readonly ldap: LdapOptions | null;
}

/** What is known of the user that a client names. */
interface Known {
  readonly exists: boolean;
  /** As auth_query gives it; otherwise as the client does. */
  readonly name: string;
  readonly secret: Secret | null;
  /** auth_query was asked. */
  readonly queried: boolean;
}

export class Gate {
  readonly #pooler: Pooler;
  readonly #lookups: Lookups;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    this.#lookups = new Lookups(pooler);
  }

  /** Resolves with the user that the client is from now on. Rejects with LoginRefused. */
  async examine(visitor: Visitor): Promise<string> {
    const { request } = visitor;
    const asked = this.#asked(request.database);
    if (this.#pooler.config.global.authType === 'any') return this.#anybody(visitor, asked);
    const way = this.#wayFor(visitor);
    if (way.method === 'reject') throw this.#refusal(visitor, failed('rejected'), null);
    const found = way.method === 'ldap' ? this.#inDirectory(visitor, asked) : this.#known(visitor, asked);
    const known = found instanceof Promise ? await found : found;
    this.#logAttempt(visitor);
    const result = await this.#prove(way, this.#asking(visitor, known), known);
    // Clients of auth_type md5 hear of their password, whichever exchange it was proved by: who does not exist is not to be told apart.
    if (!result.ok && way.method === 'md5' && result.failure === 'sasl')
      throw this.#refusal(visitor, { ...result, failure: 'password' }, known);
    if (!result.ok) throw this.#refusal(visitor, result, known);
    if (result.scramKeys !== undefined && known.secret?.kind === 'scram')
      this.#pooler.learnScramKeys(known.name, result.scramKeys);
    if (result.password !== undefined && (way.method === 'ldap' || known.secret?.kind !== 'plain'))
      this.#pooler.learnPassword(request.database, known.name, { password: result.password, against: known.secret });
    return known.name;
  }

  /** Null when there is no such database: nobody learns that before the password was right. */
  #asked(name: string): Asked | null {
    if (name === CONSOLE_DATABASE) return { name, config: null };
    const config = this.#pooler.databaseConfig(name);
    return config === null ? null : { name, config };
  }

  /** auth_type any: whatever the client calls itself, it is the database's forced user. The console has none. */
  #anybody(visitor: Visitor, asked: Asked | null): string {
    const forced = asked?.config?.user;
    if (forced === undefined && asked?.name !== CONSOLE_DATABASE)
      throw this.#refusal(visitor, failed('bad configuration', 'auth_type=any requires forced user'), null);
    this.#logAttempt(visitor);
    return forced ?? visitor.request.user;
  }

  #wayFor(visitor: Visitor): Way {
    const { request, conn } = visitor;
    const { authType } = this.#pooler.config.global;
    switch (authType) {
      case 'hba': {
        const rule = matchHba(this.#pooler.access.rules, {
          tls: conn.tls !== null,
          unix: conn.remote.unix,
          address: conn.remote.address,
          database: request.database,
          user: request.user,
          replication: request.replication === 'physical',
        });
        if (rule === null) throw this.#refusal(visitor, failed('no rule'), null);
        this.#pooler.log.noise(`HBA Line ${rule.place.line} is matched`, visitor.about);
        return rule;
      }
      case 'plain':
        return { method: 'password', map: null, ldap: null };
      case 'ldap':
        return { method: 'ldap', map: null, ldap: this.#pooler.access.ldap };
      case 'any':
      case 'pam':
        return { method: 'reject', map: null, ldap: null };
      default:
        return { method: authType, map: null, ldap: null };
    }
  }

  /** A promise where somebody must be asked first. */
  #known(visitor: Visitor, asked: Asked | null): Known | Promise<Known> {
    const refreshing = this.#pooler.userFile?.refresh(this.#pooler.config.global.authFile) ?? null;
    if (refreshing !== null) return refreshing.then(() => this.#inFile(visitor, asked));
    return this.#inFile(visitor, asked);
  }

  #inFile(visitor: Visitor, asked: Asked | null): Known | Promise<Known> {
    const { user } = visitor.request;
    const secret = this.#pooler.credentials.users.get(user);
    // An empty secret is none: no password matches it.
    if (secret !== undefined)
      return { exists: true, name: user, secret: isEmpty(secret) ? null : secret, queried: false };
    if (asked === null || this.#lookups.authUser(asked) === '')
      return { exists: false, name: user, secret: null, queried: false };
    return this.#queried(visitor, asked);
  }

  async #queried({ request: { user }, about }: Visitor, asked: Asked): Promise<Known> {
    const found = await this.#lookups.find(asked, user, about);
    if (found === null) return { exists: false, name: user, secret: null, queried: true };
    this.#pooler.learnAnswer(asked.name, found.name, found.secret);
    return { exists: true, name: found.name, secret: found.secret, queried: true };
  }

  /** The directory knows who exists; auth_file and auth_query are not asked. */
  #inDirectory(visitor: Visitor, asked: Asked | null): Known {
    if (asked?.config?.authUser)
      throw this.#refusal(
        visitor,
        failed('bad configuration', "LDAP can't be used together with database authentication"),
        null,
      );
    return { exists: true, name: visitor.request.user, secret: null, queried: false };
  }

  #asking({ request, conn, reader }: Visitor, known: Known): AuthRequest {
    const { scramIterations } = this.#pooler.config.global;
    return {
      conn,
      reader,
      crypto: this.#pooler.context.crypto,
      user: request.user,
      secret: known.secret,
      scramIterations,
      usual: this.#pooler.credentials.usual(known.queried, scramIterations),
    };
  }

  #prove({ method, map, ldap }: Way, asking: AuthRequest, known: Known): AuthResult | Promise<AuthResult> {
    switch (method) {
      case 'trust':
        if (known.exists) return { ok: true };
        return failed(known.queried ? 'no such user' : 'trust');
      case 'reject':
        return failed('rejected');
      case 'password':
        return authenticatePlain(asking);
      case 'md5':
        return (known.secret ?? asking.usual).kind === 'scram' ? authenticateScram(asking) : authenticateMd5(asking);
      case 'scram-sha-256':
        return authenticateScram(asking);
      case 'cert':
        return authenticateCert({ ...asking, user: known.name }, map, known.exists);
      case 'peer':
        return authenticatePeer({ ...asking, user: known.name }, map, known.exists);
      case 'ldap':
        return ldap === null
          ? failed('bad configuration', 'auth_ldap_options is null')
          : authenticateLdap(asking, ldap);
    }
  }

  /** The client is told no more than the failure's text; the log gets the rest. */
  #refusal({ request, about }: Visitor, { failure, reason }: NotProven, known: Known | null): LoginRefused {
    const { log, config } = this.#pooler;
    if (reason !== undefined) log.error(reason, about);
    const unknown = known !== null && !known.exists;
    if (unknown && !known.queried) log.info(`no such user: ${request.user}`, about);
    if (unknown && known.queried && config.global.logConnections)
      log.info(`login failed: db=${request.database}`, about);
    const text = failureText(failure, request.user);
    return new LoginRefused(
      unknown && known.queried && hidesUsers(failure) ? { ...text, logged: 'no such user' } : text,
    );
  }

  /** PgBouncer's line, before the proof. */
  #logAttempt(visitor: Visitor): void {
    if (!this.#pooler.config.global.logConnections) return;
    const { request, conn, about } = visitor;
    const replication = request.params.get('replication') ?? 'no';
    const { database, user } = request;
    this.#pooler.log.info(
      `login attempt: db=${database} user=${user} tls=${conn.tls?.description ?? 'no'} replication=${replication}`,
      about,
    );
  }
}

function hidesUsers(failure: Failure): boolean {
  return failure === 'password' || failure === 'sasl';
}
