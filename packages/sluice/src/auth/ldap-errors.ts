/** What went wrong with a directory, as PgBouncer's log has it: in the words of libldap (ldap_err2string) where there is a result code. */
import { opensslReason } from '../net/tls-reason.ts';

/** By result code (RFC 4511, appendix A). */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'Operations error',
  2: 'Protocol error',
  3: 'Time limit exceeded',
  4: 'Size limit exceeded',
  7: 'Authentication method not supported',
  8: 'Strong(er) authentication required',
  10: 'Referral',
  11: 'Administrative limit exceeded',
  12: 'Critical extension is unavailable',
  13: 'Confidentiality required',
  14: 'SASL bind in progress',
  16: 'No such attribute',
  18: 'Inappropriate matching',
  19: 'Constraint violation',
  32: 'No such object',
  34: 'Invalid DN syntax',
  48: 'Inappropriate authentication',
  49: 'Invalid credentials',
  50: 'Insufficient access',
  51: 'Server is busy',
  52: 'Server is unavailable',
  53: 'Server is unwilling to perform',
  80: 'Other (e.g., implementation specific) error',
};

/** One line, without what only a debugger wants to know. What the directory itself says to its code follows it. */
export function explainLdap(error: Error): string {
  const { code } = error as { code?: unknown };
  if (typeof code === 'number') {
    const said = error.message.replace(/\s*Code: 0x[0-9a-f]+$/, '').trim();
    const result = RESULTS[code] ?? `result code ${code}`;
    return said === '' ? result : `${result}: ${said}`;
  }
  const text = opensslReason(error.message) ?? (error.message || error.name);
  return typeof code === 'string' && !/^ERR_(SSL|OSSL)/.test(code) && !text.includes(code) ? `${code}: ${text}` : text;
}
