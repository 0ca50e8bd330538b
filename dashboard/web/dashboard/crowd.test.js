import assert from "node:assert/strict";
import { test } from "node:test";
import { apartMs, joined, thinned } from "./crowd.js";

const at = (at_ms, weight = 0) => ({ at_ms, weight });
const byWeight = ({ weight }) => weight;

test("of an hour on a thousand pixels things fourteen seconds apart are told apart", () => {
  assert.equal(apartMs({ fromMs: 0, toMs: 3_600_000 }, 1000), 14_400);
});

test("the worst of each place is kept, with how many it stands for, and no place is left out", () => {
  const entries = [at(0, 1), at(50, 9), at(90, 2), at(310, 5), at(320, 5), at(999, 1)];
  assert.deepEqual(
    thinned(entries, 100, byWeight).map(({ entry, count }) => [entry.at_ms, count]),
    [
      [50, 3],
      [320, 2],
      [999, 1],
    ],
  );
});

test("what is drawn stays the same when the beginning of the view moves", () => {
  const entries = Array.from({ length: 200 }, (_, index) => at(index * 37, (index * 7919) % 101));
  const whole = thinned(entries, 300, byWeight).map(({ entry }) => entry.at_ms);
  const later = thinned(entries.slice(60), 300, byWeight).map(({ entry }) => entry.at_ms);
  assert.deepEqual(later.slice(1), whole.slice(-later.length + 1));
});

test("stretches of a kind that touch are one, those of another kind stay by themselves", () => {
  const mark = (at_ms, until_ms, kind = "speech") => ({ at_ms, until_ms, kind });
  const marks = [mark(0, 100), mark(50, 60, "interruption"), mark(120, 400), mark(130, 200), mark(900, null)];
  assert.deepEqual(
    joined(marks, 50, 1000).map(({ at_ms, until_ms, kind, count }) => [kind, at_ms, until_ms, count]),
    [
      ["speech", 0, 400, 3],
      ["interruption", 50, 60, 1],
      ["speech", 900, null, 1],
    ],
  );
  assert.equal(joined([mark(0, null), mark(20, 30)], 50, 1000)[0].until_ms, null, "what goes on goes on");
});
