/**
 * The cancel request of the protocol (PostgreSQL manual, "Canceling Requests in Progress"): a connection of its own that
 * carries the process id and key. Resolves when the server has closed it: then the signal has been sent, and nothing of
 * it can reach a later query. Knows no pool.
 */
import pg from 'pg';
import { isBusy, type RawClient, type RawConnection } from './raw-client.ts';

interface CancelConnection extends RawConnection {
  connect(port: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, key: unknown): void;
}

type CancelConnectionClass = new (config: unknown) => CancelConnection;

/** Can this client be cancelled at all? Needs what only pg's own JavaScript client has. */
export function canCancel(client: RawClient): boolean {
  return typeof client.processID === 'number' && client.secretKey != null && client.connection !== undefined;
}

/** Rejects when the server could not be reached or did not close within `timeoutMs`. */
export function sendCancel(client: RawClient, timeoutMs: number): Promise<void> {
  const Connection = pg.Connection as unknown as CancelConnectionClass;
  const ssl = client.ssl || false;
  const direct = client.sslNegotiation === 'direct';
  const connection = new Connection({ ssl, sslNegotiation: client.sslNegotiation });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      connection.stream?.destroy();
      reject(new Error(`the cancel request was not taken within ${timeoutMs} ms`));
    }, timeoutMs);
    const send = () => connection.cancel(client.processID!, client.secretKey);
    connection.on('connect', () => {
      if (!ssl) send();
      else if (!direct) connection.requestSsl();
    });
    connection.on('sslconnect', send);
    connection.on('error', (error: Error) => {
      clearTimeout(timer);
      connection.stream?.destroy();
      reject(error);
    });
    connection.on('end', () => {
      clearTimeout(timer);
      resolve();
    });
    const { host = 'localhost', port = 5432 } = client;
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
    else connection.connect(port, host);
  });
}

/** The connection is about to be closed with a query under way, which would run on without this. Nobody hears of its outcome. */
export function abandonQuery(client: RawClient, timeoutMs: number): void {
  if (isBusy(client) && canCancel(client)) sendCancel(client, timeoutMs).catch(() => {});
}
