import assert from "node:assert/strict";
import { test } from "node:test";
import { flowsAt, gapsAbove, longestGap, lost, quantile, quietStretch, relayOf } from "./gaps.js";

const stream = (from, to, relay = "a") =>
  Array.from({ length: (to - from) / 20 }, (_, index) => ({
    time: from + 20 * index,
    sequence: (from + 20 * index) / 20,
    relay,
  }));

test("a gap lasts from the last packet before it to the first behind it", () => {
  const arrivals = [...stream(0, 1_000), ...stream(1_200, 3_000, "b")];
  assert.deepEqual(longestGap(arrivals, 900, 2_980), { ms: 220, at: 980 });
  assert.equal(longestGap(arrivals, 1_500, 2_980).ms, 20, "what was before does not count");
  assert.equal(relayOf(arrivals, 0, 1_000), "a");
  assert.equal(relayOf(arrivals, 1_200, 3_000), "b");
});

test("a stream that never comes back is a gap that stays open", () => {
  const arrivals = stream(0, 1_000);
  assert.deepEqual(longestGap(arrivals, 900, 5_000), { ms: 4_020, at: 980, isOpen: true });
  assert.deepEqual(longestGap([], 900, 5_000), { ms: 4_100, at: null, isOpen: true });
  assert.equal(flowsAt(arrivals, 1_000), true);
  assert.equal(flowsAt(arrivals, 5_000), false);
});

test("a repeated packet closes no gap", () => {
  const repeated = { time: 1_500, sequence: 3, relay: "a" };
  assert.equal(longestGap([...stream(0, 1_000), repeated, ...stream(2_000, 3_000)], 900, 2_980).ms, 1_020);
});

test("lost packets are those that left and never came", () => {
  const sent = stream(0, 1_000);
  assert.equal(lost(sent, sent.filter(({ time }) => time < 400 || time >= 500), 0, 1_000), 5);
});

test("silence in a recorded tone is found, a dip is not", () => {
  const levels = [...Array(100).fill(0.2), ...Array(30).fill(0.001), ...Array(50).fill(0.1), ...Array(9).fill(0)];
  assert.equal(quietStretch(levels, 10), 300);
});

test("quantiles are of the values", () => {
  assert.equal(quantile([5, 1, 3], 0.5), 3);
  assert.equal(quantile([5, 1, 3], 1), 5);
  assert.equal(quantile([], 0.5), undefined);
});

test("every notable gap is told with the relay behind it", () => {
  const arrivals = [...stream(0, 1_000), ...stream(1_200, 3_000, "b")];
  assert.deepEqual(gapsAbove(60, arrivals, 0, 3_000), [{ at: 980, ms: 220, relay: "b" }]);
});
