/**
 * The log: one line an event, in PgBouncer's shape (people's alerts match on it) or as JSON. Owns the format and where
 * lines go; decides nothing about what is worth a line. Opens no files: it is given a writer.
 */

export type LogLevel = 'FATAL' | 'ERROR' | 'WARNING' | 'LOG' | 'NOISE' | 'DEBUG';

export interface LogSink {
  /** A whole line without its newline; its level and its text without time and process, for a service that adds its own. */
  write(line: string, level?: LogLevel, body?: string): void;
}

export interface LogOptions {
  format: 'text' | 'json';
  /** 0: up to LOG; 1: NOISE too; 2 and up: DEBUG too (PgBouncer -v). */
  verbose: number;
}

const LEVELS: Readonly<Record<LogLevel, number>> = { FATAL: 0, ERROR: 0, WARNING: 0, LOG: 0, NOISE: 1, DEBUG: 2 };

export class Log {
  sinks: LogSink[];
  options: LogOptions;

  constructor(sinks: LogSink[], options: LogOptions) {
    this.sinks = sinks;
    this.options = options;
  }

  /** True when lines of this level are written: ask before building an expensive one. */
  wants(level: LogLevel): boolean {
    return LEVELS[level] <= this.options.verbose;
  }

  /** `about` names the connection ("C-0x1: db/user@127.0.0.1:5000") or is ''. */
  write(level: LogLevel, about: string, message: string): void {
    if (!this.wants(level)) return;
    const now = new Date();
    const body = oneLine(about === '' ? message : `${about} ${message}`);
    const line = this.options.format === 'json' ? json(now, level, about, message) : text(now, level, body);
    for (const sink of this.sinks) sink.write(line, level, body);
  }

  info(message: string, about = ''): void {
    this.write('LOG', about, message);
  }

  warn(message: string, about = ''): void {
    this.write('WARNING', about, message);
  }

  error(message: string, about = ''): void {
    this.write('ERROR', about, message);
  }

  debug(message: string, about = ''): void {
    this.write('DEBUG', about, message);
  }

  noise(message: string, about = ''): void {
    this.write('NOISE', about, message);
  }
}

/** Nobody outside may begin a line of the log, or move the cursor of who reads it: names come from whoever connects. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

function text(now: Date, level: LogLevel, body: string): string {
  const time = now.toISOString().replace('T', ' ').replace('Z', ' UTC');
  return `${time} [${process.pid}] ${level} ${body}`;
}

function json(now: Date, level: LogLevel, about: string, message: string): string {
  const fields: Record<string, unknown> = { time: now.toISOString(), pid: process.pid, level: level.toLowerCase() };
  if (about !== '') fields.connection = oneLine(about);
  return JSON.stringify({ ...fields, message: oneLine(message) });
}
