/** Counters of the traffic of one database, as SHOW STATS counts it. Plain numbers, written by the relay. */

export class Traffic {
  /** Transactions and queries that ended. */
  transactions = 0;
  queries = 0;
  /** Servers handed to clients. */
  assignments = 0;
  /** Bytes from clients and to clients. */
  received = 0;
  sent = 0;
  /** Milliseconds. */
  transactionMs = 0;
  queryMs = 0;
  waitMs = 0;
  /** Prepared statements: Parse by clients, Parse sent to servers, Bind. */
  clientParses = 0;
  serverParses = 0;
  binds = 0;
}
