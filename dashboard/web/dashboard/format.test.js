import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, clock, count, duration, money, mos, ms, msFigure, plural, share } from "./format.js";

test("what is not known is a dash, never a zero", () => {
  for (const format of [ms, msFigure, count, share, mos, money, duration, clock, ago, bytes]) {
    for (const unknown of [null, undefined, Number.NaN, "12"]) assert.equal(format(unknown), "–");
  }
});

test("money keeps two figures that say something, however little it is", () => {
  assert.equal(money(12_400_000_000), "$12.40");
  assert.equal(money(1_234_567_890_000_000), "$1\u2009234\u2009567.89");
  assert.equal(money(3_100_000), "$0.0031");
  assert.equal(money(9_999_999), "$0.0100");
  assert.equal(money(120_000), "$0.00012");
  assert.equal(money(12), "<$0.000001");
  assert.equal(money(0), "$0");
  assert.equal(money(-500_000_000), "−$0.50");
});

test("shares are percent, and more than nothing never reads as nothing", () => {
  assert.deepEqual([0, 0.0001, 0.004, 0.0999, 0.5, 1].map(share), [
    "0 %",
    "<0.1 %",
    "0.4 %",
    "10.0 %",
    "50 %",
    "100 %",
  ]);
});

test("durations and clocks", () => {
  assert.deepEqual([840, 12_400, 185_000, 8_040_000, 200_000_000].map(duration), [
    "840 ms",
    "12 s",
    "3 min 05 s",
    "2 h 14 min",
    "2 d 7 h",
  ]);
  assert.equal(clock(65_349, 1), "1:05.3");
  assert.equal(clock(59_999, 1), "1:00.0");
  assert.equal(clock(3_725_000), "1:02:05");
  assert.equal(clock(-1500, 1), "−0:01.5");
});

test("milliseconds, opinions, bytes and how long ago", () => {
  assert.equal(ms(1801.2), "1\u2009801 ms");
  assert.equal(msFigure(9.4), "9.4");
  assert.equal(mos(4.25), "4.3");
  assert.deepEqual([0, 1023, 1536, 512 * 2 ** 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "512 MiB"]);
  assert.equal(ago(99, 100), "just now");
  assert.equal(ago(100, 165), "1 min ago");
  assert.equal(plural(1, "turn"), "1 turn");
  assert.equal(plural(0, "turn"), "0 turns");
});
