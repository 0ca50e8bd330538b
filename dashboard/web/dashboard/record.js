// The record of a session, put together from the parts that a feed brings. Pure.

/** Lists and the key by which an entry replaces an older one. */
const LISTS = { turns: "turn", network: "at_ms", marks: "number", transcript: "item", events: "number" };

/** The most a record holds, as the gateway documents it; what comes beyond pushes out the oldest. */
const MOST = { turns: 2000, network: 3600, marks: 4000, transcript: 2000, events: 1000, levels: 36_000 };

/** So many changes are remembered one by one; who looked away for longer draws everything. */
const MOST_CHANGES = 64;

export class RecordBook {
  revision = 0;
  /** The summary; null before the first part. */
  session = null;
  recording = { words: false, voices: false };
  /** Of a session that is not measured there are only the summary and events. */
  measured = true;
  truncated = {};
  levels = { everyMs: 100, fromMs: 0, caller: [], agent: [] };
  #maps = Object.fromEntries(Object.keys(LISTS).map((name) => [name, new Map()]));
  #sorted = {};
  /** How many parts it was told. */
  heardCount = 0;
  /** By list, from which moment on the newest parts changed it: `{ count, fromMs }`. */
  #changes = {};
  #wholeCount = 0;

  /** Takes a part; `isWhole` for one that tells everything. The names of what changed. */
  heard(part, isWhole = false) {
    if (isWhole) this.#forget();
    this.heardCount++;
    const changed = new Set();
    for (const [name, key] of Object.entries(LISTS)) {
      const entries = part[name] ?? [];
      if (entries.length) changed.add(name);
      if (entries.length) this.#note(name, entries.reduce((least, { at_ms }) => Math.min(least, at_ms), Infinity));
      for (const entry of entries) this.#maps[name].set(keyOf(entry, key), entry);
      this.#bound(name);
      if (entries.length) delete this.#sorted[name];
    }
    if (this.#hear(part.levels)) {
      changed.add("levels");
      this.#note("levels", part.levels.from_ms);
    }
    if (part.session) {
      this.session = part.session;
      changed.add("session");
    }
    if (part.recording) this.recording = part.recording;
    this.measured = part.measured ?? this.measured;
    if (part.truncated) this.truncated = part.truncated;
    this.revision = part.revision ?? this.revision;
    if (isWhole) {
      for (const name of [...Object.keys(LISTS), "levels"]) changed.add(name);
      this.#wholeCount = this.heardCount;
    }
    return changed;
  }

  /** Whether anything of a list up to the moment `toMs` changed since `heardCount` was `count`. */
  hasChanged(name, count, toMs) {
    const changes = this.#changes[name] ?? [];
    const isForgotten = changes.length === MOST_CHANGES && count < changes[0].count - 1;
    return count < this.#wholeCount || isForgotten || changes.some((one) => one.count > count && one.fromMs <= toMs);
  }

  #note(name, fromMs) {
    const changes = (this.#changes[name] ??= []);
    changes.push({ count: this.heardCount, fromMs });
    if (changes.length > MOST_CHANGES) changes.shift();
  }

  get turns() {
    return this.#list("turns");
  }
  get network() {
    return this.#list("network");
  }
  get marks() {
    return this.#list("marks");
  }
  /** Without what was taken back: that comes as an entry that is cut before its first word. */
  get transcript() {
    return this.#list("transcript").filter(({ text, state }) => text !== "" || state !== "cut");
  }
  get events() {
    return this.#list("events");
  }

  turn(number) {
    return this.#maps.turns.get(number) ?? null;
  }

  /** Until when anything is known of. */
  get extentMs() {
    const ends = [
      this.session?.duration_ms ?? 0,
      this.network.at(-1)?.at_ms ?? 0,
      this.levels.fromMs + this.levels.caller.length * this.levels.everyMs,
      endOf(this.turns.at(-1)),
      this.events.at(-1)?.at_ms ?? 0,
    ];
    return Math.max(...ends);
  }

  #list(name) {
    return (this.#sorted[name] ??= [...this.#maps[name].values()].sort(
      (a, b) => a.at_ms - b.at_ms || a.seq - b.seq,
    ));
  }

  #forget() {
    for (const map of Object.values(this.#maps)) map.clear();
    this.#sorted = {};
    this.levels = { everyMs: 100, fromMs: 0, caller: [], agent: [] };
  }

  #bound(name) {
    const map = this.#maps[name];
    for (const key of map.keys()) {
      if (map.size <= MOST[name]) return;
      map.delete(key);
    }
  }

  /** Levels come as pieces of two rows of figures; a piece may begin before the end of what is known. */
  #hear(piece) {
    if (!piece || !(piece.every_ms > 0) || !(piece.caller?.length || piece.agent?.length)) return false;
    const { levels } = this;
    if (!levels.caller.length && !levels.agent.length) {
      levels.everyMs = piece.every_ms;
      levels.fromMs = piece.from_ms;
    }
    if (piece.every_ms !== levels.everyMs) return false;
    const at = Math.round((piece.from_ms - levels.fromMs) / levels.everyMs);
    if (at < 0 || at - levels.caller.length > MOST.levels) return false;
    for (const lane of ["caller", "agent"]) {
      while (levels[lane].length < at) levels[lane].push(0);
      piece[lane].forEach((value, index) => (levels[lane][at + index] = value));
    }
    const excess = levels.caller.length - MOST.levels;
    if (excess > 0) {
      levels.caller.splice(0, excess);
      levels.agent.splice(0, excess);
      levels.fromMs += excess * levels.everyMs;
    }
    return true;
  }
}

/**
 * `isNews(book, view, width, more)` tells whether something has to be drawn anew: how it is looked at changed, or something of these lists
 * of the record that is in view.
 */
export function newsOf(...parts) {
  let drawn = null;
  let revision = -1;
  return (book, view, width, more = "") => {
    const look = `${view.fromMs} ${view.toMs} ${width} ${more}`;
    if (look === drawn && !parts.some((part) => book.hasChanged(part, revision, view.toMs))) return false;
    drawn = look;
    revision = book.heardCount;
    return true;
  };
}

const keyOf = (entry, key) => entry[key] ?? `${entry.at_ms} ${entry.kind} ${entry.lane ?? ""}`;
const endOf = (turn) => (turn ? turn.at_ms + turn.mouth_to_ear_ms : 0);

/** The turn that was under way at `atMs`, or the last one before it; null before the first. */
export function turnAt(turns, atMs) {
  let found = null;
  for (const turn of turns) {
    if (turn.at_ms > atMs) break;
    found = turn;
  }
  return found;
}

/** The entry whose `at_ms` is nearest to `atMs`, at most `withinMs` away. Entries are in the order of time. */
export function nearest(entries, atMs, withinMs = Infinity) {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].at_ms < atMs) low = middle + 1;
    else high = middle;
  }
  const around = [entries[low - 1], entries[low]].filter(Boolean);
  const best = around.sort((a, b) => Math.abs(a.at_ms - atMs) - Math.abs(b.at_ms - atMs))[0];
  return best && Math.abs(best.at_ms - atMs) <= withinMs ? best : null;
}

/** What a second on the network says as ratios of one: lost before and after repair, and the other way. Null where unknown. */
export function lossOf({ uplink, downlink }) {
  const ratio = (lost, packets) =>
    isCount(lost) && isCount(packets) && packets + lost > 0 ? lost / (packets + lost) : null;
  return {
    before: uplink ? ratio(uplink.lost, uplink.packets) : null,
    after: uplink ? ratioAfter(uplink) : null,
    agent: downlink ? ratio(downlink.lost, downlink.packets) : null,
  };
}

function ratioAfter({ lost, recovered, packets }) {
  if (![lost, recovered, packets].every(isCount) || packets + lost === 0) return null;
  return Math.max(0, lost - recovered) / (packets + lost);
}

const isCount = (value) => Number.isFinite(value) && value >= 0;
