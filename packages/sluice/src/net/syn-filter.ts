/**
 * No new connections for a moment at a listening TCP socket that several processes have, none of which is told: a classic BPF program on
 * it (SO_ATTACH_FILTER, socket(7)) drops packets that begin a handshake and no others, so that what is under way is completed and what is
 * accepted loses nothing by inheriting it. Who sent a SYN sends it again after a second. Linux.
 */
import { addressIn, libc } from './libc.ts';

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;

/** struct sock_filter: operation, jumps when true and false, operand. The packet begins with the TCP header; its flags are byte 13. */
const PROGRAM: readonly (readonly [number, number, number, number])[] = [
  [0x30, 0, 0, 13], // load the flags
  [0x54, 0, 0, 0x12], // SYN and ACK of them
  [0x15, 0, 1, 0x02], // SYN alone?
  [0x06, 0, 0, 0], // drop it
  [0x06, 0, 0, 0x7fff_ffff], // keep it
];

/** False where that cannot be had; never throws. */
export function dropHandshakes(fd: number): boolean {
  const code = Buffer.alloc(PROGRAM.length * 8);
  PROGRAM.forEach(([operation, whenTrue, whenFalse, operand], i) => {
    code.writeUInt16LE(operation, i * 8);
    code.writeUInt8(whenTrue, i * 8 + 2);
    code.writeUInt8(whenFalse, i * 8 + 3);
    code.writeUInt32LE(operand, i * 8 + 4);
  });
  try {
    // struct sock_fprog on 64 bits: the number of instructions, and where they are.
    const program = Buffer.alloc(16);
    program.writeUInt16LE(PROGRAM.length);
    program.writeBigUInt64LE(BigInt(addressIn(code)), 8);
    return setOption(fd, SO_ATTACH_FILTER, program);
  } catch {
    return false;
  }
}

export function takeHandshakes(fd: number): void {
  try {
    setOption(fd, SO_DETACH_FILTER, Buffer.alloc(4));
  } catch {
    // There is none then.
  }
}

function setOption(fd: number, option: number, value: Buffer): boolean {
  if (process.platform !== 'linux') return false;
  const setsockopt = libc().func('int setsockopt(int fd, int level, int option, void *value, uint32_t size)');
  return setsockopt(fd, SOL_SOCKET, option, value, value.length) === 0;
}
