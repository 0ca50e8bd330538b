// The node, its relays and its targets, as the fleet page tells of them. Pure.
import { UNKNOWN, bytes, count, duration, msFigure, plural, share } from "./format.js";

/** From here on a core has little left for a moment in which everybody speaks. */
const BUSY_CPU = 0.8;

/** A packet that leaves this late is one the caller's jitter buffer has to hide: a frame is 20 ms. */
const LATE_MS = 5;

const known = (value) => Number.isFinite(value);

/** The tiles of the node. `before` is an earlier answer with its time: counters are told with what was added since. */
export function nodeTiles(node, before = null) {
  const added = (name) =>
    known(node[name]) && known(before?.node?.[name]) ? Math.max(0, node[name] - before.node[name]) : null;
  const since = before ? `in the last ${duration(before.agoMs)}` : "";
  const misses = added("pacing_misses");
  const underruns = added("underruns");
  return [
    {
      name: "sessions",
      label: "Sessions here",
      figure: count(node.sessions),
      note: known(node.sessions_per_core)
        ? `${node.sessions_per_core.toFixed(1)} on each of ${plural(node.cores, "core")}`
        : "",
      href: "/dashboard/sessions",
    },
    {
      name: "cpu",
      label: "Processor",
      figure: known(node.cpu_ratio) ? share(node.cpu_ratio).replace(" %", "") : UNKNOWN,
      unit: known(node.cpu_ratio) ? " %" : "",
      note: known(node.cores) ? `of ${plural(node.cores, "core")}` : "not told on this system",
      tone: node.cpu_ratio >= BUSY_CPU ? "warn" : null,
      bar: known(node.cpu_ratio) ? { share: node.cpu_ratio, mark: BUSY_CPU } : null,
    },
    {
      name: "memory",
      label: "Memory",
      figure: bytes(node.memory_bytes).split(" ")[0],
      unit: ` ${bytes(node.memory_bytes).split(" ")[1] ?? ""}`,
      note: "of this process",
    },
    {
      name: "pacing-misses",
      label: "Pacing misses",
      figure: count(node.pacing_misses),
      note: misses === null ? "packets sent a frame late or more" : `${count(misses)} more ${since}`,
      tone: misses > 0 ? "warn" : null,
    },
    {
      name: "pacing",
      label: "Pacing, p99",
      figure: msFigure(node.pacing_p99_ms),
      unit: known(node.pacing_p99_ms) ? " ms" : "",
      note: "behind the moment a packet was due",
      tone: node.pacing_p99_ms > LATE_MS ? "warn" : null,
    },
    {
      name: "underruns",
      label: "Underruns",
      figure: count(node.underruns),
      note: underruns === null ? "answers that came too slowly to play" : `${count(underruns)} more ${since}`,
      tone: underruns > 0 ? "warn" : null,
    },
  ];
}

/** The node in a line: its name, version, how long it runs, and whether it takes calls. */
export function nodeLine({ id, version, uptime_ms, draining }) {
  const parts = [id, version && `voxgate ${version}`, known(uptime_ms) && `up for ${duration(uptime_ms)}`];
  return { text: parts.filter(Boolean).join(" · "), draining: Boolean(draining) };
}

const RELAY_STATES = {
  alive: { label: "In service", sign: "✓", tone: "good" },
  draining: { label: "Draining: takes no new flows", sign: "△", tone: "warn" },
  silent: { label: "Not heard", sign: "▲", tone: "bad" },
};

const CIRCUIT_STATES = {
  closed: { label: "Takes calls", sign: "✓", tone: "good" },
  half_open: { label: "On trial after failures", sign: "△", tone: "warn" },
  open: { label: "Passed over after failures", sign: "▲", tone: "bad" },
};

const unknownState = (state) => ({
  label: state ? String(state).replaceAll("_", " ") : "Not known",
  sign: "–",
  tone: null,
});

export const relayState = ({ state }) => RELAY_STATES[state] ?? unknownState(state);
export const circuitState = ({ state }) => CIRCUIT_STATES[state] ?? unknownState(state);

/**
 * A target that works but is too slow for a route is passed over by it all the same. `over` is what `passedOver` of burn.js gives; a
 * circuit that does not carry calls is the worse news.
 */
export function targetState(target, over) {
  const circuit = circuitState(target);
  const routes = over.filter((one) => one.target === target.target).map(({ route }) => route);
  if (routes.length === 0 || circuit.tone === "bad") return circuit;
  return { label: `Passed over for being slow by ${routes.join(", ")}`, sign: "△", tone: "warn" };
}

/** Packets a relay dropped: how many, and for which reasons, most first. */
export function dropped({ drops }) {
  const reasons = Object.entries(drops ?? {}).filter(([, packets]) => packets > 0);
  const ordered = reasons.sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return {
    packets: ordered.reduce((sum, [, packets]) => sum + packets, 0),
    reasons: ordered.map(([reason, packets]) => `${reason.replaceAll("_", " ")}: ${count(packets)}`).join(", "),
  };
}

const WORST = ["bad", "warn", null, "good"];

/** Those with trouble first, then in the order of their names. */
export const worstFirst = (items, stateOf, nameOf) =>
  [...items].sort(
    (a, b) =>
      WORST.indexOf(stateOf(a).tone) - WORST.indexOf(stateOf(b).tone) ||
      String(nameOf(a)).localeCompare(String(nameOf(b))),
  );

/** What is wrong in the fleet, as sentences; empty if nothing is. */
export function troubles({ node, relays = [], providers = [] }) {
  const found = [];
  const lost = relays.filter((relay) => relayState(relay).tone === "bad");
  const open = providers.filter((target) => circuitState(target).tone === "bad");
  if (node?.draining) found.push("This node drains: it takes no new sessions and stops when the last one has ended.");
  if (lost.length) found.push(`${plural(lost.length, "relay is", "relays are")} not heard: ${names(lost, "id")}.`);
  if (relays.length > 0 && lost.length === relays.length)
    found.push("No relay is left: callers over WebRTC cannot be reached.");
  if (open.length)
    found.push(
      `${plural(open.length, "target is", "targets are")} passed over after failures: ${names(open, "target")}.`,
    );
  if (providers.length > 0 && open.length === providers.length)
    found.push("Every target is passed over: new sessions are refused.");
  return found;
}

const names = (items, name) => items.map((item) => item[name]).join(", ");

/** Figures of the node as they come, for lines over the time the page is open. At most `most` of them. */
export class NodeHistory {
  #at = [];
  #columns = new Map();

  constructor(names, most = 900) {
    this.names = names;
    this.most = most;
    for (const name of names) this.#columns.set(name, []);
  }

  /** Takes the node as it was at `at` (seconds since 1970). What is not known is a gap. */
  add(at, node) {
    if (this.#at.length && at <= this.#at.at(-1)) return;
    this.#at.push(at);
    for (const name of this.names) this.#columns.get(name).push(known(node[name]) ? node[name] : null);
    if (this.#at.length <= this.most) return;
    this.#at.shift();
    for (const column of this.#columns.values()) column.shift();
  }

  /** Columns for a chart: times, then each of `names`. They are the caller's own. */
  columns(...names) {
    return [[...this.#at], ...names.map((name) => [...this.#columns.get(name)])];
  }
}
