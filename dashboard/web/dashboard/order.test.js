import assert from "node:assert/strict";
import { test } from "node:test";
import { byWorst, filterOf, passes, ranked, rowsInView, settle, valuesOf } from "./order.js";

const session = (id, more = {}) => ({
  id,
  state: "open",
  began_at: 100,
  breaches: 0,
  mouth_to_ear_p95_ms: 500,
  loss_ratio: 0,
  provider: "local",
  ...more,
});
const filter = (query = "") => filterOf(new URLSearchParams(query));
const ids = (list) => [...list].sort(byWorst).map(({ id }) => id);

test("worst first: what ended last, then broken budgets, slow answers, lost packets", () => {
  const list = [
    session("lossy", { loss_ratio: 0.1 }),
    session("ended", { state: "ended", breaches: 9 }),
    session("slow", { mouth_to_ear_p95_ms: 900 }),
    session("broken", { breaches: 1 }),
    session("fine"),
  ];
  assert.deepEqual(ids(list), ["broken", "slow", "lossy", "fine", "ended"]);
});

test("what the gateway calls worse comes before what the page would guess", () => {
  assert.deepEqual(ids([session("a", { breaches: 5, badness: 1 }), session("b", { badness: 7 })]), [
    "b",
    "a",
  ]);
});

test("equal sessions have an order of their own, and unknown figures count as good ones", () => {
  const unknown = { mouth_to_ear_p95_ms: null, loss_ratio: null, breaches: null };
  const list = [session("b"), session("a"), session("c", { began_at: 101 }), session("new", unknown)];
  assert.deepEqual(ids(list), ["c", "a", "b", "new"]);
  assert.deepEqual(ids(list.reverse()), ["c", "a", "b", "new"]);
});

test("the filter is what the address says, and nonsense in it is ignored", () => {
  assert.deepEqual(filter("state=dead&order=best"), filter());
  assert.equal(filter("state=ended").state, "ended");
  assert.equal(filter("provider=local&search=%20acme%20").search, "acme");
  assert.equal(filter("provider=").provider, null);
});

test("a filter lets through the state, the fields and every word of a search", () => {
  const one = session("sess_1", { organisation: "acme", team: "sales", region: "eu" });
  assert.ok(passes(one, filter()));
  assert.ok(!passes(one, filter("state=ended")));
  assert.ok(passes(session("x", { state: "ended" }), filter("state=all")));
  assert.ok(passes(one, filter("search=ACME+sess_")));
  assert.ok(!passes(one, filter("search=acme+globex")));
  assert.ok(!passes(one, filter("region=us")));
  assert.deepEqual(ranked([one, session("y", { region: "us" })], filter("region=eu")), ["sess_1"]);
});

test("rows do not move while they are pointed at; new ones come at the end", () => {
  const there = (id) => id !== "gone";
  assert.deepEqual(settle(["a", "b", "gone"], ["new", "b", "a"], true, there), {
    order: ["a", "b", "new"],
    moved: 2,
  });
  assert.deepEqual(settle(["a", "left"], ["a"], true, there), { order: ["a", "left"], moved: 1 });
  assert.deepEqual(settle(["a", "b"], ["b", "a"], false), { order: ["b", "a"], moved: 0 });
  assert.deepEqual(settle(["a", "b"], ["a", "b"], true), { order: ["a", "b"], moved: 0 });
});

test("only the rows in view exist, whatever the list", () => {
  const view = { top: 4600, height: 460, rowHeight: 46, count: 1000, spare: 2 };
  assert.deepEqual(rowsInView(view), { from: 98, to: 112 });
  assert.deepEqual(rowsInView({ ...view, top: 0 }), { from: 0, to: 12 });
  assert.deepEqual(rowsInView({ ...view, count: 3, top: 0 }), { from: 0, to: 3 });
  assert.deepEqual(rowsInView({ ...view, count: 3 }), { from: 3, to: 3 });
  assert.deepEqual(rowsInView({ ...view, count: 0 }), { from: 0, to: 0 });
});

test("the values of a field are offered once, in order, without what is unknown", () => {
  assert.deepEqual(
    valuesOf(
      [
        session("a", { region: "us" }),
        session("b", { region: null }),
        session("c", { region: "eu" }),
        session("d", { region: "us" }),
      ],
      "region",
    ),
    ["eu", "us"],
  );
});
