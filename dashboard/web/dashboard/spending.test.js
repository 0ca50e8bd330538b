import assert from "node:assert/strict";
import { test } from "node:test";
import { budgetBar, everyDay, ranked, rankedBudgets, rowName, span, sum } from "./spending.js";

const row = (names, confirmed, estimated = 0) => ({
  day: null,
  organisation: null,
  team: null,
  key: null,
  agent: null,
  provider: null,
  model: null,
  hop: null,
  confirmed_nano_dollars: confirmed,
  estimated_nano_dollars: estimated,
  unheard_nano_dollars: 1,
  unpriced: 0,
  entries: 2,
  ...names,
});
const budget = (more) => ({
  organisation: "acme",
  team: null,
  key: null,
  agent: null,
  window: "day",
  soft_nano_dollars: null,
  hard_nano_dollars: 1_000,
  spent_nano_dollars: 0,
  leased_nano_dollars: 0,
  left_nano_dollars: 1_000,
  ...more,
});

test("estimates are spent too", () => {
  const { spent, confirmed, estimated, entries } = sum([row({}, 5, 2), row({}, 10)]);
  assert.deepEqual({ spent, confirmed, estimated, entries }, { spent: 17, confirmed: 15, estimated: 2, entries: 4 });
});

test("the dearest row comes first and has the whole bar", () => {
  const rows = ranked([row({ model: "a" }, 10), row({ model: "b" }, 30), row({ model: "c" }, 0)], "model");
  assert.deepEqual(
    rows.map(({ name, ofLargest }) => [name, ofLargest]),
    [
      ["b", 1],
      ["a", 1 / 3],
      ["c", 0],
    ],
  );
  assert.equal(rows[0].ofAll, 0.75);
});

test("nothing spent is no share of anything", () => {
  assert.deepEqual(
    ranked([row({ model: "a" }, 0)], "model").map(({ ofLargest, ofAll }) => [ofLargest, ofAll]),
    [[0, null]],
  );
});

test("a key is named with its team, who speaks through no agent is said to", () => {
  assert.equal(rowName(row({ organisation: "acme", team: "shop", key: "till" }, 0), "key"), "acme / shop / till");
  assert.equal(rowName(row({ agent: "" }, 0), "agent"), "no agent");
});

test("days without spending are days too", () => {
  const days = everyDay([row({ day: "2026-02-28" }, 5, 1)], "2026-02-27", "2026-03-01");
  assert.deepEqual(days, [
    { day: "2026-02-27", spent: 0, confirmed: 0 },
    { day: "2026-02-28", spent: 6, confirmed: 5 },
    { day: "2026-03-01", spent: 0, confirmed: 0 },
  ]);
});

test("spans end today and hold as many days as they say", () => {
  const now = Date.parse("2026-03-02T23:30:00Z");
  assert.deepEqual(span("today", now), { first: "2026-03-02", last: "2026-03-02" });
  assert.deepEqual(span("7d", now), { first: "2026-02-24", last: "2026-03-02" });
  assert.deepEqual(span("month", now), { first: "2026-03-01", last: "2026-03-02" });
});

test("spent, drawn and left fill a budget", () => {
  const bar = budgetBar(
    budget({ spent_nano_dollars: 300, leased_nano_dollars: 100, left_nano_dollars: 600, soft_nano_dollars: 500 }),
  );
  assert.deepEqual(bar, { spent: 30, drawn: 10, left: 60, soft: 50, hard: 100, used: 0.4, state: "within" });
});

test("a budget that was overrun shows by how much", () => {
  const bar = budgetBar(budget({ spent_nano_dollars: 1_250, left_nano_dollars: 0 }));
  assert.deepEqual([bar.spent, bar.hard, bar.state], [100, 80, "out"]);
});

test("a budget without a hard limit never runs out, but is past its soft one", () => {
  const open = { hard_nano_dollars: null, left_nano_dollars: null, soft_nano_dollars: 100 };
  assert.equal(budgetBar(budget({ ...open, spent_nano_dollars: 40 })).state, "open");
  assert.equal(budgetBar(budget({ ...open, spent_nano_dollars: 140 })).state, "soft");
});

test("the budget nearest to its end comes first", () => {
  const budgets = [
    budget({ team: "calm" }),
    budget({ team: "near", spent_nano_dollars: 900 }),
    budget({ team: "half", spent_nano_dollars: 500 }),
  ];
  assert.deepEqual(
    rankedBudgets(budgets).map(({ owner }) => owner),
    ["acme / near", "acme / half", "acme / calm"],
  );
});
