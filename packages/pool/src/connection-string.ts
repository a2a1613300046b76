/** Changes inside of a connection string, which pg lets win over what stands beside it. Text only. */

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

/** What a connection string says of `ssl`. */
const SSL_PARAMETERS = ['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert', 'sslnegotiation', 'uselibpqcompat'];

/**
 * The string with these settings in place of its own, by the names of pg's config. What no string can hold (an object, a function) is
 * taken out of it, so that what stands beside it counts. Throws a TypeError when it is no URL.
 */
export function withSettings(connectionString: string, settings: Readonly<Record<string, unknown>>): string {
  const url = new URL(connectionString);
  for (const [name, value] of Object.entries(settings)) {
    for (const parameter of name === 'ssl' ? SSL_PARAMETERS : [name]) url.searchParams.delete(parameter);
    if (name === 'database') url.pathname = `/${encodeURIComponent(String(value ?? ''))}`;
    // Older releases of pg-connection-string know no parameter `port`.
    else if (name === 'port' && url.host !== '') url.port = String(value ?? '');
    else if (typeof value === 'string' || typeof value === 'number') url.searchParams.set(name, String(value));
  }
  return url.href;
}
