import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyConversation, reduce, resumed, stopped, typed } from "./events.js";

const after = (...events) => events.reduce(reduce, emptyConversation());
const answer = (text) => [
  { type: "response.created", response: { id: "resp_1" } },
  {
    type: "response.output_item.added",
    response_id: "resp_1",
    item: { id: "a1", type: "message", role: "assistant" },
  },
  { type: "output_audio_buffer.started", response_id: "resp_1" },
  ...text.map((delta) => ({
    type: "response.output_audio_transcript.delta",
    response_id: "resp_1",
    item_id: "a1",
    delta,
  })),
];
const speech = (id) => ({ type: "input_audio_buffer.speech_started", item_id: id });
const heard = (id, transcript) => ({
  type: "conversation.item.input_audio_transcription.completed",
  item_id: id,
  transcript,
});

test("deltas of an answer are joined in order", () => {
  const [entry] = after(...answer(["Half ", "past ", "six."])).transcript;
  assert.equal(entry.text, "Half past six.");
  assert.equal(entry.role, "agent");
  assert.equal(entry.final, false);
});

test("words recognised late stay above the answer they belong to", () => {
  const { transcript } = after(speech("u1"), ...answer(["Six."]), heard("u1", " What time is it? "));
  assert.deepEqual(
    transcript.map(({ role, text }) => [role, text]),
    [
      ["user", "What time is it?"],
      ["agent", "Six."],
    ],
  );
});

test("the final transcript replaces the deltas", () => {
  const delta = { type: "conversation.item.input_audio_transcription.delta", item_id: "u1", delta: "wat" };
  const [entry] = after(speech("u1"), delta, heard("u1", "What?")).transcript;
  assert.equal(entry.text, "What?");
  assert.equal(entry.final, true);
});

test("speech without words says so", () => {
  assert.equal(after(speech("u1"), heard("u1", "")).transcript[0].failure, "no words recognised");
});

test("an answer cut by speech is marked with what was played", () => {
  const state = after(
    ...answer(["Once there was"]),
    speech("u1"),
    { type: "output_audio_buffer.cleared", response_id: "resp_1" },
    { type: "conversation.item.truncated", item_id: "a1", content_index: 0, audio_end_ms: 900 },
    {
      type: "response.done",
      response: { id: "resp_1", status: "cancelled", status_details: { reason: "turn_detected" } },
    },
  );
  assert.equal(state.transcript[0].interrupted, "speech");
  assert.equal(state.transcript[0].heardMs, 900);
  assert.equal(state.transcript[0].final, true);
  assert.equal(state.agentSpeaking, false);
  assert.equal(state.activeResponse, null);
});

test("an answer stopped by the button stays marked so when the server clears it", () => {
  const state = [
    { type: "output_audio_buffer.cleared", response_id: "resp_1" },
    { type: "conversation.item.truncated", item_id: "a1", content_index: 0, audio_end_ms: 400 },
  ].reduce(reduce, stopped(after(...answer(["Once"]))));
  assert.equal(state.transcript[0].interrupted, "stop");
});

test("an answer that was heard to its end is not marked by a later cut", () => {
  const state = after(
    ...answer(["Yes."]),
    { type: "response.done", response: { id: "resp_1", status: "completed" } },
    { type: "output_audio_buffer.stopped", response_id: "resp_1" },
    { type: "output_audio_buffer.cleared", response_id: "resp_2" },
  );
  assert.equal(state.transcript[0].interrupted, null);
});

test("a typed message is not shown twice when the server repeats it", () => {
  const item = { id: "item_1", type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }] };
  const { transcript } = reduce(typed(emptyConversation(), "item_1", "Hi"), {
    type: "conversation.item.added",
    item,
  });
  assert.deepEqual(
    transcript.map(({ text }) => text),
    ["Hi"],
  );
});

test("a stop that came too late is no error", () => {
  const late = {
    type: "error",
    error: { type: "invalid_request_error", code: "response_cancel_not_active" },
  };
  assert.equal(after(late).error, null);
});

test("a failed answer is an error with the provider's sentence", () => {
  const details = { type: "failed", error: { type: "server_error", message: "Model gone." } };
  const state = after(...answer([]), {
    type: "response.done",
    response: { id: "resp_1", status: "failed", status_details: details },
  });
  assert.equal(state.error.message, "Model gone.");
});

test("a lost call leaves nothing that goes on, and its last answer becomes what was heard of it", () => {
  const before = after(speech("u1"), ...answer(["Once ", "upon a time"]));
  const state = resumed(before);
  assert.ok(state.transcript.every((entry) => entry.final));
  assert.deepEqual([state.activeResponse, state.playingResponse, state.agentSpeaking], [null, null, false]);
  const told = before.transcript.find((entry) => entry.role === "agent");
  const item = (transcript) => ({ id: told.id, content: [{ type: "output_audio", transcript }] });
  const retrieve = (transcript) =>
    reduce(state, { type: "conversation.item.retrieved", item: item(transcript) }).transcript.at(-1);
  assert.deepEqual([retrieve("Once").text, retrieve("Once").interrupted], ["Once", "loss"]);
  assert.deepEqual(retrieve(told.text), { ...told, final: true });
});

test("a tool call is shown with its arguments", () => {
  const { transcript } = after({
    type: "response.function_call_arguments.done",
    item_id: "f1",
    response_id: "r",
    name: "get_time",
    arguments: "{}",
  });
  assert.equal(transcript[0].text, "get_time()");
});

test("forgotten speech leaves no empty line", () => {
  assert.deepEqual(after(speech("u1"), { type: "input_audio_buffer.cleared" }).transcript, []);
});

test("unknown and inherited event names change nothing", () => {
  const state = emptyConversation();
  assert.equal(reduce(state, { type: "rate_limits.updated" }), state);
  assert.equal(reduce(state, { type: "toString" }), state);
  assert.equal(reduce(state, null), state);
});
