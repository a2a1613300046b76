/** Replies that we give in the server's place, by what they complete. */
import { CLOSE_COMPLETE, PARSE_COMPLETE, Reply } from '@sluice/wire';

export const ANSWERS: Readonly<Partial<Record<Reply, Uint8Array>>> = {
  [Reply.Parse]: PARSE_COMPLETE,
  [Reply.Close]: CLOSE_COMPLETE,
};
