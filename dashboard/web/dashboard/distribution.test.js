import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketEnds, columns, countAbove, dominance, logAxis, quantileBucket } from "./distribution.js";

const bounds = [50, 100, 200, 400, 800];

test("the last bucket has no end", () => {
  assert.deepEqual(bucketEnds(bounds, 0), [0, 50]);
  assert.deepEqual(bucketEnds(bounds, 5), [800, Infinity]);
});

test("a quantile is in the bucket in which its share is reached", () => {
  const histogram = [0, 5, 90, 0, 4, 1];
  assert.equal(quantileBucket(histogram, 0.05), 1);
  assert.equal(quantileBucket(histogram, 0.5), 2);
  assert.equal(quantileBucket(histogram, 0.96), 4);
  assert.equal(quantileBucket(histogram, 1), 5);
  assert.equal(quantileBucket([0, 0], 0.5), null);
});

test("values above a limit are counted, or not known where the limit cuts a bucket that is not empty", () => {
  const histogram = [1, 2, 3, 0, 5, 6];
  assert.equal(countAbove(bounds, histogram, 200), 11);
  assert.equal(countAbove(bounds, histogram, 300), 11);
  assert.equal(countAbove(bounds, histogram, 500), null);
});

test("an axis holds every value, and what is below its beginning is drawn at its beginning", () => {
  const axis = logAxis([3, 70, 1_300]);
  assert.deepEqual([axis.from, axis.to], [1, 2_000]);
  assert.equal(axis.place(0), 0);
  assert.equal(axis.place(2_000), 100);
  assert.ok(Math.abs(axis.place(Math.sqrt(2_000)) - 50) < 1e-9);
  assert.deepEqual(
    axis.ticks.filter(({ isDecade }) => isDecade).map(({ valueMs }) => valueMs),
    [1, 10, 100, 1_000],
  );
});

test("an axis of nothing is an axis", () => {
  for (const values of [[], [0], [Number.NaN]]) {
    const axis = logAxis(values);
    assert.ok(axis.to > axis.from && Number.isFinite(axis.place(10)), JSON.stringify(values));
  }
});

test("columns stand side by side, the highest fills the height", () => {
  const drawn = columns(bounds, [0, 10, 20, 0, 0, 5], logAxis([60, 1_500]));
  assert.deepEqual(
    drawn.map(({ height }) => height),
    [50, 100, 25],
  );
  assert.ok(Math.abs(drawn[0].left + drawn[0].width - drawn[1].left) < 1e-9);
  assert.ok(drawn.at(-1).left + drawn.at(-1).width <= 100);
});

test("a group that is always faster is so in every pair, beyond chance", () => {
  const { share, isBeyondChance } = dominance([30, 0, 0], [0, 0, 30]);
  assert.equal(share, 1);
  assert.ok(isBeyondChance);
});

test("equal groups are faster in half of the pairs, which is chance", () => {
  assert.deepEqual(dominance([10, 20, 10], [10, 20, 10]), { share: 0.5, isBeyondChance: false });
  assert.deepEqual(dominance([40], [40]), { share: 0.5, isBeyondChance: false });
});

test("the z of a small shift is that of the textbook", () => {
  // Ranks 1 to 10 without ties: a has 1 2 3 5 6, b has 4 7 8 9 10; U of b over a is 23 of 25, z = 10.5 / 4.787 = 2.19.
  const a = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0];
  const b = [0, 0, 0, 1, 0, 0, 1, 1, 1, 1];
  assert.deepEqual(dominance(a, b), { share: 23 / 25, isBeyondChance: false });
  // Four such groups in one are beyond chance.
  const four = (histogram) => histogram.map((count) => 4 * count);
  assert.ok(dominance(four(a), four(b)).isBeyondChance);
});

test("nothing is said about a group without a turn", () => {
  assert.equal(dominance([0, 0], [1, 0]), null);
});
