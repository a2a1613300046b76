export {
  DESCRIBED_EXCHANGE,
  DESCRIBED_RUN,
  exchangeAnswer,
  PLAIN_EXCHANGE,
  PLAIN_RUN,
  preparedRun,
  SIMPLE_EXCHANGE,
  tagMatters,
  unnamedExchange,
} from './exchange.ts';
export { Action, type Effect, Reply, ReplyQueue } from './reply-queue.ts';
export { BACK, Back, FRONT, Front, HEADER_BYTES, lengthAt } from './tables.ts';
