/** Replies that we give in the server's place, by what they complete. */
import { CLOSE_COMPLETE, concat, errorResponse, PARSE_COMPLETE, Reply, readyForQuery } from '@sluice/wire';
import { Tx } from '../server/holder.ts';

export const ANSWERS: Readonly<Partial<Record<Reply, Uint8Array>>> = {
  [Reply.Parse]: PARSE_COMPLETE,
  [Reply.Close]: CLOSE_COMPLETE,
};

/** What PostgreSQL answers to a statement that was cancelled, outside of a transaction. */
export const CANCELED = concat(
  errorResponse({ severity: 'ERROR', code: '57014', message: 'canceling statement due to user request' }),
  readyForQuery(Tx.Idle),
);
