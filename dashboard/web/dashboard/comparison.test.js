import assert from "node:assert/strict";
import { test } from "node:test";
import { choices, conclude, differences, groupName, pickPair, signedMs } from "./comparison.js";

const dist = (histogram, p50_ms, p95_ms) => ({ histogram, p50_ms, p95_ms });
const group = (name, turns, histogram, model = 300) => ({
  name,
  turns,
  whole: dist(histogram, model + 500, model + 700),
  hops: [
    { hop: "endpointing", owner: "setting", ...dist(histogram, 500, 520) },
    { hop: "model", owner: "provider", ...dist(histogram, model, model + 200) },
  ],
});

test("without a wish the two groups with the most turns are compared", () => {
  const groups = [group("c", 1, [1]), group("a", 50, [50]), group("b", 90, [90])];
  assert.deepEqual(
    choices(groups).map(({ name }) => name),
    ["b", "a", "c"],
  );
  assert.deepEqual(
    pickPair(groups).map(({ name }) => name),
    ["b", "a"],
  );
  assert.deepEqual(
    pickPair(groups, ["c", "b"]).map(({ name }) => name),
    ["c", "b"],
  );
  assert.deepEqual(
    pickPair(groups, ["b", "b"]).map(({ name }) => name),
    ["b", "a"],
  );
  assert.deepEqual(
    pickPair(groups, ["gone", "b"]).map(({ name }) => name),
    ["a", "b"],
  );
  assert.equal(pickPair(groups.slice(1, 2)), null);
  const nameless = group(null, 1, [1]);
  assert.deepEqual(
    pickPair([...groups, nameless], [null, null]).map(({ name }) => name),
    ["b", "a"],
  );
  assert.deepEqual(
    pickPair([...groups, nameless], ["∅", null]).map(({ name }) => name),
    [null, "b"],
  );
});

test("a few turns conclude nothing, and it is said how many there are and how many are needed", () => {
  const { kind, sentence } = conclude(group("a", 6, [6, 0]), group("b", 3, [0, 3]), ["a", "b"]);
  assert.equal(kind, "few");
  assert.equal(
    sentence,
    "Too few turns to conclude anything: 6 turns of a, 3 turns of b. At least 20 of each are needed.",
  );
});

test("the same distribution twice is chance, however many turns there are", () => {
  const { kind, tail } = conclude(group("a", 900, [500, 400]), group("b", 900, [500, 400]), ["a", "b"]);
  assert.deepEqual([kind, tail], ["chance", true]);
});

test("a clear difference names the faster and the hop that makes it", () => {
  const slow = group("slow", 40, [0, 10, 30], 700);
  const fast = group("fast", 40, [30, 10, 0], 300);
  const { kind, winner, sentence, tail } = conclude(slow, fast, ["slow", "fast"]);
  assert.deepEqual([kind, winner, tail], ["faster", "fast", false]);
  assert.match(sentence, /^fast answers faster: /);
  assert.match(sentence, /Most of it is model: half of the turns of slow wait 400 ms longer there\./);
  assert.match(sentence, /The slowest turns are too few to compare/);
});

test("a hop only one group has is unknown in the other, never nothing", () => {
  const a = group("a", 30, [30]);
  const b = {
    ...group("b", 30, [30]),
    hops: [{ hop: "stt", owner: "provider", ...dist([30], 90, 120) }, ...group("b", 30, [30]).hops],
  };
  const { hops, whole } = differences(a, b);
  assert.deepEqual(
    hops.map(({ hop }) => hop),
    ["endpointing", "stt", "model"],
  );
  assert.deepEqual([hops[1].a, hops[1].p50], [null, null]);
  assert.equal(whole.p50, 0);
});

test("differences carry a sign", () => {
  assert.deepEqual([12.34, -450, 0.01, null].map(signedMs), ["+12 ms", "−450 ms", "±0 ms", "–"]);
});

test("groups without a name are named by what they lack", () => {
  assert.equal(groupName({ name: null }, "region"), "no region");
  assert.equal(groupName({ name: "3" }, "revision"), "revision 3");
});
