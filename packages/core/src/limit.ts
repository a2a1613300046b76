/** A shared ceiling: several pools count their entries against it (max_db_connections, max_user_connections). */

/** Counts entries in every state but closed. `max` 0 means no ceiling. */
export class Limit {
  readonly name: string;
  max: number;
  used = 0;

  constructor(name: string, max: number) {
    this.name = name;
    this.max = max;
  }

  get full(): boolean {
    return this.max > 0 && this.used >= this.max;
  }
}
