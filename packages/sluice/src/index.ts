/** The daemon as a library: what the command line starts. */
export { Daemon, type DaemonOptions } from './daemon.ts';
