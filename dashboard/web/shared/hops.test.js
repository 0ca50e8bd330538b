import assert from "node:assert/strict";
import { test } from "node:test";
import {
  axisTicks,
  breachText,
  formatMs,
  layoutTurn,
  medianTotal,
  ownerShares,
  readTurn,
  turnOf,
  unknownText,
  verdict,
} from "./hops.js";

const message = (hops, total = hops.reduce((sum, [, , ms]) => sum + ms, 0)) => ({
  type: "turn.measured",
  turn: 1,
  mouth_to_ear_ms: total,
  hops: hops.map(([hop, owner, duration_ms, certainty = "measured"]) => ({
    hop,
    owner,
    certainty,
    duration_ms,
  })),
});
const sample = message([
  ["uplink", "network", 12.5, "estimated"],
  ["endpointing", "setting", 500.1],
  ["model", "provider", 240.3],
  ["playout", "client", 59.5, "estimated"],
]);

test("bars follow each other without gap or overlap and fill the axis", () => {
  const { bars, sumMs, gapMs } = layoutTurn(readTurn(sample));
  let end = 0;
  for (const bar of bars) {
    assert.ok(Math.abs(bar.left - end) < 1e-9);
    end = bar.left + bar.width;
  }
  assert.ok(Math.abs(end - 100) < 1e-9);
  assert.ok(Math.abs(sumMs - 812.4) < 1e-9);
  assert.ok(Math.abs(gapMs) < 1e-9);
});

test("hops keep the order in which they came", () => {
  assert.deepEqual(
    layoutTurn(readTurn(sample)).bars.map((bar) => bar.hop),
    ["uplink", "endpointing", "model", "playout"],
  );
});

test("a total that contradicts the hops is drawn to scale and reported", () => {
  const { bars, gapMs } = layoutTurn(readTurn(message([["model", "provider", 300]], 400)));
  assert.equal(bars[0].width, 75);
  assert.equal(gapMs, 100);
  assert.equal(layoutTurn(readTurn(message([["model", "provider", 400]], 300))).bars[0].width, 100);
});

test("hops nobody saw are named, and there is nothing to say where all were seen", () => {
  assert.equal(unknownText(readTurn(sample)), "");
  const text = unknownText(turnOf({ ...sample, unknown: ["uplink", "downlink", "playout"] }));
  assert.equal(text, "Not in the sum, since nobody can know it of this client: uplink, downlink and playout.");
  assert.match(unknownText(turnOf({ ...sample, unknown: ["playout"] })), /: playout\.$/);
});

test("estimated hops are told from measured ones", () => {
  assert.deepEqual(
    readTurn(sample).hops.map((hop) => hop.estimated),
    [true, false, false, true],
  );
});

test("shares by owner are sorted and sum to one", () => {
  const shares = ownerShares(readTurn(sample));
  assert.equal(shares[0].owner, "setting");
  assert.ok(Math.abs(shares.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9);
});

test("ticks are round, start at zero and stay on the axis", () => {
  for (const axisMs of [0.4, 7, 99, 812.4, 1000, 12345]) {
    const ticks = axisTicks(axisMs);
    assert.equal(ticks[0].valueMs, 0);
    assert.ok(ticks.length >= 3 && ticks.length <= 7, `${axisMs}: ${ticks.length}`);
    assert.ok(ticks.at(-1).left <= 100 + 1e-6);
  }
  assert.deepEqual(
    axisTicks(812.4).map((tick) => tick.valueMs),
    [0, 200, 400, 600, 800],
  );
});

test("a message that is not a measured turn is refused", () => {
  assert.equal(readTurn(null), null);
  assert.equal(readTurn({ type: "other" }), null);
  assert.equal(readTurn({ ...sample, turn: "1" }), null);
  assert.equal(readTurn({ ...sample, mouth_to_ear_ms: null }), null);
  assert.equal(readTurn({ ...sample, hops: undefined }), null);
  assert.equal(readTurn(message([["model", "provider", -1]])), null);
  assert.equal(readTurn(message([["model", "provider", NaN]])), null);
});

test("an unknown owner does not borrow the words of another", () => {
  assert.equal(readTurn(message([["model", "constructor", 5]])).hops[0].owner, "other");
});

test("a turn without hops draws an empty axis instead of failing", () => {
  const turn = readTurn(message([]));
  assert.deepEqual(layoutTurn(turn).bars, []);
  assert.equal(verdict(turn), "");
});

test("the verdict names the longest hop", () => {
  assert.equal(verdict(readTurn(sample)), "Longest: endpointing, 500 ms (62 %).");
});

test("the median of an even count is the mean of the middle", () => {
  assert.equal(medianTotal([{ totalMs: 3 }, { totalMs: 1 }, { totalMs: 2 }, { totalMs: 10 }]), 2.5);
  assert.equal(medianTotal([]), null);
});

test("milliseconds are shown as precisely as they matter", () => {
  assert.equal(formatMs(0), "0.0 ms");
  assert.equal(formatMs(0.02), "<0.1 ms");
  assert.equal(formatMs(9.94), "9.9 ms");
  assert.equal(formatMs(9.97), "10 ms");
  assert.equal(formatMs(1234.5), "1\u2009235 ms");
});

test("work beside another hop is drawn where it was and is no part of the sum", () => {
  const turn = message([
    ["endpointing", "setting", 500],
    ["stt", "provider", 50],
  ]);
  Object.assign(turn.hops[1], {
    overlapped_ms: 400,
    stretches: [
      { start_ms: 100, duration_ms: 400, overlapped: true },
      { start_ms: 500, duration_ms: 50, overlapped: false },
    ],
  });
  const { bars, sumMs } = layoutTurn(readTurn(turn));
  assert.equal(sumMs, 550);
  assert.equal(bars[1].overlappedMs, 400);
  assert.deepEqual(bars[0].ghosts, []);
  assert.equal(bars[1].ghosts.length, 1);
  assert.ok(Math.abs(bars[1].ghosts[0].left - 10_000 / 550) < 1e-9);
  assert.ok(Math.abs(bars[1].ghosts[0].width - 40_000 / 550) < 1e-9);
});

test("stretches that make no sense are left out and never drawn beyond the axis", () => {
  const turn = message([["model", "provider", 100]]);
  turn.hops[0].stretches = [
    null,
    { start_ms: "x", duration_ms: 1, overlapped: true },
    { start_ms: 90, duration_ms: 500, overlapped: true },
  ];
  assert.deepEqual(layoutTurn(readTurn(turn)).bars[0].ghosts, [{ left: 90, width: 10 }]);
});

test("a broken budget names what took how much of how much, and who spent the whole", () => {
  const broken = [
    {
      subject: "whole",
      spender: "model",
      spent_ms: 1300,
      budget_ms: 1200,
      owner: "provider",
      certain: false,
    },
    { subject: "model", spender: "model", spent_ms: 620, budget_ms: 500, owner: "provider", certain: true },
    { subject: "tts", spent_ms: "x", budget_ms: 1 },
  ];
  const { breaches } = readTurn({ ...sample, breaches: broken });
  assert.deepEqual(breaches.map(breachText), [
    "the turn took 1\u2009300 ms of 1\u2009200 ms, spent by model",
    "model took 620 ms of 500 ms",
  ]);
  assert.deepEqual(readTurn(sample).breaches, []);
});

const told = {
  turn: 3,
  at_ms: 9000,
  mouth_to_ear_ms: 500,
  certainty: "estimated",
  error_ms: 12,
  budget_ms: 600,
  hops: [
    {
      hop: "uplink",
      owner: "network",
      certainty: "estimated",
      duration_ms: 100,
      error_ms: 30,
      budget_ms: 80,
    },
    {
      hop: "stt",
      owner: "provider",
      certainty: "measured",
      duration_ms: 300,
      ahead_ms: 900,
      budget_ms: 1000,
    },
  ],
  unattributed_ms: 100,
  breaches: [],
};

test("a turn of a record reads like one of a message, with what no hop explains among the hops", () => {
  const turn = turnOf(told);
  assert.deepEqual(
    turn.hops.map(({ hop }) => hop),
    ["uplink", "stt", "unattributed"],
  );
  assert.equal(layoutTurn(turn).gapMs, 0);
  assert.equal(turn.hops[1].aheadMs, 900);
  assert.equal(readTurn(told), null, "it is no message");
  assert.equal(turnOf({ ...told, hops: [{ hop: "stt", duration_ms: "x" }] }), null);
});

test("the budget of a hop is drawn behind it and an error around its end, both within the axis", () => {
  const { bars, axisMs, budgetLeft } = layoutTurn(turnOf(told));
  assert.equal(axisMs, 606, "the axis reaches the budget of the whole, which is near");
  assert.ok(Math.abs(budgetLeft - 100 / 1.01) < 1e-9);
  const [uplink, stt, rest] = bars;
  assert.ok(uplink.over && !stt.over);
  assert.ok(Math.abs((uplink.allowed.width * axisMs) / 100 - 80) < 1e-9);
  assert.ok(Math.abs((uplink.whisker.left * axisMs) / 100 - 70) < 1e-9);
  assert.ok(Math.abs((uplink.whisker.width * axisMs) / 100 - 60) < 1e-9);
  assert.ok(stt.allowed.left + stt.allowed.width <= 100 + 1e-9);
  assert.equal(stt.whisker, null);
  assert.equal(rest.allowed, null);
});

test("a budget far beyond a turn does not make the turn small", () => {
  const { axisMs, budgetLeft } = layoutTurn(turnOf({ ...told, budget_ms: 5000 }));
  assert.equal(axisMs, 500);
  assert.equal(budgetLeft, null);
});
