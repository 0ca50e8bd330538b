import assert from "node:assert/strict";
import { test } from "node:test";
import { soundOf } from "./player.js";

const MINUTE_MS = 60_000;
const session = (state, duration_ms = MINUTE_MS) => ({ state, duration_ms });

test("only a call that is over and whose voices were kept can be heard", () => {
  for (const state of ["connecting", "open", "ending", "ended"])
    for (const voices of [true, false]) {
      const { isHeard } = soundOf(session(state), { voices });
      assert.equal(isHeard, state === "ended" && voices, `${state} ${voices}`);
    }
});

test("why a call cannot be heard is said as soon as it is certain", () => {
  assert.equal(soundOf(session("connecting"), { voices: false }).text, "");
  assert.match(soundOf(session("open"), { voices: true }).text, /when the call is over/);
  for (const state of ["open", "ended"])
    assert.match(soundOf(session(state), { voices: false }).text, /^No voices were kept/);
});

test("of a call longer than an hour it says that the first hour can be heard", () => {
  assert.equal(soundOf(session("ended", 60 * MINUTE_MS), { voices: true }).text, "");
  assert.match(soundOf(session("ended", 61 * MINUTE_MS), { voices: true }).text, /first hour/);
});
