/** Where the log goes, by the configuration: standard error, a file, syslog; kept up when the configuration changes. */
import type { Config } from '../config/index.ts';
import { Log, type LogSink } from '../telemetry/log.ts';
import { LogFile } from './log-file.ts';
import { openSyslog } from './syslog.ts';

const STDERR: LogSink = { write: (line) => process.stderr.write(`${line}\n`) };

export interface LogFlags {
  /** -q: nothing on standard error. */
  quiet: boolean;
  /** -v, as often as given; the setting `verbose` may ask for more. */
  verbose: number;
}

export class LogTarget {
  readonly log: Log;
  readonly #flags: LogFlags;
  #file: LogFile | null = null;
  #syslog: LogSink | null = null;
  #syslogKey = '';

  constructor(flags: LogFlags) {
    this.#flags = flags;
    this.log = new Log([STDERR], { format: 'text', verbose: flags.verbose });
  }

  /** Throws an error that names the file or the service that cannot be opened. */
  apply({ global }: Config): void {
    this.#useFile(global.logfile);
    this.#useSyslog(global.syslog ? `${global.syslogIdent}\0${global.syslogFacility}` : '');
    this.log.options = { format: global.logFormat, verbose: Math.max(this.#flags.verbose, global.verbose) };
    const sinks = [this.#file, this.#syslog].filter((sink) => sink !== null);
    // Quiet without any other place would be a log that nobody can read: PgBouncer does so, and so do we.
    this.log.sinks = this.#flags.quiet ? sinks : [STDERR, ...sinks];
  }

  #useFile(path: string): void {
    try {
      if (this.#file !== null && this.#file.path === path) {
        this.#file.reopen();
        return;
      }
      const opened = path === '' ? null : new LogFile(path);
      this.#file?.close();
      this.#file = opened;
    } catch (error) {
      throw new Error(`logfile ${path} cannot be opened: ${(error as Error).message}`);
    }
  }

  #useSyslog(key: string): void {
    if (key === this.#syslogKey) return;
    const [ident, facility] = key.split('\0');
    this.#syslog = key === '' ? null : openSyslog(ident!, facility!);
    this.#syslogKey = key;
  }
}
