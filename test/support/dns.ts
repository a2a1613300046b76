/** A DNS server on a UDP port of 127.0.0.1: answers A, AAAA and SOA from what the test says, and counts the questions. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { parseAddress } from '../../packages/sluice/src/config/index.ts';

const TYPES: Readonly<Record<number, Question['type']>> = { 1: 'A', 6: 'SOA', 28: 'AAAA' };
const CODES = { A: 1, CNAME: 5, SOA: 6, AAAA: 28 } as const;
const NXDOMAIN = 3;

export interface Question {
  readonly name: string;
  readonly type: 'A' | 'AAAA' | 'SOA';
}

export class DnsServer {
  /** Addresses by name; a name without an entry does not exist. One that `leads` nowhere is answered by that alone (a CNAME). */
  readonly names = new Map<string, { addresses: string[]; ttl: number; leads?: boolean }>();
  /** Serial numbers by zone. */
  readonly zones = new Map<string, number>();
  readonly questions: Question[] = [];
  /** Questions are noted and not answered, until `answer` is called. */
  holding = false;
  readonly #held: (() => void)[] = [];
  readonly #socket: Socket;

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return new DnsServer(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (message, from) => {
      const question = readQuestion(message);
      this.questions.push(question);
      const answer = () => socket.send(this.#answer(message, question), from.port, from.address);
      if (this.holding) this.#held.push(answer);
      else answer();
    });
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** How often a name was asked for its IPv4 addresses. */
  asked(name: string): number {
    return this.questions.filter((each) => each.name === name && each.type === 'A').length;
  }

  answer(): void {
    this.holding = false;
    for (const held of this.#held.splice(0)) held();
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(message: Buffer, { name, type }: Question): Buffer {
    const known = this.names.get(name);
    const serial = this.zones.get(name);
    const addresses = (known?.addresses ?? []).filter((each) => isIPv6(each) === (type === 'AAAA'));
    const records =
      type === 'SOA'
        ? serial === undefined
          ? []
          : [record(type, 0, soa(serial))]
        : known?.leads
          ? [record('CNAME', known.ttl, Buffer.from('\x07nowhere\x00', 'latin1'))]
          : addresses.map((each) => record(type, known!.ttl, Buffer.from(parseAddress(each)!)));
    const code = known === undefined && serial === undefined ? NXDOMAIN : 0;
    const header = Buffer.alloc(12);
    message.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8580 | code, 2); // an answer, authoritative, recursion wanted and to be had
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, message.subarray(12, endOfQuestion(message)), ...records]);
  }
}

function endOfName(message: Buffer): number {
  let at = 12;
  while (message[at] !== 0) at += message[at]! + 1;
  return at + 1;
}

function endOfQuestion(message: Buffer): number {
  return endOfName(message) + 4;
}

function readQuestion(message: Buffer): Question {
  const labels: string[] = [];
  for (let at = 12; message[at] !== 0; at += message[at]! + 1)
    labels.push(message.toString('latin1', at + 1, at + 1 + message[at]!));
  return { name: labels.join('.').toLowerCase(), type: TYPES[message.readUInt16BE(endOfName(message))] ?? 'A' };
}

/** The name is that of the question, by its place. */
function record(type: keyof typeof CODES, ttl: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(CODES[type], 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** Two names of no labels, and five numbers of which the first one counts. */
function soa(serial: number): Buffer {
  const data = Buffer.alloc(22);
  data.writeUInt32BE(serial, 2);
  return data;
}
