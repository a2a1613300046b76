export { Action, DESCRIBED_EXCHANGE, type Effect, PLAIN_EXCHANGE, Reply, ReplyQueue } from './reply-queue.ts';
export { BACK, Back, FRONT, Front, HEADER_BYTES, lengthAt } from './tables.ts';
