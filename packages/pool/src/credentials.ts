/** User and password inside of a connection string, which pg lets win over what stands beside it. Text only. */

const USERINFO = /^([a-z]+:\/\/)(?:([^:@/?]*)(?::([^@/?]*))?@)?/i;

/** The string with another user or password; undefined: as it was. */
export function withCredentials(
  connectionString: string,
  user: string | undefined,
  password: string | undefined,
): string {
  return connectionString.replace(USERINFO, (_, scheme: string, oldUser = '', oldPassword?: string) => {
    const name = user === undefined ? oldUser : encodeURIComponent(user);
    const secret = password === undefined ? oldPassword : encodeURIComponent(password);
    return `${scheme}${name}${secret === undefined ? '' : `:${secret}`}@`;
  });
}
