/**
 * Why a client may not come in: a closed list, each with what the client is told and its SQLSTATE. The texts are
 * PgBouncer's, since people's alerts and retries match on them. What only the log may know is not here.
 */

export type Failure =
  | 'password'
  | 'sasl'
  | 'mechanism'
  | 'empty password'
  | 'unexpected message'
  | 'trust'
  | 'certificate'
  | 'peer'
  | 'ldap'
  | 'no such user'
  | 'rejected'
  | 'no rule'
  | 'bad configuration';

export interface FailureText {
  readonly message: string;
  readonly sqlState: string;
  readonly detail?: string;
}

/** The same for a user that does not exist and for a wrong password, so that nobody learns who exists. */
const EITHER = 'There is no such user, or the password is wrong.';

export function failureText(failure: Failure, user: string): FailureText {
  switch (failure) {
    case 'password':
      return { message: `password authentication failed for user "${user}"`, sqlState: '28P01', detail: EITHER };
    case 'sasl':
      return { message: 'SASL authentication failed', sqlState: '28P01', detail: EITHER };
    case 'mechanism':
      return { message: 'client selected an invalid SASL authentication mechanism', sqlState: '08P01' };
    case 'empty password':
      return { message: 'empty password returned by client', sqlState: '28P01' };
    case 'unexpected message':
      return { message: 'bad packet', sqlState: '08P01' };
    case 'trust':
      return { message: '"trust" authentication failed', sqlState: '28000' };
    case 'certificate':
      return { message: 'certificate authentication failed', sqlState: '28000' };
    case 'peer':
      return { message: 'unix socket login rejected', sqlState: '28000' };
    case 'ldap':
      return { message: 'LDAP authentication failed', sqlState: '28P01' };
    case 'no such user':
      return { message: 'no such user', sqlState: '28000' };
    case 'rejected':
      return { message: 'login rejected', sqlState: '28000' };
    case 'no rule':
      return { message: 'no authentication method is found', sqlState: '28000' };
    case 'bad configuration':
      return { message: 'bouncer config error', sqlState: '08P01' };
  }
}
