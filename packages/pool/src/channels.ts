/** diagnostics_channel events of every pool: names; one test while nobody listens. */
import { type Channel, channel } from 'node:diagnostics_channel';

/** Each message is an object with `pool` (its name) and what the event is about. */
export const CHANNELS = {
  /** { pool, client, waitMs }: a client was handed out. */
  acquire: 'sluice.pool.acquire',
  /** { pool, client, heldMs }: it came back. */
  release: 'sluice.pool.release',
  /** { pool, client, dialMs }: a connection was opened. */
  open: 'sluice.pool.open',
  /** { pool, error, failures }: a dial failed. */
  openFailed: 'sluice.pool.open-failed',
  /** { pool, client, reason }: a connection is being closed. */
  close: 'sluice.pool.close',
  /** { pool, error }: a request ended without a connection. */
  refused: 'sluice.pool.refused',
  /** A LeakReport. */
  leak: 'sluice.pool.leak',
  /** { pool, ms }: wall time ran ahead of monotonic time. */
  clockJump: 'sluice.pool.clock-jump',
  /** { pool, client, error }: an idle connection failed. */
  lost: 'sluice.pool.lost',
} as const;

export type ChannelName = keyof typeof CHANNELS;

/** Asked by a name that stands in the code, `channels.acquire.hasSubscribers` costs next to nothing. */
export const channels = Object.fromEntries(
  Object.entries(CHANNELS).map(([key, name]) => [key, channel(name)]),
) as Record<ChannelName, Channel>;
