/**
 * Logging in to a PostgreSQL server, linear from the startup message to the first ReadyForQuery. Owns nothing that lives
 * longer than the login. Errors say which server, which user, and what to change.
 */
import {
  type CryptoPort,
  type ErrorFields,
  md5Response,
  type Parameters,
  parseAuthentication,
  parseBackendKeyData,
  parseErrorFields,
  parseParameterStatus,
  passwordMessage,
  ScramClient,
  type ScramKeys,
  type Secret,
  saslInitialResponse,
  saslResponse,
  startupMessage,
} from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { type Packet, PacketReader } from '../net/packet-reader.ts';

/** What is known of the user that logs in to the server. */
export interface ServerCredentials {
  user: string;
  /** What the userlist or the URL has for the user; null when it has nothing. */
  secret: Secret | null;
  /** The keys of a client that logged in by SCRAM with the same secret: pass-through. */
  scramKeys: ScramKeys | null;
}

export interface LoginRequest {
  credentials: ServerCredentials;
  database: string;
  /** Further startup parameters: client_encoding, application_name, options, replication … */
  startup: ReadonlyMap<string, string>;
  parameters: Parameters;
  crypto: CryptoPort;
  /** Hash of the server's certificate for channel binding, or null. */
  endPoint: Uint8Array | null;
}

export interface LoggedIn {
  processId: number;
  cancelKey: Uint8Array;
  parameters: Parameters;
  /** Every parameter that the server reported, in order. */
  reported: ReadonlyMap<string, string>;
  /** What arrived after ReadyForQuery. */
  rest: Buffer;
}

/** The server refused: its own error. */
export class ServerRefused extends Error {
  readonly fields: ErrorFields;
  /** Before it asked for any proof: its rules (pg_hba.conf), its state, or its limits are against us. */
  readonly outright: boolean;

  constructor(fields: ErrorFields, outright: boolean) {
    super(fields.message);
    this.name = 'ServerRefused';
    this.fields = fields;
    this.outright = outright;
  }
}

/** The login cannot go on for a reason of ours: no password, a method that is not supported, a broken answer. */
export class LoginImpossible extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LoginImpossible';
  }
}

const LOGIN_MESSAGE_BYTES = 65_536;
const MAX_LOGIN_MESSAGES = 1_000;

/** Rejects with ServerRefused, LoginImpossible, ConnectionEnded or ProtocolError. */
export async function logIn(conn: Conn, request: LoginRequest): Promise<LoggedIn> {
  const reader = new PacketReader(conn, LOGIN_MESSAGE_BYTES);
  const { user } = request.credentials;
  // Last: whatever else is asked for, it is this user and this database.
  const params = { ...Object.fromEntries(request.startup), user, database: request.database };
  send(conn, startupMessage({ major: 3, minor: 0, params }));
  await authenticate(conn, reader, request);
  return settle(reader, request);
}

function send(conn: Conn, message: Uint8Array): void {
  conn.write(message, 0, message.length);
}

async function next(reader: PacketReader, first = false): Promise<Packet> {
  for (let count = 0; count < MAX_LOGIN_MESSAGES; count++) {
    const packet = await reader.next();
    if (packet.type === 0x45) throw new ServerRefused(parseErrorFields(packet.body, 0, packet.body.length), first);
    if (packet.type !== 0x4e) return packet;
  }
  throw new LoginImpossible('the server sends notices without end during login');
}

async function authenticate(conn: Conn, reader: PacketReader, request: LoginRequest): Promise<void> {
  for (let asked = false; ; ) {
    const packet = await next(reader, !asked);
    if (packet.type === 0x76) continue; // NegotiateProtocolVersion: we ask for 3.0 only
    if (packet.type !== 0x52)
      throw new LoginImpossible(
        `unexpected message of type 0x${packet.type.toString(16)} from the server during login`,
      );
    asked = true;
    const wanted = parseAuthentication(packet.body, 0, packet.body.length);
    switch (wanted.kind) {
      case 'ok':
        return;
      case 'cleartext':
        send(conn, passwordMessage(plainPassword(request.credentials)));
        break;
      case 'md5':
        send(conn, passwordMessage(md5Answer(request, wanted.salt)));
        break;
      case 'sasl':
        await scram(conn, reader, request, wanted.mechanisms);
        break;
      default:
        throw new LoginImpossible(
          `the server asks for authentication "${wanted.kind}", which is not supported; use scram-sha-256, md5, password or trust for this user in its pg_hba.conf`,
        );
    }
  }
}

function plainPassword({ user, secret }: ServerCredentials): string {
  if (secret?.kind === 'plain') return secret.password;
  throw new LoginImpossible(
    `wrong password type: the server wants the plain password of user "${user}", but ${secret === null ? 'none is known' : `only a ${secret.kind} secret is known`}; put the plain password into auth_file or the connection string`,
  );
}

function md5Answer({ credentials, crypto }: LoginRequest, salt: Uint8Array): string {
  const { user, secret } = credentials;
  if (secret === null || secret.kind === 'scram')
    throw new LoginImpossible(
      `wrong password type: the server wants an md5 answer of user "${user}", but ${secret === null ? 'no password is known' : 'only a SCRAM secret is known'}; put the plain password or the md5 hash into auth_file or the connection string`,
    );
  return md5Response(crypto, user, secret, salt);
}

async function scram(
  conn: Conn,
  reader: PacketReader,
  request: LoginRequest,
  mechanisms: readonly string[],
): Promise<void> {
  const { credentials, crypto, endPoint } = request;
  const { user, secret, scramKeys } = credentials;
  const source =
    secret?.kind === 'plain' ? { password: secret.password } : scramKeys !== null ? { keys: scramKeys } : null;
  if (source === null)
    throw new LoginImpossible(
      `wrong password type: the server wants SCRAM-SHA-256 of user "${user}", but ${secret === null ? 'no password is known' : `only a ${secret.kind} secret is known`}; put the plain password into auth_file, or let clients log in with scram-sha-256 by the same secret as the server's`,
    );
  const client = new ScramClient(crypto, source, { mechanisms, endPoint });
  const first = client.first();
  send(conn, saslInitialResponse(first.mechanism, first.data));
  const challenge = await sasl(reader, 'sasl-continue');
  send(conn, saslResponse(await client.answer(challenge)));
  client.verify(await sasl(reader, 'sasl-final'));
}

async function sasl(reader: PacketReader, kind: 'sasl-continue' | 'sasl-final'): Promise<Uint8Array> {
  const packet = await next(reader);
  const asked = packet.type === 0x52 ? parseAuthentication(packet.body, 0, packet.body.length) : null;
  if (asked === null || asked.kind !== kind)
    throw new LoginImpossible(`the server broke off SASL where ${kind} was due`);
  return asked.data;
}

async function settle(reader: PacketReader, request: LoginRequest): Promise<LoggedIn> {
  let { parameters } = request;
  const reported = new Map<string, string>();
  let processId = 0;
  let cancelKey: Uint8Array = new Uint8Array(0);
  for (let count = 0; count < MAX_LOGIN_MESSAGES; count++) {
    const { type, body } = await next(reader);
    if (type === 0x53) {
      const { name, value } = parseParameterStatus(body, 0, body.length);
      reported.set(name, value);
      const index = parameters.names.indexOf(name);
      if (index >= 0) parameters = parameters.with(index, value);
    } else if (type === 0x4b) {
      const key = parseBackendKeyData(body, 0, body.length);
      processId = key.pid;
      cancelKey = Uint8Array.from(key.key);
    } else if (type === 0x5a) return { processId, cancelKey, parameters, reported, rest: reader.detach() };
    else throw new LoginImpossible(`unexpected message of type 0x${type.toString(16)} from the server during login`);
  }
  throw new LoginImpossible('the server sends parameters without end during login');
}
