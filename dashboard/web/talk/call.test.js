import assert from "node:assert/strict";
import { test } from "node:test";
import { sessionRequest, sessionUpdate } from "./call.js";
import { interruptionNote, splitHeard } from "./transcript.js";
import { loudness } from "./meter.js";

const transcribing = { audio: { input: { transcription: { model: "m" } } } };

test("the caller's words are asked for only where they are not already recognised", () => {
  assert.ok(sessionUpdate({}, {}).audio.input.transcription.model);
  assert.equal(sessionUpdate(transcribing, { instructions: "", voice: "" }), null);
});

test("only what was typed is changed", () => {
  assert.deepEqual(sessionUpdate(transcribing, { instructions: "Be brief.", voice: "" }), {
    type: "realtime",
    instructions: "Be brief.",
  });
  assert.deepEqual(sessionUpdate(transcribing, { instructions: "", voice: "alto" }), {
    type: "realtime",
    audio: { output: { voice: "alto" } },
  });
  assert.deepEqual(sessionRequest({ model: "" }), { type: "realtime" });
  assert.deepEqual(sessionRequest({ model: "m" }), { type: "realtime", model: "m" });
});

test("a cut answer is parted between words and nothing is lost", () => {
  const text = "Once there was a lighthouse keeper";
  const [heard, unheard] = splitHeard({ text, heardMs: 1000 });
  assert.equal(heard + unheard, text);
  assert.equal(heard, "Once there was ");
  assert.deepEqual(splitHeard({ text, heardMs: 60_000 }), [text, ""]);
  assert.deepEqual(splitHeard({ text, heardMs: 0 }), ["", text]);
  assert.deepEqual(splitHeard({ text }), [text, ""]);
});

test("the mark says who cut the answer and when", () => {
  assert.equal(interruptionNote({ interrupted: "speech", heardMs: 2449 }), "Interrupted after 2.4 s");
  assert.equal(interruptionNote({ interrupted: "stop" }), "Stopped");
  assert.equal(interruptionNote({ interrupted: null, heardMs: 1 }), "");
});

test("the meter rests in silence and ends at full scale", () => {
  assert.equal(loudness(0), 0);
  assert.equal(loudness(1), 1);
  assert.ok(loudness(0.01) > 0.3 && loudness(0.01) < 0.5);
});
