/** Where the log goes, by the configuration: standard error, a file, syslog; kept up when the configuration changes. */
import { type Config, located } from '../config/index.ts';
import { Log, type LogLevel, type LogSink } from '../telemetry/log.ts';
import { LogFile } from './log-file.ts';
import { openSyslog } from './syslog.ts';

const STDERR: LogSink = { write: (line) => process.stderr.write(`${line}\n`) };

export interface LogFlags {
  /** -q: nothing on standard error. */
  quiet: boolean;
  /** -v, as often as given; the setting `verbose` may ask for more. */
  verbose: number;
}

/** Lines kept at most until it is known where they belong. */
const MOST_HELD = 1_000;

export class LogTarget {
  readonly log: Log;
  /** What was said before the configuration was in force, for the places that it names; null from then on. */
  #held: { level: LogLevel; body: string }[] | null = [];
  readonly #flags: LogFlags;
  #file: LogFile | null = null;
  #syslog: LogSink | null = null;
  #syslogKey = '';

  constructor(flags: LogFlags) {
    this.#flags = flags;
    const hold: LogSink = { write: (_line, level = 'LOG', body = '') => this.#hold(level, body) };
    this.log = new Log(flags.quiet ? [hold] : [STDERR, hold], { format: 'text', verbose: flags.verbose });
  }

  #hold(level: LogLevel, body: string): void {
    if (this.#held !== null && this.#held.length < MOST_HELD) this.#held.push({ level, body });
  }

  /** Throws an error that names the file or the service that cannot be opened. */
  apply(config: Config): void {
    const { global } = config;
    this.#useFile(config);
    this.#useSyslog(global.syslog ? `${global.syslogIdent}\0${global.syslogFacility}` : '');
    this.log.options = { format: global.logFormat, verbose: Math.max(this.#flags.verbose, global.verbose) };
    const sinks = [this.#file, this.#syslog].filter((sink) => sink !== null);
    const held = this.#held ?? [];
    this.#held = null;
    this.log.sinks = sinks;
    for (const { level, body } of held) this.log.write(level, '', body);
    // Quiet without any other place would be a log that nobody can read: PgBouncer does so, and so do we.
    if (!this.#flags.quiet) this.log.sinks = [STDERR, ...sinks];
  }

  /** After a rotation, also where the configuration cannot be read (PgBouncer's reset_logging). */
  reopen(): void {
    try {
      this.#file?.reopen();
    } catch (error) {
      this.log.warn(
        `logfile ${this.#file!.path} cannot be opened again: ${(error as Error).message}; the old one is written on`,
      );
    }
  }

  /**
   * Why the process does not start, also in the log that the configuration names, as far as it can be had. Null: it must not be
   * opened; a file that root has made, or follows a link to, is not the user's who runs it in the end. Returns whether it is there, and
   * need not be said on standard error.
   */
  writeFatal(config: Config | null, message: string): boolean {
    const held = this.#held ?? [];
    try {
      if (this.#held !== null && config !== null) this.apply(config);
    } catch {
      // It is on standard error then.
    }
    this.log.sinks = this.log.sinks.filter((sink) => sink === this.#file || sink === this.#syslog);
    const isLogged = this.log.sinks.length > 0;
    if (!isLogged && this.#flags.quiet) {
      // What -q has kept back is all that tells why.
      this.log.sinks = [STDERR];
      for (const { level, body } of held) this.log.write(level, '', body);
      this.log.sinks = [];
    }
    for (const line of message.split('\n')) this.log.write('FATAL', '', line);
    return isLogged && this.#flags.quiet;
  }

  #useFile(config: Config): void {
    const path = config.global.logfile;
    try {
      if (this.#file?.path === path) return;
      const opened = path === '' ? null : new LogFile(path);
      this.#file?.close();
      this.#file = opened;
    } catch (error) {
      const message = `logfile ${path} cannot be opened: ${(error as Error).message}`;
      throw new Error(located(config, 'logfile', message));
    }
  }

  #useSyslog(key: string): void {
    if (key === this.#syslogKey) return;
    const [ident, facility] = key.split('\0');
    this.#syslog = key === '' ? null : openSyslog(ident!, facility!);
    this.#syslogKey = key;
  }
}
