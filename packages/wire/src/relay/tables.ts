/** What the relay does with each message type, by its first byte. 256 entries, so that a look-up needs no bounds. */

/** Frontend messages, by what the relay must know of them. */
export const Front = {
  /** Not a message that a logged-in client may send. */
  Bad: 0,
  Query: 1,
  Parse: 2,
  Bind: 3,
  Describe: 4,
  Execute: 5,
  Close: 6,
  Sync: 7,
  Flush: 8,
  Function: 9,
  CopyData: 10,
  /** CopyDone, CopyFail. */
  CopyEnd: 11,
  Terminate: 12,
} as const;

/** Backend messages, by what the relay must do. */
export const Back = {
  Bad: 0,
  /** Passed on unread: DataRow, CopyData, CopyDone, FunctionCallResponse, CopyOutResponse … */
  Pass: 1,
  ParseComplete: 2,
  BindComplete: 3,
  CloseComplete: 4,
  /** RowDescription or NoData: completes a Describe. */
  Described: 5,
  /** CommandComplete, EmptyQueryResponse, PortalSuspended: completes an Execute. */
  Executed: 6,
  Ready: 7,
  Error: 8,
  Notice: 9,
  Notification: 10,
  ParameterStatus: 11,
  CopyIn: 12,
  /** CopyBothResponse: streaming replication. */
  CopyBoth: 13,
  /** ParameterDescription: the first half of the answer to a Describe. */
  ParameterTypes: 14,
} as const;

function table(rows: readonly (readonly [string, number])[]): Uint8Array {
  const bytes = new Uint8Array(256);
  for (const [types, what] of rows) for (const type of types) bytes[type.charCodeAt(0)] = what;
  return bytes;
}

export const FRONT: Uint8Array = table([
  ['Q', Front.Query],
  ['P', Front.Parse],
  ['B', Front.Bind],
  ['D', Front.Describe],
  ['E', Front.Execute],
  ['C', Front.Close],
  ['S', Front.Sync],
  ['H', Front.Flush],
  ['F', Front.Function],
  ['d', Front.CopyData],
  ['cf', Front.CopyEnd],
  ['X', Front.Terminate],
]);

export const BACK: Uint8Array = table([
  ['DdcVHv', Back.Pass],
  ['t', Back.ParameterTypes],
  ['1', Back.ParseComplete],
  ['2', Back.BindComplete],
  ['3', Back.CloseComplete],
  ['Tn', Back.Described],
  ['CIs', Back.Executed],
  ['Z', Back.Ready],
  ['E', Back.Error],
  ['N', Back.Notice],
  ['A', Back.Notification],
  ['S', Back.ParameterStatus],
  ['G', Back.CopyIn],
  ['W', Back.CopyBoth],
]);

/** The length field of the message at `at` (itself included, the type byte not). */
export function lengthAt(buffer: Uint8Array, at: number): number {
  return (buffer[at + 1]! << 24) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 8) | buffer[at + 4]!;
}

/** Bytes of type and length field. */
export const HEADER_BYTES = 5;
