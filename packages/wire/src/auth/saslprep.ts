/**
 * SASLprep (RFC 4013) as PostgreSQL applies it to passwords: map, normalise, check; a password that the profile does not
 * allow is used as it is (pg_saslprep's callers fall back to the raw bytes).
 */

/** Mapped to a space: RFC 3454 table C.1.2. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
/** Mapped to nothing: RFC 3454 table B.1. */
const NOTHING = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g;
/** Prohibited: controls, private use, non-characters, surrogates, tagging and the like (C.2.1 to C.9). */
const PROHIBITED =
  /[\u0000-\u001f\u007f-\u009f\u06dd\u070f\u180e\u2028\u2029\u2061-\u2063\u206a-\u206f\u200e\u200f\u202a-\u202e\u2ff0-\u2ffb\ufff9-\uffff\u{1d173}-\u{1d17a}\ue000-\uf8ff\u{f0000}-\u{10ffff}\ud800-\udfff\ufdd0-\ufdef\u{e0001}\u{e0020}-\u{e007f}]|\u0340|\u0341/u;
/** Right-to-left letters, near enough to RFC 3454 table D.1: Hebrew, Arabic, Syriac, Thaana and presentation forms. */
const RTL =
  /[\u05be\u05c0\u05c3\u05d0-\u05f4\u061b\u061f\u0621-\u064a\u066d-\u066f\u0671-\u06d5\u06e5\u06e6\u06fa-\u0710\u0712-\u072c\u0780-\u07b1\u200f\ufb1d-\ufdfc\ufe70-\ufefc]/;
const LTR = /\p{L}/u;

export function saslprep(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  const mapped = text.replace(SPACES, ' ').replace(NOTHING, '').normalize('NFKC');
  if (mapped === '' || PROHIBITED.test(mapped)) return text;
  if (RTL.test(mapped)) {
    const letters = [...mapped];
    const mixed = letters.some((letter) => LTR.test(letter) && !RTL.test(letter));
    if (mixed || !RTL.test(letters[0]!) || !RTL.test(letters.at(-1)!)) return text;
  }
  return mapped;
}
