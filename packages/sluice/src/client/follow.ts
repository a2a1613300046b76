/**
 * What a client in transaction mode carries along from server to server (session_state = follow): notes what its statements
 * may have changed, asks PostgreSQL at the end of the transaction what is there, and knows what pins the server to its client.
 * One for a client that ever gave reason for suspicion. The pairing itself is session.ts's.
 */
import { type Parameters, parameterStatus } from '@sluice/wire';
import type { ServerHolder } from '../server/holder.ts';
import { changesReading } from '../server/readings.ts';
import type { Server } from '../server/server.ts';
import { SessionSettings } from '../server/session-settings.ts';
import type { Classifier } from '../sql/classifier.ts';
import { ALL_NAMES, both, Keeps, type Suspicion, TEMPORARY_PATH } from '../sql/suspicion.ts';
import { Keeping } from './home.ts';
import { type Finding, Inventory, SESSION_BYTES } from './inventory.ts';

/** Something that only this server has, and the statement that made it. */
export interface Pin {
  /** In words: "temporary table x". */
  readonly what: string;
  /** The bit of Keeps by which it is looked for again; 0: only DISCARD ALL ends it. */
  readonly keeps: number;
  readonly statement: string;
  /** Clock milliseconds. */
  readonly since: number;
}

const STATEMENT_CHARACTERS = 200;
const NO_LOCALS: ReadonlySet<string> = new Set();

const WORDS: Readonly<Record<string, readonly [number, string]>> = {
  temporary: [Keeps.Temporary, 'temporary object'],
  cursor: [Keeps.Cursor, 'cursor WITH HOLD'],
  lock: [Keeps.Lock, 'session advisory lock'],
  listen: [Keeps.Listen, 'LISTEN'],
  prepared: [Keeps.Prepared, 'PREPARE'],
};

/** Whose state it is. */
export interface Followed extends ServerHolder {
  parameters: Parameters;
  settings: SessionSettings;
}

export class Follow {
  pins: readonly Pin[] = [];
  /** The server is being asked. */
  asking = false;
  readonly #base: SessionSettings;
  readonly #classifier: Classifier;
  #suspicion: Suspicion | null = null;
  #locals = NO_LOCALS;
  #statement = '';
  #everythingDiscarded = false;

  /** `base`: what the client asked for at its login, reported settings included. */
  constructor(base: SessionSettings, classifier: Classifier) {
    this.#base = base;
    this.#classifier = classifier;
  }

  /** Is there something to be asked, or something that only this server has? */
  get leavesBehind(): boolean {
    return this.#suspicion !== null || this.asking || this.pins.length > 0;
  }

  get suspects(): boolean {
    return this.#suspicion !== null;
  }

  /** May a text be read by other settings than is known, or find a temporary object in front of another? */
  readsOtherwise(parameters: Parameters): boolean {
    if (this.pins.some(({ keeps }) => keeps === 0 || keeps === Keeps.Temporary)) return true;
    if (changesReading(this.#locals, parameters)) return true;
    if (this.#suspicion === null) return false;
    const { anySetting, keeps, names, unknowable } = this.#suspicion;
    return anySetting || (keeps & Keeps.Temporary) !== 0 || unknowable !== null || changesReading(names, parameters);
  }

  /** The transaction is over, and with it what was SET LOCAL. */
  transactionEnded(): void {
    this.#locals = NO_LOCALS;
  }

  /** By the rules as they are now (RELOAD): is what it keeps neither allowed nor watched? */
  mustGo(keeping: Keeping): boolean {
    if (keeping === Keeping.Follow) return false;
    if (keeping === Keeping.Refuse) return this.suspects || this.pins.length > 0;
    return this.pins.some(({ keeps }) => keeping === Keeping.Nothing || (keeps & ~Keeps.Prepared) !== 0);
  }

  /** A statement goes to the server that may change something. */
  note(suspicion: Suspicion, text: string, server: Server): void {
    const names = new Set([...suspicion.names].filter((name) => !isReported(server, name)));
    let told: Suspicion = { ...suspicion, names };
    if (suspicion.executes)
      for (const prepared of server.settings.prepared.values()) {
        const inside = this.#classifier.suspicionOf(prepared);
        if (inside !== null) told = both(told, { ...inside, keeps: inside.keeps & ~Keeps.Prepared });
      }
    const resets = new Set([...suspicion.resets].filter((name) => name === ALL_NAMES || this.#base.values.has(name)));
    told = { ...told, resets };
    // What was made while it was first is asked for when it is no more.
    if (this.#hasTemporaryPath && setsPath(suspicion)) told = { ...told, keeps: told.keeps | Keeps.Temporary };
    const locals = [...told.locals].filter((name) => !isReported(server, name));
    if (locals.length > 0) this.#locals = new Set([...this.#locals, ...locals]);
    if (told.names.size + resets.size === 0 && !told.anySetting && told.keeps === 0 && told.unknowable === null) return;
    this.#suspicion = both(this.#suspicion, told);
    this.#statement = text.slice(0, STATEMENT_CHARACTERS);
  }

  /** DISCARD ALL was run. */
  discarded(): void {
    this.#everythingDiscarded = true;
  }

  /** Asks the server, which `owner` holds otherwise; `done` when the owner has what it is to have on the next server. */
  ask(owner: Followed, server: Server, now: number, done: () => void): void {
    const suspicion = this.#suspicion!;
    const names = new Set([...server.settings.values.keys(), ...suspicion.names]);
    for (const name of this.#base.values.keys())
      if (isReported(server, name) && resets(suspicion, name)) names.add(name);
    this.#suspicion = null;
    this.asking = true;
    const answered = (found: readonly Finding[] | string) => {
      this.asking = false;
      if (typeof found === 'string') this.#pin(`state that could not be read (${found})`, 0, now);
      else this.#understand(found, suspicion, server, now);
      this.#everythingDiscarded = false;
      owner.settings = server.settings.over(this.#unreported(server));
      if (typeof found !== 'string') this.#restore(owner, server, found);
      done();
    };
    new Inventory(owner, answered).ask(server, names, suspicion, this.#base.values);
  }

  #unreported(server: Server): SessionSettings {
    return new SessionSettings(new Map([...this.#base.values].filter(([name]) => !isReported(server, name))));
  }

  /** A RESET gives a reported setting the server's first value; the client's is what it asked for at its login. */
  #restore(owner: Followed, server: Server, found: readonly Finding[]): void {
    for (const { name, isReset } of found) {
      const index = server.parameters.names.indexOf(name);
      const value = this.#base.values.get(name);
      if (!isReset || value === undefined || !isReported(server, name)) continue;
      owner.parameters = owner.parameters.with(index, value);
      const told = parameterStatus(server.parameters.names.names[index]!, value);
      owner.relay(told, 0, told.length);
    }
  }

  #understand(found: readonly Finding[], suspicion: Suspicion, server: Server, now: number): void {
    const before = this.pins;
    this.pins = before.filter(({ keeps }) =>
      keeps === 0 ? !this.#everythingDiscarded : (keeps & suspicion.keeps) === 0,
    );
    if ((suspicion.keeps & Keeps.Temporary) !== 0 && !hasTemporaryPath(found, server))
      this.pins = this.pins.filter(({ what }) => what !== TEMPORARY_PATH);
    if (suspicion.unknowable !== null && !this.#everythingDiscarded) this.#pin(suspicion.unknowable, 0, now);
    const values = new Map(server.settings.values);
    const prepared = new Map((suspicion.keeps & Keeps.Prepared) === 0 ? server.settings.prepared : []);
    for (const finding of found) {
      const { kind, name, value } = finding;
      if (kind === 'setting') {
        if (isReported(server, name)) continue;
        // Where the client's first value is another than the server's, only a RESET means its own.
        const first = this.#base.values.has(name) ? isResetIn(finding, suspicion) : isAsAtLogin(finding, server);
        if (value === null || first) values.delete(name);
        else values.set(name, value);
      } else if (kind === 'prepared' && this.#canRepeat(value!, server)) prepared.set(name, value!);
      else {
        const [keeps, what] = WORDS[kind]!;
        this.#pin(`${what} ${name}`, keeps, now, before);
      }
    }
    const settings = new SessionSettings(values, prepared);
    if (settings.size > SESSION_BYTES) this.#pin('more settings than are carried along', 0, now);
    server.settings = settings.equals(server.settings) ? server.settings : settings;
  }

  get #hasTemporaryPath(): boolean {
    return this.pins.some(({ what }) => what === TEMPORARY_PATH);
  }

  /** A pin that was there before keeps its statement and its time. */
  #pin(what: string, keeps: number, since: number, before: readonly Pin[] = this.pins): void {
    if (this.pins.some((pin) => pin.what === what)) return;
    const old = before.find((pin) => pin.what === what);
    this.pins = [...this.pins, old ?? { what, keeps, statement: this.#statement, since }];
  }

  /** A PREPARE can be said again when it is a statement of its own, in characters that every encoding writes alike. */
  #canRepeat(text: string, server: Server): boolean {
    const utf8 = /^utf-?8$/i.test(server.parameters.get('client_encoding') ?? '');
    return (utf8 || /^[\x00-\x7f]*$/.test(text)) && this.#classifier.isPrepare(text);
  }
}

const PATH = 'search_path';

function setsPath(suspicion: Suspicion): boolean {
  return suspicion.names.has(PATH) || resets(suspicion, PATH) || suspicion.anySetting;
}

/** Are temporary objects made by any CREATE, as far as is known now? */
function hasTemporaryPath(found: readonly Finding[], server: Server): boolean {
  const setting = found.find(({ kind, name }) => kind === 'setting' && name === PATH);
  const value = server.parameters.get(PATH) ?? setting?.value ?? null;
  return value === null || /\bpg_temp\b/i.test(value);
}

function resets(suspicion: Suspicion, name: string): boolean {
  return suspicion.resets.has(name) || suspicion.resets.has(ALL_NAMES);
}

/** PostgreSQL reports it, and so it follows the client already. */
export function isReported(server: Server, name: string): boolean {
  return server.parameters.get(name) !== null;
}

/** PostgreSQL tells it of its own settings, but for the role; of those and of custom ones the text has to do. */
function isResetIn({ name, value, isReset }: Finding, suspicion: Suspicion): boolean {
  if (isReset !== null) return isReset;
  return name === 'role' ? suspicion.resets.has(name) && value === 'none' : value === '' && resets(suspicion, name);
}

function isAsAtLogin({ name, value, isDefault }: Finding, server: Server): boolean {
  if (value === null || isDefault) return true;
  if (name === 'role') return value === 'none';
  return name === 'session_authorization' && value === server.identity.user;
}
