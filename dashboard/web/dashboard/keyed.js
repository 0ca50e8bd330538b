// Nodes that belong to entries: one for each key, kept for as long as the entry is there, so that focus and text selection stay.

export class Keyed {
  #rows = new Map();

  /**
   * In `root`. `make(entry)` gives `{ node, … }` once per key; `leave(row)` hears of one that is about to go. With
   * `isPlaced` the order of the nodes says nothing, and is left alone.
   */
  constructor(root, { keyOf, make, leave = () => {}, isPlaced = false }) {
    Object.assign(this, { root, keyOf, make, leave, isPlaced });
  }

  get(key) {
    return this.#rows.get(key);
  }

  /** Shows `entries` in their order and calls `update(row, entry, index)` for each. */
  show(entries, update) {
    const keep = new Set(entries.map(this.keyOf));
    for (const [key, row] of this.#rows) {
      if (keep.has(key)) continue;
      this.leave(row);
      row.node.remove();
      this.#rows.delete(key);
    }
    let before = this.isPlaced ? null : this.root.firstChild;
    entries.forEach((entry, index) => {
      const key = this.keyOf(entry);
      const row = this.#rows.get(key) ?? this.make(entry);
      this.#rows.set(key, row);
      if (!row.node.parentNode) this.root.insertBefore(row.node, before);
      else if (!this.isPlaced && row.node !== before) this.root.insertBefore(row.node, before);
      else if (!this.isPlaced) before = before.nextSibling;
      update(row, entry, index);
    });
  }
}
