import assert from "node:assert/strict";
import { test } from "node:test";
import { aftermath, decisions, readArguments, riskOf, timeLeft, urgentFirst, waiting } from "./approval.js";

const held = { id: "appr_1", asked_at_ms: 10_000, deadline_ms: 70_000 };

test("the time that is left runs out, first calmly, then urgently, then not at all", () => {
  assert.deepEqual(timeLeft(held, 10_000), {
    leftMs: 60_000,
    share: 1,
    isOver: false,
    isUrgent: false,
    text: "1 min 00 s left",
  });
  assert.deepEqual([timeLeft(held, 55_000).isUrgent, timeLeft(held, 55_000).share], [true, 0.25]);
  assert.equal(timeLeft(held, 69_999).text, "1 s left");
  assert.deepEqual([timeLeft(held, 71_000).isOver, timeLeft(held, 71_000).isUrgent], [true, false]);
});

test("a clock that is behind gives nobody more than all of the time", () => {
  assert.equal(timeLeft(held, 0).share, 1);
});

test("whose time ends first comes first", () => {
  const later = { ...held, id: "appr_0", deadline_ms: 90_000 };
  assert.deepEqual(
    urgentFirst([later, held]).map(({ id }) => id),
    ["appr_1", "appr_0"],
  );
});

test("arguments are read name by name, and shown as they came where they are no object", () => {
  const { rows } = readArguments('{"order":"A-17","amount":12.5,"notes":{"gift":true}}');
  assert.deepEqual(
    rows.map(({ name, value }) => `${name}=${value.replaceAll(/\s+/g, "")}`),
    ["order=A-17", "amount=12.5", 'notes={"gift":true}'],
  );
  assert.deepEqual(readArguments("{not json"), { rows: null, text: "{not json" });
  assert.deepEqual(readArguments("[1]"), { rows: null, text: "[1]" });
  assert.deepEqual(readArguments("null").rows, null);
});

test("markup in arguments stays text", () => {
  assert.equal(readArguments('{"a":"<b>"}').rows[0].value, "<b>");
});

test("after a decision only what speaks of this call or of the end is told", () => {
  const event = (seq, at_ms, kind, detail = {}) => ({
    seq,
    at_ms,
    kind,
    severity: "info",
    text: `${kind} ${seq}`,
    detail,
  });
  const events = [
    event(1, 900, "tool_call", { call: "call_1" }),
    event(2, 2_000, "approval", { call: "call_1" }),
    event(3, 2_100, "tool_call", { call: "call_2", tool: "refund" }),
    event(4, 2_200, "interruption"),
    event(5, 2_400, "tool_call", { tool: "refund" }),
    event(6, 2_450, "tool_call", { tool: "lookup" }),
    event(7, 2_500, "ended"),
  ];
  const found = aftermath(events, { call: "call_1", tool: "refund" }, 1_500);
  assert.deepEqual(
    found.map(({ seq, afterMs }) => [seq, afterMs]),
    [
      [2, 500],
      [5, 900],
      [7, 1_000],
    ],
  );
});

test("the headline counts", () => {
  assert.deepEqual(
    [waiting([]), waiting([held]), waiting([held, held])],
    ["Nothing waits for a person", "1 tool call waits for a person", "2 tool calls wait for a person"],
  );
});

test("a risk of a newer gateway is shown as the worst", () => {
  assert.deepEqual(riskOf("quite_mad"), { label: "quite mad", sign: "●" });
});

test("decisions are picked out of the audit log; refused requests without a tool are none", () => {
  const entry = (action, detail) => ({ at_ms: 5, actor: "default/default/first", action, detail });
  const found = decisions([
    entry("key.create", {}),
    entry("approval.approve", { tool: "refund_order", reason: "the picture shows it" }),
    entry("approval.deny", {}),
    entry("approval.deny", { tool: "wipe" }),
  ]);
  assert.deepEqual(
    found.map(({ tool, approved, reason }) => [tool, approved, reason]),
    [
      ["refund_order", true, "the picture shows it"],
      ["wipe", false, ""],
    ],
  );
});
