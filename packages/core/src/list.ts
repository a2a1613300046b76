/**
 * Intrusive doubly linked list: the nodes carry their own links, so moving one allocates nothing and counting scans
 * nothing. Owns order and length; knows nothing of what the nodes mean. A node leaves by `remove` (or `shift`).
 */

/** What a class extends to be able to stand in one list at a time. */
export class ListNode {
  /** Neighbours inside the list; null at the ends and outside any list. Only the list writes them. */
  prev: ListNode | null = null;
  next: ListNode | null = null;
  /** The list this node stands in, or null. */
  list: List<ListNode> | null = null;
}

/** A list of nodes of one class, oldest first. */
export class List<N extends ListNode> {
  readonly name: string;
  length = 0;
  #head: ListNode | null = null;
  #tail: ListNode | null = null;

  constructor(name: string) {
    this.name = name;
  }

  get head(): N | null {
    return this.#head as N | null;
  }

  get tail(): N | null {
    return this.#tail as N | null;
  }

  /** Adds at the end. Throws when the node already stands in a list: one state, one list. */
  push(node: N): void {
    if (node.list !== null) throw new Error(`bug: node pushed to "${this.name}" still stands in "${node.list.name}"`);
    node.list = this as unknown as List<ListNode>;
    node.prev = this.#tail;
    node.next = null;
    if (this.#tail === null) this.#head = node;
    else this.#tail.next = node;
    this.#tail = node;
    this.length++;
  }

  /** Adds before `before` (null: at the end). Used where order is not arrival, as with priorities. */
  insertBefore(node: N, before: N | null): void {
    if (before === null) {
      this.push(node);
      return;
    }
    if (node.list !== null) throw new Error(`bug: node inserted to "${this.name}" still stands in "${node.list.name}"`);
    if (before.list !== (this as unknown as List<ListNode>))
      throw new Error(`bug: insert mark is not in "${this.name}"`);
    node.list = before.list;
    node.prev = before.prev;
    node.next = before;
    if (before.prev === null) this.#head = node;
    else before.prev.next = node;
    before.prev = node;
    this.length++;
  }

  /** Takes the node out. Throws when it stands elsewhere. */
  remove(node: N): void {
    if (node.list !== (this as unknown as List<ListNode>))
      throw new Error(`bug: node removed from "${this.name}" is not in it`);
    if (node.prev === null) this.#head = node.next;
    else node.prev.next = node.next;
    if (node.next === null) this.#tail = node.prev;
    else node.next.prev = node.prev;
    node.prev = null;
    node.next = null;
    node.list = null;
    this.length--;
  }

  /** Takes the oldest node out, or returns null. */
  shift(): N | null {
    const node = this.#head as N | null;
    if (node !== null) this.remove(node);
    return node;
  }

  /** The node after `node`; read it before removing `node`. */
  after(node: N): N | null {
    return node.next as N | null;
  }

  /** From the oldest on. The visited node may be removed by the visitor; others may not. */
  *[Symbol.iterator](): IterableIterator<N> {
    let node = this.#head;
    while (node !== null) {
      const next: ListNode | null = node.next;
      yield node as N;
      node = next;
    }
  }
}
