import assert from "node:assert/strict";
import { test } from "node:test";
import {
  NodeHistory,
  circuitState,
  dropped,
  nodeLine,
  nodeTiles,
  relayState,
  targetState,
  troubles,
  worstFirst,
} from "./fleet-figures.js";

const node = {
  id: "node-1",
  version: "0.9.0",
  uptime_ms: 7_440_000,
  cores: 8,
  sessions: 184,
  sessions_per_core: 23,
  draining: false,
  cpu_ratio: 0.41,
  memory_bytes: 412_000_000,
  pacing_misses: 37,
  pacing_p99_ms: 0.8,
  underruns: 2,
};
const tiles = (node, before) => Object.fromEntries(nodeTiles(node, before).map((tile) => [tile.name, tile]));

test("the figures of the node are those it tells", () => {
  const { sessions, cpu, memory } = tiles(node);
  assert.deepEqual([sessions.figure, sessions.note], ["184", "23.0 on each of 8 cores"]);
  assert.deepEqual([cpu.figure, cpu.unit, cpu.tone], ["41", " %", null]);
  assert.equal(memory.figure + memory.unit, "393 MiB");
});

test("counters say what was added since somebody looks, and only that is a warning", () => {
  assert.equal(tiles(node)["pacing-misses"].tone, null);
  const before = { node: { ...node, pacing_misses: 30 }, agoMs: 60_000 };
  const { "pacing-misses": misses, underruns } = tiles(node, before);
  assert.deepEqual([misses.note, misses.tone], ["7 more in the last 1 min 00 s", "warn"]);
  assert.deepEqual([underruns.note, underruns.tone], ["0 more in the last 1 min 00 s", null]);
});

test("a counter that began anew with the process is no negative addition", () => {
  const before = { node: { ...node, pacing_misses: 900 }, agoMs: 5_000 };
  assert.equal(tiles(node, before)["pacing-misses"].note, "0 more in the last 5 s");
});

test("what a node does not tell is a dash", () => {
  const { cpu, pacing, memory } = tiles({ ...node, cpu_ratio: null, pacing_p99_ms: null, memory_bytes: null });
  assert.deepEqual([cpu.figure, pacing.figure, memory.figure], ["–", "–", "–"]);
});

test("the node is named with its version and its age", () => {
  assert.deepEqual(nodeLine(node), { text: "node-1 · voxgate 0.9.0 · up for 2 h 04 min", draining: false });
});

test("those with trouble come first, and a state nobody knows is told as it is", () => {
  const targets = [
    { target: "a", state: "closed" },
    { target: "b", state: "open" },
    { target: "c", state: "half_open" },
  ];
  assert.deepEqual(
    worstFirst(targets, circuitState, ({ target }) => target).map(({ target }) => target),
    ["b", "c", "a"],
  );
  assert.equal(relayState({ state: "on_fire" }).label, "on fire");
  assert.equal(circuitState({ state: null }).label, "Not known");
});

test("trouble is told in sentences, and peace in none", () => {
  assert.deepEqual(
    troubles({ node, relays: [{ id: "r", state: "alive" }], providers: [{ target: "a", state: "closed" }] }),
    [],
  );
  const found = troubles({
    node: { ...node, draining: true },
    relays: [{ id: "r", state: "silent" }],
    providers: [{ target: "a", state: "open" }],
  });
  assert.deepEqual(found, [
    "This node drains: it takes no new sessions and stops when the last one has ended.",
    "1 relay is not heard: r.",
    "No relay is left: callers over WebRTC cannot be reached.",
    "1 target is passed over after failures: a.",
    "Every target is passed over: new sessions are refused.",
  ]);
});

test("the history forgets the oldest, keeps gaps and takes no moment twice", () => {
  const history = new NodeHistory(["sessions", "cpu_ratio"], 2);
  history.add(1, { sessions: 1, cpu_ratio: 0.1 });
  history.add(2, { sessions: 2, cpu_ratio: null });
  history.add(2, { sessions: 9, cpu_ratio: 0.9 });
  history.add(3, { sessions: 3, cpu_ratio: 0.3 });
  assert.deepEqual(history.columns("sessions", "cpu_ratio"), [
    [2, 3],
    [2, 3],
    [null, 0.3],
  ]);
});

test("packets that were dropped are told with their reasons, most first", () => {
  assert.deepEqual(dropped({ drops: { unknown_flow: 2, malformed: 1_300, rate: 0 } }), {
    packets: 1_302,
    reasons: "malformed: 1\u2009300, unknown flow: 2",
  });
  assert.deepEqual(dropped({ drops: {} }), { packets: 0, reasons: "" });
});

test("a target that works is told to be passed over by the routes it is too slow for, one that is broken as broken", () => {
  const over = [
    { target: "slow", route: "gpt-*" },
    { target: "slow", route: "other" },
    { target: "broken", route: "gpt-*" },
  ];
  const label = (target, state) => targetState({ target, state }, over).label;
  assert.equal(label("slow", "closed"), "Passed over for being slow by gpt-*, other");
  assert.equal(label("broken", "open"), "Passed over after failures");
  assert.equal(label("quick", "closed"), "Takes calls");
});
