/** Writes down what a connection tells its owner. */
import type { Conn } from '../../packages/sluice/src/net/conn.ts';

export class Recorder<C extends Conn = Conn> {
  got = '';
  drains = 0;
  closes: (Error | null)[] = [];
  readonly conn: C;
  constructor(conn: C) {
    this.conn = conn;
  }
  onData(buffer: Buffer, start: number, end: number): void {
    this.got += buffer.toString('latin1', start, end);
  }
  onDrain(): void {
    this.drains++;
  }
  onClose(error: Error | null): void {
    this.closes.push(error);
  }
}
