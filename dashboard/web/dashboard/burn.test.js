import assert from "node:assert/strict";
import { test } from "node:test";
import { adviceText, advised, burnMeaning, burnPlace, burnRows, noneText, passedOver, times } from "./burn.js";

const route = (name, burn, turns = { "5m": 40, "1h": 400, "6h": 2_000 }) => ({
  route: name,
  turns,
  budgets: { whole: 1_200, model: 500 },
  burn,
  advice: [],
});
const burning = (subject, five, hour, six) => ({ subject, "5m": five, "1h": hour, "6h": six });

test("what would be acted upon comes first, then what is above its allowance, then the rest", () => {
  const rows = burnRows({
    routes: [
      route("calm", [burning("whole", 0.2, 0.5, 0.4), burning("model", 0, 0, 0)]),
      route("bad minute", [burning("whole", 20, 1.2, 0.3)]),
      route("bad hour", [burning("whole", 7, 6.5, 1)]),
      route("bad day", [burning("whole", 0, 3.1, 3.2)]),
    ],
  });
  assert.deepEqual(
    rows.map(({ route, subject, state }) => `${route} ${subject} ${state}`),
    ["bad hour whole alert", "bad day whole alert", "bad minute whole above", "calm whole within", "calm model within"],
  );
  assert.equal(rows.at(-1).budgetMs, 500);
});

test("a handful of turns raises no alert, and none at all is no calm", () => {
  const few = route("few", [burning("whole", 20, 20, 20)], { "5m": 9, "1h": 9, "6h": 9 });
  const none = route("none", [burning("whole", 0, 0, 0)], { "5m": 0, "1h": 0, "6h": 0 });
  assert.deepEqual(
    burnRows({ routes: [none, few] }).map(({ state }) => state),
    ["above", "idle"],
  );
});

test("a gateway that tolerates less is believed", () => {
  const routes = [route("strict", [burning("whole", 2, 2, 0)])];
  assert.equal(burnRows({ routes, tolerance: { fast: 2 } })[0].state, "alert");
});

test("a multiple is explained by the share of turns that were over", () => {
  assert.equal(
    burnMeaning({ name: "5m", burn: 6, turns: 40 }),
    "30 % of 40 turns in the last 5 minutes were over the budget.",
  );
  assert.equal(burnMeaning({ name: "1h", burn: 0, turns: 0 }), "No turn in the last 1 hour.");
});

test("multiples are short and not rounded to nothing", () => {
  assert.deepEqual([0, 0.01, 0.4, 1, 6.04, 19.9, null].map(times), ["0×", "<0.1×", "0.4×", "1×", "6×", "20×", "–"]);
});

test("a bar is full where every turn is too slow", () => {
  assert.deepEqual(
    [0, 5, 20, 40].map((burn) => burnPlace(burn)),
    [0, 50, 100, 100],
  );
});

test("a target that is passed over is told with its route, the reason and both times, the first one first", () => {
  const prefer = (target, subject, since_at, until_at) => ({
    action: "prefer_another",
    target,
    subject,
    owner: "provider",
    since_at,
    until_at,
  });
  const routes = [
    { ...route("a", []), advice: [prefer("slow", "model", 900, 1_200)], passed_over: ["slow"] },
    {
      ...route("b", []),
      advice: [
        { action: "alert", target: null, subject: "whole", since_at: 1, until_at: 2 },
        prefer("slower", "model", 500, 800),
        prefer("slower", "tts", 560, 860),
        prefer("not passed over", "model", 100, 400),
      ],
      passed_over: ["slower"],
    },
    { ...route("old gateway", []), passed_over: ["x"] },
  ];
  assert.deepEqual(passedOver({ routes }), [
    { route: "b", target: "slower", subjects: ["model", "tts"], sinceAt: 500, untilAt: 860 },
    { route: "a", target: "slow", subjects: ["model"], sinceAt: 900, untilAt: 1_200 },
    { route: "old gateway", target: "x", subjects: [], sinceAt: null, untilAt: null },
  ]);
});

test("that nothing is passed over is told apart from that nothing ever would be", () => {
  assert.match(noneText("never"), /^None, however slow: .*prefer_another/);
  assert.match(noneText("next_turn"), /^None: no target was too slow/);
  assert.equal(noneText(undefined), "None.", "what is not told is not guessed");
});

test("advice of a newer gateway is still a sentence", () => {
  assert.equal(
    adviceText({ action: "prefer_another", subjects: ["model", "whole"] }),
    "prefer another target from the next turn on. Too slow: model, the whole turn.",
  );
  assert.equal(adviceText({ action: "do_a_dance", subjects: ["model"] }), "do a dance. Too slow: model.");
});

test("what is advised for several subjects is one advice, and what is done already none", () => {
  const one = (action, subject, target = null) => ({ action, subject, target });
  const advice = [
    one("alert", "whole"),
    one("shed_optional", "encode"),
    one("shed_optional", "relay_in"),
    one("prefer_another", "model", "slow"),
    one("prefer_another", "model", "slower"),
  ];
  assert.deepEqual(advised({ routes: [{ ...route("a", []), advice, passed_over: ["slower"] }] }), [
    { place: "a", action: "shed_optional", subjects: ["encode", "relay_in"] },
    { place: "slow", action: "prefer_another", subjects: ["model"] },
  ]);
});
