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

/** Stands for a host where there is none, or where another is named behind it. */
const NO_HOST = 'placeholder.invalid';

/** As pg-connection-string reads it: without a host behind the password, or a socket's directory and a database. Throws a TypeError. */
function parsed(connectionString: string): URL {
  if (connectionString.startsWith('/')) {
    const [host = '', database = ''] = connectionString.split(' ');
    return new URL(`postgres:///${encodeURI(database)}?host=${encodeURIComponent(host)}`);
  }
  if (URL.canParse(connectionString)) return new URL(connectionString);
  const url = new URL(connectionString.replace('@/', `@${NO_HOST}/`));
  if (!url.searchParams.get('host')) url.searchParams.set('host', '');
  return url;
}

/**
 * The string with these settings in place of its own, by the names of pg's config. What no string can hold (an object, a function) is
 * taken out of it, so that what stands beside it counts. Throws a TypeError when it is no URL.
 */
export function withSettings(connectionString: string, settings: Readonly<Record<string, unknown>>): string {
  const url = parsed(connectionString);
  for (const [name, value] of Object.entries(settings)) {
    for (const parameter of name === 'ssl' ? SSL_PARAMETERS : [name]) url.searchParams.delete(parameter);
    if (name === 'database') url.pathname = `/${pathOf(String(value ?? ''))}`;
    else if (typeof value === 'string' || typeof value === 'number') {
      // What stands in the place of these counts where the parameter is empty, or in older releases of pg-connection-string.
      if (name === 'user') url.username = '';
      if (name === 'password') url.password = '';
      if (name === 'host' && url.host !== '') url.hostname = NO_HOST;
      if (name === 'port' && url.host !== '') url.port = String(value);
      url.searchParams.set(name, String(value));
    }
  }
  return url.href;
}

/** It is read back by decodeURI, which leaves these two as they are. */
function pathOf(database: string): string {
  if (/[?#]/.test(database))
    throw new TypeError(`the database "${database}" cannot be named in a connection string: give its parts one by one`);
  return encodeURI(database);
}
