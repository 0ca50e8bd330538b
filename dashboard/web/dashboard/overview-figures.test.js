import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BreachNews,
  budgetText,
  budgetsOf,
  commonBudget,
  longer,
  overviewTiles,
  spanOf,
  spenderRows,
  wishOf,
} from "./overview-figures.js";

const latency = {
  routes: [
    { route: "a", budgets: { whole: 1_200, model: 500 } },
    { route: "b", budgets: { whole: 1_500, model: 500 } },
  ],
};
const overview = (breaches = 1, p95_ms = 1_100) => ({
  groups: [{ name: null, turns: 100, breaches, whole: { p50_ms: 640.2, p95_ms } }],
});
const tiles = (more) => {
  const given = {
    overview: overview(),
    latency,
    sessions: [],
    spend: { spent: 0, estimated: 0 },
    approvals: 0,
    span: spanOf("1h"),
    ...more,
  };
  return Object.fromEntries(overviewTiles(given).map((tile) => [tile.name, tile]));
};

test("the figures are those of the answer, with what they are of", () => {
  const { p50, p95, breaches } = tiles({});
  assert.deepEqual([p50.figure, p50.note], ["640", "half of 100 turns took no longer"]);
  assert.equal(p95.figure, "1\u2009100");
  assert.deepEqual([breaches.figure, breaches.note], ["1", "1.0 % of 100 turns; 5 % may be"]);
});

test("a p95 over some routes' budget is a warning, over all of them it is bad", () => {
  assert.equal(tiles({}).p95.tone, null);
  assert.equal(tiles({ overview: overview(1, 1_300) }).p95.tone, "warn");
  assert.equal(tiles({ overview: overview(1, 1_600) }).p95.tone, "bad");
  assert.equal(tiles({ latency: null, overview: overview(1, 1_600) }).p95.tone, undefined);
});

test("breaches are bad from the allowance on", () => {
  assert.deepEqual(
    [0, 5, 6].map((breaches) => tiles({ overview: overview(breaches) }).breaches.tone),
    [null, "warn", "bad"],
  );
});

test("without a turn there are dashes, never zeroes", () => {
  const { p50, p95, breaches, spend, approvals, live } = tiles({
    overview: { groups: [] },
    sessions: null,
    spend: null,
    approvals: null,
  });
  for (const tile of [p50, p95, breaches, spend, approvals, live]) assert.equal(tile.figure, "–", tile.name);
  assert.equal(p50.note, "no turn in the last hour");
});

test("sessions that ended are not live", () => {
  const { live } = tiles({ sessions: ["open", "open", "connecting", "ended"].map((state) => ({ state })) });
  assert.deepEqual([live.figure, live.note], ["3", "1 connecting"]);
});

test("routes with other budgets have a range, and none in common", () => {
  assert.equal(budgetText(budgetsOf(latency, "whole")), "1\u2009200 to 1\u2009500 ms, by route");
  assert.equal(budgetText(budgetsOf(latency, "model")), "500 ms");
  assert.deepEqual(
    [commonBudget(latency, "whole"), commonBudget(latency, "model"), commonBudget(null, "whole")],
    [null, 500, null],
  );
});

test("the hop that spent most comes first", () => {
  const rows = spenderRows({
    spenders: [
      { hop: "tts", breaches: 1 },
      { hop: "model", breaches: 3 },
    ],
  });
  assert.deepEqual(
    rows.map(({ hop, ofAll, ofMost }) => [hop, ofAll, ofMost]),
    [
      ["model", 0.75, 1],
      ["tts", 0.25, 1 / 3],
    ],
  );
  assert.deepEqual(spenderRows({ spenders: [] }), []);
});

test("a breach that happens while somebody looks comes before all that happened before", () => {
  const news = new BreachNews();
  const session = (id, breaches) => ({ id, breaches });
  news.hear([session("a", 9), session("b", 0)], 1_000);
  news.hear([session("b", 1)], 2_000);
  const sessions = [session("a", 9), session("b", 1), session("c", 0)];
  assert.deepEqual(
    news.worst(sessions).map(({ session, newsAt }) => [session.id, newsAt]),
    [
      ["b", 2_000],
      ["a", null],
    ],
  );
  news.hear([session("d", 1)], 3_000);
  assert.equal(news.worst([...sessions, session("d", 1)])[0].session.id, "d");
});

test("the longest span has none longer", () => {
  assert.equal(longer("15m").value, "1h");
  assert.equal(longer("6h"), null);
  assert.equal(spanOf("nonsense").value, "1h");
});

test("an address that asks for nonsense asks for what is usual", () => {
  const usual = { span: "1h", hop: "whole", by: "provider", a: null, b: null };
  assert.deepEqual(wishOf(new URLSearchParams("")), usual);
  assert.deepEqual(wishOf(new URLSearchParams("window=1y&hop=<b>&by=weather")), usual);
  assert.deepEqual(wishOf(new URLSearchParams("window=6h&hop=model&by=region&a=eu&b=us")), {
    span: "6h",
    hop: "model",
    by: "region",
    a: "eu",
    b: "us",
  });
});
