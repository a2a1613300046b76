/**
 * The replies that a server still owes, in order, and what to do with each: pass on, swallow, or answer ourselves.
 * It is what makes pipelines, injected messages and errors in mid pipeline come out right. No sockets, no bytes: the
 * relay tells it what was sent and what came back. Behaviour after PostgreSQL's manual, "Message Flow".
 */

/** What was sent, by the reply that completes it. */
export const Reply = {
  None: 0,
  /** Parse: ParseComplete. */
  Parse: 1,
  /** Bind: BindComplete. */
  Bind: 2,
  /** Describe: RowDescription or NoData. */
  Describe: 3,
  /** Execute: CommandComplete, EmptyQueryResponse or PortalSuspended. */
  Execute: 4,
  /** Close: CloseComplete. */
  Close: 5,
  /** Sync: ReadyForQuery. */
  Sync: 6,
  /** Query: ReadyForQuery. */
  Query: 7,
  /** FunctionCall: ReadyForQuery. */
  Function: 8,
  /** CopyDone or CopyFail sent before the server was known to be in copy-in; has no reply of its own. */
  CopyEnd: 9,
} as const;
export type Reply = (typeof Reply)[keyof typeof Reply];

/** What to do with the reply. */
export const Action = {
  /** Pass it on to the client. */
  Forward: 0,
  /** We sent the message on our own account: the client must not see the reply. */
  Skip: 16,
  /** We did not send the message: the client is owed the reply from us when its turn comes. */
  Answer: 32,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

const KIND = 15;
const ACTION = 48;
/** With it ends a group of messages that changed somebody's books: until it has come nobody knows what holds. */
const UNSURE = 64;
/** Copy data was sent between it and the command before it. */
const AFTER_DATA = 128;

/** What an exchange changed in somebody's books on the assumption that it would succeed. */
export interface Effect {
  /** It changes nothing that others look at. */
  readonly harmless?: true;
  /** The reply came: it holds. */
  confirm(): void;
  /** An earlier error made the server skip it, or it failed itself: undo. Called newest first. */
  revert(itself: boolean): void;
  /** The books were emptied by something sent before it (DISCARD): what of it still holds is written down again. */
  again?(): void;
  /** A setting has changed while the reply was still to come, maybe before the server came to what the reply is about. */
  settingChanged?(name: string): void;
}

export class ReplyQueue {
  /** Replies owed, ours included. */
  length = 0;
  /** The server is reading copy data: Sync and Flush are swallowed by it until CopyDone or CopyFail. */
  copyIn = false;
  /** An error was reported and no Sync has been sent since: the server ignores everything up to the next one. */
  skipping = false;
  /** Nobody can tell what is still to come: it must not be given to anybody else. */
  untrusted = false;
  /** Sync was sent into a copy behind data: swallowed if the copy goes well, answered if it has failed by then. */
  #syncInCopy = false;
  /** Copy data was sent since the last command that could start a copy. */
  #data = false;
  /** The group that is being sent changes books. */
  #changing = false;
  /** And perhaps the schema. */
  #altering = false;
  #unsure = 0;
  /** Kind of the last message that reached the server. */
  #last: Reply = Reply.None;
  #ring = new Uint8Array(16);
  #effects: (Effect | null)[] | null = null;
  #at = 0;

  /** Extended messages were sent and no Sync after them: the server may be inside an implicit transaction. */
  get syncMissing(): boolean {
    return this.skipping || (this.#last >= Reply.Parse && this.#last <= Reply.Close);
  }

  /**
   * Books were changed by messages whose Sync or Query has not been answered: an error may undo it. What looks at them, and can wait
   * for that answer, must.
   */
  get unsure(): boolean {
    return this.#unsure > 0;
  }

  /** Books were changed by messages of which nobody knows yet what became of them. */
  get changing(): boolean {
    return this.#changing || this.#unsure > 0;
  }

  /** The group that is being sent changes books in a way that shows when it is answered. `schema`: it may change the schema. */
  changesBooks(schema = false): void {
    this.#changing = true;
    if (schema) this.#altering = true;
  }

  /** Something in front of it, in the group that is being sent, may change the schema. */
  get altering(): boolean {
    return this.#altering;
  }

  /** Nothing is owed: what somebody had begun to change, and has not sent, concerns nobody who comes after him. */
  changesHands(): void {
    if (this.length === 0) this.#changing = this.#altering = false;
  }

  /** Replies owed to the client. */
  get forClient(): number {
    let count = 0;
    for (let i = 0; i < this.length; i++)
      if ((this.#ring[(this.#at + i) & (this.#ring.length - 1)]! & ACTION) !== Action.Skip) count++;
    return count;
  }

  /** Kind of the oldest reply owed. */
  get head(): Reply {
    return (this.length === 0 ? 0 : this.#ring[this.#at]! & KIND) as Reply;
  }

  /** What to do with the oldest reply owed; Forward when none is. */
  get headAction(): Action {
    return (this.length === 0 ? 0 : this.#ring[this.#at]! & ACTION) as Action;
  }

  /** What the oldest reply owed is about, if anything. */
  get headEffect(): Effect | null {
    return this.length === 0 || this.#effects === null ? null : this.#effects[this.#at]!;
  }

  /** The books were emptied by what the oldest reply owed is about, or what was before it. */
  changeAgain(): void {
    this.#tellAll((effect) => effect.again?.());
  }

  /** The server reports a setting's new value. */
  settingChanged(name: string): void {
    this.#tellAll((effect) => effect.settingChanged?.(name));
  }

  #tellAll(tell: (effect: Effect) => void): void {
    for (let i = 0; i < this.length && this.#effects !== null; i++) {
      const effect = this.#effects[(this.#at + i) & (this.#ring.length - 1)];
      if (effect) tell(effect);
    }
  }

  /** The oldest reply owed is not for the client after all. */
  skipHead(): void {
    if (this.length > 0) this.#ring[this.#at] = (this.#ring[this.#at]! & ~ACTION) | Action.Skip;
  }

  /**
   * A message goes to the server (or, with Answer, is withheld). Returns false when the server will ignore it, so that
   * no reply is owed: then an effect must not be applied.
   */
  sent(kind: Reply, action: Action = Action.Forward, effect: Effect | null = null): boolean {
    if (this.skipping) {
      if (kind !== Reply.Sync) return false;
      this.skipping = false;
    }
    if (this.copyIn && kind !== Reply.CopyEnd) {
      if (kind === Reply.Sync) {
        if (this.#data) this.#syncInCopy = true;
        return false;
      }
      // Anything else is answered: after the copy where that has failed by then, and otherwise by an error that ends the
      // connection. (Before PostgreSQL 14 a Query in a simple copy vanished with it: then one reply too many is awaited, and
      // the server stays with its client, which is better than one too few.)
      this.copyIn = false;
    }
    if (kind === Reply.CopyEnd) {
      if (this.copyIn) {
        this.copyIn = false;
        return true;
      }
      // Outside of copy-in the server ignores it, unless the command that starts the copy is still on its way.
      if (!this.#mayStartCopy()) return false;
    }
    if (action !== Action.Answer && kind !== Reply.CopyEnd) this.#last = kind;
    if (this.length === this.#ring.length) this.#grow();
    const index = (this.#at + this.length) & (this.#ring.length - 1);
    if (effect !== null && effect.harmless !== true) this.#changing = true;
    if (kind === Reply.Query || kind === Reply.Execute) this.#data = false;
    const data = kind === Reply.Sync && this.#data ? AFTER_DATA : 0;
    this.#ring[index] = kind | action | data | (endsGroup(kind) ? this.#endGroup() : 0);
    if (effect !== null) this.#keepEffect(index, effect);
    this.length++;
    return true;
  }

  /**
   * A whole exchange goes to the server, its replies are passed on; the effect, which must be harmless, is its first message's.
   * False: not as things stand; its messages must be told one by one.
   */
  exchangeSent(replies: readonly Reply[], effect: Effect | null): boolean {
    if (this.skipping || this.copyIn || this.#changing) return false;
    while (this.length + replies.length > this.#ring.length) this.#grow();
    const mask = this.#ring.length - 1;
    const first = this.#at + this.length;
    for (let i = 0; i < replies.length; i++) this.#ring[(first + i) & mask] = replies[i]!;
    if (effect !== null) this.#keepEffect(first & mask, effect);
    this.length += replies.length;
    this.#last = Reply.Sync;
    this.#data = false;
    return true;
  }

  /** The answer to a whole exchange came (null: to none), and it is all that is owed. False: it is not; its replies must be told one by one. */
  exchangeAnswered(replies: readonly Reply[] | null): boolean {
    if (replies === null || this.length !== replies.length) return false;
    const mask = this.#ring.length - 1;
    for (let i = 0; i < replies.length; i++) if (this.#ring[(this.#at + i) & mask] !== replies[i]) return false;
    for (let i = 0; i < replies.length; i++) this.#takeHead()?.confirm();
    this.#syncInCopy = false;
    return true;
  }

  /** Copy data goes to the server. */
  dataSent(): void {
    this.#data = true;
  }

  /** A command was completed, which ends a copy that went well. Of an Execute it is the reply. Returns whether it was a Query's. */
  completed(): boolean {
    const { head } = this;
    if (head === Reply.Execute) this.pop();
    else if (!this.copyIn) this.#syncInCopy = false;
    return head === Reply.Query;
  }

  /** Nothing is owed, and nothing will come. */
  get atRest(): boolean {
    return this.length === 0 && !this.copyIn && !this.untrusted && !this.syncMissing;
  }

  /** Nothing is owed, and yet something may come. */
  get astray(): boolean {
    return this.untrusted && this.length === 0;
  }

  /** The oldest reply came (or was answered by us). */
  pop(): void {
    if (this.length === 0) throw new Error('bug: a reply came that nobody owed');
    const effect = this.#takeHead();
    this.#syncInCopy = false;
    effect?.confirm();
    // CopyEnd without a copy is ignored by the server.
    while (this.length > 0 && this.head === Reply.CopyEnd) this.#takeHead();
  }

  /** The server reported an error for the oldest reply owed. Simple: ReadyForQuery follows. Extended: skip to Sync. */
  failed(): void {
    this.copyIn = false;
    if (this.#syncInCopy) this.untrusted = true;
    const head = this.head;
    if (head === Reply.Query) this.#takeEffect(this.#at)?.revert(true);
    if (head === Reply.Query || head === Reply.Sync || head === Reply.Function || head === Reply.None) return;
    const own = this.headEffect;
    const dropped: Effect[] = [];
    while (this.length > 0 && this.head !== Reply.Sync) {
      const effect = this.#takeHead();
      if (effect !== null) dropped.push(effect);
    }
    if (this.length === 0) this.skipping = true;
    for (let i = dropped.length - 1; i >= 0; i--) dropped[i]!.revert(i === 0 && own !== null);
  }

  /** CopyInResponse: what was sent after the command is read as copy data, up to CopyDone or CopyFail. */
  copyInStarted(): void {
    this.copyIn = true;
    const kept: number[] = [];
    const effects: (Effect | null)[] = [];
    for (let i = 0; i < this.length; i++) {
      const index = (this.#at + i) & (this.#ring.length - 1);
      const kind = this.#ring[index]! & KIND;
      const effect = this.#takeEffect(index);
      if (i > 0 && this.copyIn) {
        if (kind === Reply.Sync) {
          if ((this.#ring[index]! & AFTER_DATA) !== 0) this.#syncInCopy = true;
          if ((this.#ring[index]! & UNSURE) !== 0) this.#unsure--;
          continue;
        }
        this.copyIn = false;
        if (kind === Reply.CopyEnd) continue;
      }
      kept.push(this.#ring[index]!);
      effects.push(effect);
    }
    this.length = 0;
    for (let i = 0; i < kept.length; i++) {
      const index = (this.#at + i) & (this.#ring.length - 1);
      this.#ring[index] = kept[i]!;
      if (effects[i] !== null) this.#effects![index] = effects[i]!;
      this.length++;
    }
  }

  /** Nothing is owed any more: the connection is gone. Effects are reverted. Returns whether books were `changing`. */
  clear(): boolean {
    const { changing } = this;
    const dropped: Effect[] = [];
    while (this.length > 0) {
      const effect = this.#takeHead();
      if (effect !== null) dropped.push(effect);
    }
    this.copyIn = false;
    this.skipping = false;
    this.untrusted = false;
    this.#syncInCopy = false;
    this.#data = false;
    this.#changing = this.#altering = false;
    this.#last = Reply.None;
    for (let i = dropped.length - 1; i >= 0; i--) dropped[i]!.revert(false);
    return changing;
  }

  #takeHead(): Effect | null {
    const effect = this.#takeEffect(this.#at);
    if ((this.#ring[this.#at]! & UNSURE) !== 0) this.#unsure--;
    this.#at = (this.#at + 1) & (this.#ring.length - 1);
    this.length--;
    return effect;
  }

  #endGroup(): number {
    if (!this.#changing) return 0;
    this.#changing = this.#altering = false;
    this.#unsure++;
    return UNSURE;
  }

  #keepEffect(index: number, effect: Effect): void {
    this.#effects ??= new Array<Effect | null>(this.#ring.length).fill(null);
    this.#effects[index] = effect;
  }

  #takeEffect(index: number): Effect | null {
    if (this.#effects === null) return null;
    const effect = this.#effects[index]!;
    this.#effects[index] = null;
    return effect;
  }

  /** Is a command on its way that could put the server into copy-in? */
  #mayStartCopy(): boolean {
    for (let i = 0; i < this.length; i++) {
      const kind = this.#ring[(this.#at + i) & (this.#ring.length - 1)]! & KIND;
      if (kind === Reply.Query || kind === Reply.Execute) return true;
    }
    return false;
  }

  #grow(): void {
    const size = this.#ring.length;
    const ring = new Uint8Array(size * 2);
    const effects = this.#effects === null ? null : new Array<Effect | null>(size * 2).fill(null);
    for (let i = 0; i < this.length; i++) {
      const index = (this.#at + i) & (size - 1);
      ring[i] = this.#ring[index]!;
      if (effects !== null) effects[i] = this.#effects![index]!;
    }
    this.#ring = ring;
    this.#effects = effects;
    this.#at = 0;
  }
}

function endsGroup(kind: Reply): boolean {
  return kind === Reply.Sync || kind === Reply.Query || kind === Reply.Function;
}
