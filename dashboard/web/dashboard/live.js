// The sessions in reach of the key, kept up to date by one feed for the whole page.
import { follow } from "./feed.js";

/** What the feed said so far. Pure: `heard` takes one event of it. */
export class SessionBook {
  /** Summaries by id. */
  sessions = new Map();
  /** How many tool calls wait for a person; null while nobody told. */
  approvals = null;

  /** Takes a `sessions` event; the first of a connection tells everything. The ids it touched. */
  heard({ changed = [], gone = [] }, isFirst) {
    const touched = new Set();
    if (isFirst) {
      const told = new Set(changed.map(({ id }) => id));
      for (const id of this.sessions.keys()) {
        if (!told.has(id)) gone = [...gone, id];
      }
    }
    for (const summary of changed) {
      const known = this.sessions.get(summary.id);
      if (!isFirst && known && known.seq > summary.seq) continue;
      this.sessions.set(summary.id, summary);
      touched.add(summary.id);
    }
    for (const id of gone) {
      if (this.sessions.delete(id)) touched.add(id);
    }
    return touched;
  }

  /** Those that run. */
  get liveCount() {
    let live = 0;
    for (const { state } of this.sessions.values()) if (state !== "ended") live++;
    return live;
  }
}

/** Follows the feed. Listeners get `(event, data, touched)`; `close()` ends it. */
export function followSessions(api) {
  const book = new SessionBook();
  const listeners = new Set();
  const hub = {
    book,
    state: { kind: "connecting", since: Date.now(), failure: null },
    /** Whether the feed has told everything once. */
    hasTold: false,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => feed.close(),
    hurry: () => feed.hurry(),
  };
  const tell = (...what) => {
    for (const listener of [...listeners]) listener(...what);
  };
  // Other events may come before the first list of sessions.
  let isFresh = true;
  const feed = follow(api, "/admin/v1/live", {
    onEvent(name, data, isFirst) {
      if (isFirst) isFresh = true;
      if (name === "sessions") {
        const touched = book.heard(data, isFresh);
        isFresh = false;
        hub.hasTold = true;
        return tell(name, data, touched);
      }
      if (name === "approvals") book.approvals = data.approvals ?? null;
      tell(name, data, null);
    },
    onState(state) {
      hub.state = state;
      tell("state", state, null);
    },
  });
  return hub;
}
