import assert from "node:assert/strict";
import { test } from "node:test";
import { RecordBook, lossOf, nearest, newsOf, turnAt } from "./record.js";

const part = (revision, more) => ({ revision, session: { duration_ms: 0, state: "open" }, ...more });
const turn = (number, at_ms, seq = number) => ({ turn: number, at_ms, seq, mouth_to_ear_ms: 500 });

test("entries of the same key replace older ones, others are added in the order of time", () => {
  const book = new RecordBook();
  book.heard(part(1, { turns: [turn(2, 2000), turn(1, 1000)] }), true);
  const changed = book.heard(part(2, { turns: [{ ...turn(1, 1000, 9), interrupted: true }, turn(3, 3000)] }));
  assert.deepEqual([...changed].sort(), ["session", "turns"]);
  assert.deepEqual(
    book.turns.map((one) => [one.turn, one.interrupted ?? false]),
    [
      [1, true],
      [2, false],
      [3, false],
    ],
  );
  assert.equal(book.turn(3).at_ms, 3000);
  assert.equal(book.turn(4), null);
  assert.equal(book.revision, 2);
});

test("a session counts as measured until its record says otherwise", () => {
  const book = new RecordBook();
  book.heard(part(1, {}), true);
  assert.equal(book.measured, true);
  book.heard(part(2, { measured: false }));
  book.heard(part(3, { events: [{ number: 1, at_ms: 0, seq: 3 }] }));
  assert.equal(book.measured, false);
});

test("a list that did not change is the same list", () => {
  const book = new RecordBook();
  book.heard(part(1, { network: [{ at_ms: 1000, seq: 1 }] }), true);
  const before = book.network;
  book.heard(part(2, { turns: [turn(1, 1)] }));
  assert.equal(book.network, before);
});

test("levels are put where they belong, with silence where nothing is known", () => {
  const book = new RecordBook();
  const piece = (from_ms, caller, agent = caller) =>
    part(1, { levels: { every_ms: 100, from_ms, caller, agent } });
  book.heard(piece(1000, [1, 2, 3]), true);
  book.heard(piece(1200, [9, 4]));
  book.heard(piece(1500, [5]));
  assert.deepEqual(book.levels, {
    everyMs: 100,
    fromMs: 1000,
    caller: [1, 2, 9, 4, 0, 5],
    agent: [1, 2, 9, 4, 0, 5],
  });
  book.heard(piece(1_000_000_000, [7]));
  assert.equal(book.levels.caller.length, 6, "a hole of a week is a mistake, not a week of silence");
});

test("after a break everything comes again, and what is not in it is gone", () => {
  const book = new RecordBook();
  book.heard(
    part(9, {
      turns: [turn(1, 1), turn(2, 2)],
      levels: { every_ms: 100, from_ms: 0, caller: [1, 1], agent: [1, 1] },
    }),
    true,
  );
  const changed = book.heard(part(3, { turns: [turn(7, 70)] }), true);
  assert.deepEqual(
    book.turns.map((one) => one.turn),
    [7],
  );
  assert.deepEqual(book.levels.caller, []);
  assert.ok(changed.has("levels"));
});

test("words that were taken back are not shown", () => {
  const book = new RecordBook();
  const words = (item, text, state, seq) => ({ item, at_ms: 1, seq, who: "agent", text, state });
  book.heard(
    part(1, { transcript: [words("a", "one", "complete", 1), words("b", "two", "partial", 2)] }),
    true,
  );
  book.heard(part(2, { transcript: [words("b", "", "cut", 3)] }));
  assert.deepEqual(
    book.transcript.map(({ item }) => item),
    ["a"],
  );
});

test("what is kept of a session has a bound", () => {
  const book = new RecordBook();
  book.heard(
    part(1, {
      events: Array.from({ length: 1500 }, (_, index) => ({ number: index, at_ms: index, seq: index })),
    }),
    true,
  );
  assert.equal(book.events.length, 1000);
  assert.equal(book.events[0].number, 500);
});

test("the extent is until the last thing that is known", () => {
  const book = new RecordBook();
  book.heard(part(1, { turns: [turn(1, 4000)], network: [{ at_ms: 3000, seq: 1 }] }), true);
  assert.equal(book.extentMs, 4500);
});

test("the turn and the second of a moment are found", () => {
  const turns = [turn(1, 1000), turn(2, 5000)];
  assert.equal(turnAt(turns, 999), null);
  assert.equal(turnAt(turns, 4999).turn, 1);
  const seconds = [1000, 2000, 4000].map((at_ms) => ({ at_ms }));
  assert.equal(nearest(seconds, 2900).at_ms, 2000);
  assert.equal(nearest(seconds, 2900, 500), null);
  assert.equal(nearest(seconds, 99_999).at_ms, 4000);
  assert.equal(nearest([], 1), null);
});

test("loss is told before and after repair, and as unknown where nobody says", () => {
  const uplink = { packets: 45, lost: 5, recovered: 4 };
  assert.deepEqual(lossOf({ uplink, downlink: { packets: 50, lost: 0 } }), {
    before: 0.1,
    after: 0.02,
    agent: 0,
  });
  assert.deepEqual(lossOf({ uplink: null, downlink: { packets: null, lost: null } }), {
    before: null,
    after: null,
    agent: null,
  });
  assert.deepEqual(lossOf({ uplink: { packets: 0, lost: 0, recovered: 0 }, downlink: null }), {
    before: null,
    after: null,
    agent: null,
  });
});

test("only what is in view is drawn anew, however much is added beyond it, and everything after a new beginning", () => {
  const book = new RecordBook();
  const isNews = newsOf("turns");
  const [past, whole] = [
    { fromMs: 0, toMs: 10_000 },
    { fromMs: 0, toMs: 90_000 },
  ];
  book.heard(part(1, { turns: [turn(1, 1000)] }), true);
  assert.ok(isNews(book, past, 800));
  assert.ok(!isNews(book, past, 800), "nothing happened");
  book.heard(part(2, { turns: [turn(2, 60_000)] }));
  book.heard(part(3, { network: [{ at_ms: 2000, seq: 9 }] }));
  assert.ok(!isNews(book, past, 800), "it happened beyond the view, or elsewhere");
  book.heard(part(4, { turns: [turn(3, 61_000), turn(1, 1000, 10)] }));
  assert.ok(isNews(book, past, 800), "something in view was replaced");
  for (const look of [[whole, 800], [whole, 700], [whole, 700, "picked"]]) assert.ok(isNews(book, ...look));
  for (let revision = 5; revision < 105; revision++) book.heard(part(revision, { turns: [turn(revision, 80_000)] }));
  assert.ok(isNews(book, past, 700, "picked"));
  book.heard(part(200, {}), true);
  assert.ok(isNews(book, past, 700, "picked"), "it was told anew as a whole");
});
