export { DESCRIBED_EXCHANGE, exchangeAnswer, PLAIN_EXCHANGE, unnamedExchange } from './exchange.ts';
export { Action, type Effect, Reply, ReplyQueue } from './reply-queue.ts';
export { BACK, Back, FRONT, Front, HEADER_BYTES, lengthAt } from './tables.ts';
