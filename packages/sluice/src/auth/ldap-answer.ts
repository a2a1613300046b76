/**
 * Whether a directory has really confirmed a bind: the client library takes an answer without a result code for one that says success.
 * Reads the bytes of LDAP messages (RFC 4511, 4.1.1, 4.1.9 and 4.2.2; BER as there); knows no connection.
 */

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const OCTET_STRING = 0x04;
const ENUMERATED = 0x0a;
const BIND_RESPONSE = 0x61;

/** More is not collected: an answer to a bind is short. */
export const ANSWER_BYTES = 65_536;

interface Element {
  readonly tag: number;
  readonly from: number;
  readonly to: number;
}

/** The element at `at`, with a length of at most four bytes, if it ends before `end`. */
function elementAt(bytes: Uint8Array, at: number, end: number): Element | null {
  if (at + 2 > end) return null;
  const first = bytes[at + 1]!;
  const more = first & 0x80 ? first & 0x7f : 0;
  if (first === 0x80 || more > 4 || at + 2 + more > end) return null;
  let length = more === 0 ? first : 0;
  for (let i = 0; i < more; i++) length = length * 256 + bytes[at + 2 + i]!;
  const from = at + 2 + more;
  return from + length > end ? null : { tag: bytes[at]!, from, to: from + length };
}

/** Do the bytes hold whole messages, a BindResponse among them, and does each BindResponse say success, with all that belongs to it? */
export function confirmsBind(bytes: Uint8Array): boolean {
  let isConfirmed = false;
  for (let at = 0; at < bytes.length; ) {
    const message = elementAt(bytes, at, bytes.length);
    if (message === null || message.tag !== SEQUENCE) return false;
    at = message.to;
    const id = elementAt(bytes, message.from, message.to);
    const response = id?.tag === INTEGER ? elementAt(bytes, id.to, message.to) : null;
    if (response?.tag !== BIND_RESPONSE) continue;
    if (!saysSuccess(bytes, response)) return false;
    isConfirmed = true;
  }
  return isConfirmed;
}

function saysSuccess(bytes: Uint8Array, response: Element): boolean {
  const code = elementAt(bytes, response.from, response.to);
  if (code?.tag !== ENUMERATED || code.to !== code.from + 1 || bytes[code.from] !== 0) return false;
  const matched = elementAt(bytes, code.to, response.to);
  return matched?.tag === OCTET_STRING && elementAt(bytes, matched.to, response.to)?.tag === OCTET_STRING;
}
