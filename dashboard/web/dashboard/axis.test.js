import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CLOSEST_MS,
  between,
  followedView,
  momentAt,
  onward,
  panned,
  peaks,
  placeOf,
  shareOf,
  showing,
  timeTicks,
  wholeView,
  zoomed,
} from "./axis.js";

const EXTENT = 100_000;
const view = (fromMs, toMs) => ({ fromMs, toMs });

test("looking closer keeps what is under the pointer where it is", () => {
  const before = view(20_000, 60_000);
  const after = zoomed(before, 30_000, 0.5, EXTENT);
  assert.equal(shareOf(before, 30_000), shareOf(after, 30_000));
  assert.equal(after.toMs - after.fromMs, 20_000);
});

test("nobody gets closer than the closest, further than the whole, or beside the session", () => {
  let closest = wholeView(EXTENT);
  for (let step = 0; step < 60; step++) closest = zoomed(closest, 99_000, 0.7, EXTENT);
  assert.ok(Math.abs(closest.toMs - closest.fromMs - CLOSEST_MS) < 1e-6);
  assert.ok(closest.fromMs <= 99_000 && closest.toMs >= 99_000);
  assert.deepEqual(zoomed(closest, 99_000, 1e9, EXTENT), wholeView(EXTENT));
  assert.deepEqual(panned(view(10, 1010), -500, EXTENT), view(0, 1000));
  assert.deepEqual(panned(view(98_000, 99_000), 5000, EXTENT), view(99_000, 100_000));
  assert.deepEqual(between(50_000, 40_000, EXTENT), view(40_000, 50_000));
});

test("what plays is in view however far it went since it was last looked at", () => {
  assert.deepEqual(onward(view(1000, 1250), 1260, EXTENT), view(1250, 1500));
  assert.deepEqual(onward(view(1000, 1250), 1900, EXTENT), view(1750, 2000));
  assert.deepEqual(onward(view(99_000, 99_750), 99_900, EXTENT), view(99_250, 100_000));
});

test("following shows the newest, also of a session shorter than that", () => {
  assert.deepEqual(followedView(EXTENT, 60_000), view(40_000, 100_000));
  assert.deepEqual(followedView(5000, 60_000), view(0, 60_000));
});

test("a stretch that is in view moves nothing; another is brought to the middle", () => {
  const now = view(0, 10_000);
  assert.equal(showing(now, 2000, 3000, EXTENT), now);
  assert.deepEqual(showing(now, 50_000, 51_000, EXTENT), view(45_500, 55_500));
  assert.deepEqual(showing(now, 20_000, 60_000, EXTENT), view(10_000, 70_000));
});

test("shares and moments are each other’s inverse, and what is out of view has no place", () => {
  const now = view(1000, 3000);
  assert.equal(momentAt(now, shareOf(now, 1700)), 1700);
  assert.deepEqual(placeOf(now, 0, 2000), { left: 0, width: 50 });
  assert.deepEqual(placeOf(now, 2500, 9000), { left: 75, width: 25 });
  assert.equal(placeOf(now, 0, 900), null);
  assert.equal(placeOf(now, 3100, 4000), null);
});

test("ticks are round, in view and far enough apart", () => {
  for (const [from, to, width] of [
    [0, 400_000, 1300],
    [12_345, 12_900, 800],
    [0, 7_200_000, 700],
    [0, 1000, 100],
  ]) {
    const { moments } = timeTicks(view(from, to), width);
    assert.ok(moments.every((atMs) => atMs >= from && atMs <= to));
    const apart = moments.slice(1).map((atMs, index) => ((atMs - moments[index]) / (to - from)) * width);
    assert.ok(
      apart.every((px) => px >= 80),
      `${apart}`,
    );
  }
  assert.equal(timeTicks(view(0, 1000), 1300).digits, 1);
});

test("a column is as high as the loudest moment in it, and unknown where nothing is known", () => {
  const levels = { fromMs: 1000, everyMs: 100 };
  assert.deepEqual(peaks([1, 9, 3, 4], levels, view(1000, 1400), 2), [9, 4]);
  assert.deepEqual(peaks([1, 9], levels, view(900, 1300), 4), [null, 1, 9, null]);
  assert.deepEqual(peaks([1, 9], levels, view(1000, 1200), 8), [1, 1, 1, 1, 9, 9, 9, 9]);
});
