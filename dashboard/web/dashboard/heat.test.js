import assert from "node:assert/strict";
import { test } from "node:test";
import {
  SHADES,
  cellAt,
  height,
  moved,
  range,
  readCell,
  readHeat,
  shade,
  shadeSteps,
  tableRows,
  timeTicks,
} from "./heat.js";

const heat = {
  columns_every_ms: 60_000,
  from_at: 1_790_000_040,
  bounds_ms: [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800],
  columns: [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 6, 13, 1, 0, 0, 0, 0],
    [0, 0, 0, 2, 2, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ],
  hop: "whole",
};
const grid = readHeat(heat);

test("rows without a turn are left out, but for one at either end and enough to be a picture", () => {
  assert.deepEqual(
    grid.rows.map(({ index }) => index),
    [2, 3, 4, 5, 6, 7],
  );
  const empty = readHeat({ ...heat, columns: [heat.columns[0]] });
  assert.equal(empty.rows.length, 6);
  assert.deepEqual([empty.turns, empty.most], [0, 0]);
});

test("a column knows its turns, its middle and its tail", () => {
  const { turns, middle, tail } = grid.columns[1];
  assert.deepEqual([turns, middle, tail], [20, 4, 4]);
  assert.equal(grid.columns[0].middle, null);
});

test("one turn is never shaded as none, the fullest cell has the deepest shade", () => {
  assert.deepEqual([shade(0, 900), shade(1, 900), shade(900, 900)], [0, 1, SHADES]);
});

test("the key tells for every count which shade it has", () => {
  for (const most of [1, 3, 40, 399, 402, 5_000]) {
    const steps = shadeSteps(most);
    assert.equal(steps[0].from, 1);
    assert.equal(steps.at(-1).to, most);
    for (let count = 1; count <= most; count++) {
      const step = steps.find(({ from, to }) => from <= count && count <= to);
      assert.equal(step?.level, shade(count, most), `${count} of ${most}`);
    }
  }
});

test("a budget is drawn inside its bucket, one that is off the picture is not drawn", () => {
  assert.ok(Math.abs(height(grid, 600) - 2.5 / 6) < 1e-9);
  assert.equal(height(grid, 60), null);
});

test("the first key goes to the newest turns, arrows go from there and stop at the edges", () => {
  const start = moved(grid, null, "ArrowRight");
  assert.deepEqual(start, { column: 2, row: 1 });
  assert.deepEqual(moved(grid, start, "ArrowUp"), { column: 2, row: 2 });
  assert.deepEqual(moved(grid, start, "PageDown"), { column: 2, row: 0 });
  assert.deepEqual(moved(grid, { column: 3, row: 0 }, "ArrowRight"), { column: 3, row: 0 });
  assert.deepEqual(moved(grid, start, "Home"), { column: 0, row: 1 });
  assert.equal(moved(grid, start, "Enter"), null);
  assert.equal(moved(grid, null, "Tab"), null);
});

test("a cell is read as a sentence with how many turns of how many", () => {
  assert.match(
    readCell(grid, { column: 1, row: 2 }),
    /^\d\d:\d\d to \d\d:\d\d, 400 to 800 ms: 13 of 20 turns \(65 %\)\.$/,
  );
  assert.match(readCell(grid, { column: 1, row: 0 }), /none of 20 turns\.$/);
  assert.match(readCell(grid, { column: 0, row: 0 }), /no turn was measured then\.$/);
});

test("buckets are named by their ends", () => {
  assert.equal(range({ fromMs: 0, toMs: 50 }), "under 50 ms");
  assert.equal(range({ fromMs: 12_800, toMs: Infinity }), "12\u2009800 ms and more");
});

test("a point on the picture belongs to the cell under it", () => {
  assert.deepEqual(cellAt(grid, 0.3, 0.2), { column: 1, row: 1 });
  assert.deepEqual(cellAt(grid, 1.2, -0.1), { column: 3, row: 0 });
});

test("the table has the stretches with a turn, the newest first", () => {
  const rows = tableRows(grid);
  assert.deepEqual(
    rows.map(({ turns }) => turns),
    [4, 20],
  );
  assert.equal(rows[1].tail, "400 to 800 ms");
});

test("times on the axis are round and apart", () => {
  const columns = Array.from({ length: 60 }, (_, index) => ({
    fromAt: 1_789_999_990 + 60 * index,
    toAt: 1_790_000_050 + 60 * index,
  }));
  const ticks = timeTicks({ columns });
  assert.ok(ticks.length >= 5 && ticks.length <= 12);
  assert.ok(ticks.every(({ at, left }) => at % 600 === 0 && left >= 0 && left <= 1));
  assert.deepEqual(timeTicks({ columns: [] }), []);
});
