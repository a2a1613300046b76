/** A client that speaks the protocol byte by byte, for what no driver would send. */
import { connect, type Socket } from 'node:net';
import {
  type CryptoPort,
  concat,
  lengthAt,
  md5Response,
  parseAuthentication,
  parseBackendKeyData,
  parseDataRow,
  parseErrorFields,
  passwordMessage,
  ScramClient,
  saslInitialResponse,
  saslResponse,
  startupMessage,
} from '@sluice/wire';
import { nodeCrypto } from '../../packages/sluice/src/auth/crypto.ts';
import type { Coordinates } from './global-setup.ts';

/** Nothing at all arrives for so long: it will not come any more. Below the time limit of a test, so that the error says what. */
const SILENCE_MS = 35_000;

export interface Message {
  type: string;
  body: Buffer;
}

export class RawClient {
  readonly socket: Socket;
  closed = false;
  #pending: Buffer = Buffer.alloc(0);
  #waiting: (() => void)[] = [];

  static connect(host: string, port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawClient(socket)));
    });
  }

  /** Connects and logs in, up to and with ReadyForQuery. Returns the greeting's messages too. */
  static async login(
    at: Coordinates,
    params: Record<string, string> = {},
    minor = 0,
  ): Promise<{ raw: RawClient; greeting: Message[] }> {
    const raw = await RawClient.connect(at.host, at.port);
    raw.send(startupMessage({ major: 3, minor, params: { user: at.user, database: at.database, ...params } }));
    const before = await raw.authenticate(at.password, nodeCrypto, at.user);
    const greeting = [...before, ...(await raw.until('Z'))];
    return { raw, greeting };
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#pending = Buffer.concat([this.#pending, chunk]);
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  send(...pieces: Uint8Array[]): void {
    this.socket.write(concat(...pieces));
  }

  /** The next message, or null when the connection has ended. `awaited`: what the error names when none comes in time. */
  async next(awaited = 'a message'): Promise<Message | null> {
    for (;;) {
      const data = this.#pending;
      if (data.length >= 5 && data.length > lengthAt(data, 0)) {
        const end = lengthAt(data, 0) + 1;
        this.#pending = data.subarray(end);
        return { type: String.fromCharCode(data[0]!), body: data.subarray(5, end) };
      }
      if (this.closed) return null;
      await this.#more(awaited);
    }
  }

  /** One byte without a frame: the answer to SSLRequest. */
  async byte(): Promise<string | null> {
    while (this.#pending.length === 0 && !this.closed) await this.#more('a byte');
    if (this.#pending.length === 0) return null;
    const byte = this.#pending.toString('latin1', 0, 1);
    this.#pending = this.#pending.subarray(1);
    return byte;
  }

  /** Messages up to and with the first of this type, or up to the end of the connection. */
  async until(type: string): Promise<Message[]> {
    const messages: Message[] = [];
    for (;;) {
      const message = await this.next(`a message of type ${type} after ${messages.length} others`);
      if (message === null) return messages;
      messages.push(message);
      if (message.type === type) return messages;
    }
  }

  /** Answers whatever authentication is asked for. Returns what came before AuthenticationOk (NegotiateProtocolVersion). */
  /** `user`: for md5. */
  async authenticate(password: string, crypto: CryptoPort = nodeCrypto, user = ''): Promise<Message[]> {
    const before: Message[] = [];
    let scram: ScramClient | null = null;
    for (;;) {
      const message = await this.next('the end of the login');
      if (message === null) throw new Error('connection closed during login');
      if (message.type === 'E') throw new Error(parseErrorFields(message.body, 0, message.body.length).message);
      if (message.type !== 'R') {
        before.push(message);
        continue;
      }
      const asked = parseAuthentication(message.body, 0, message.body.length);
      if (asked.kind === 'ok') return before;
      if (asked.kind === 'cleartext') this.send(passwordMessage(password));
      else if (asked.kind === 'md5')
        this.send(passwordMessage(md5Response(crypto, user, { kind: 'plain', password }, asked.salt)));
      else if (asked.kind === 'sasl') {
        scram = new ScramClient(crypto, { password }, { mechanisms: asked.mechanisms, endPoint: null });
        const first = scram.first();
        this.send(saslInitialResponse(first.mechanism, first.data));
      } else if (asked.kind === 'sasl-continue') this.send(saslResponse(await scram!.answer(asked.data)));
      else if (asked.kind === 'sasl-final') scram!.verify(asked.data);
      else throw new Error(`authentication "${asked.kind}" is not known to the test client`);
    }
  }

  end(): void {
    this.socket.destroy();
  }

  /** Waits for bytes or the end, not for ever. */
  #more(awaited: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const has = `${this.#pending.length} bytes of it came`;
        reject(new Error(`waited ${SILENCE_MS / 1000} s for ${awaited}; ${has}`));
      }, SILENCE_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** The types of messages, as one text: 'TDCZ'. */
export function types(messages: readonly Message[]): string {
  return messages.map(({ type }) => type).join('');
}

export function errorOf(messages: readonly Message[]): {
  severity: string;
  code: string;
  message: string;
  detail: string;
  hint: string;
} {
  const error = messages.find(({ type }) => type === 'E');
  if (error === undefined) throw new Error(`no error among ${types(messages)}`);
  return parseErrorFields(error.body, 0, error.body.length);
}

/** The first value of the first row. */
export function cell(messages: readonly Message[]): string {
  const row = messages.find(({ type }) => type === 'D')!;
  return Buffer.from(parseDataRow(row.body, 0, row.body.length)[0]!).toString();
}

/** What a cancel request names, out of the greeting. */
export function keyOf(greeting: readonly Message[]): { pid: number; key: Uint8Array } {
  const { body } = greeting.find(({ type }) => type === 'K')!;
  return parseBackendKeyData(body, 0, body.length);
}
