import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiFailure, sentenceOf } from "./api.js";
import { follow, isFinal, pauseMs } from "./feed.js";

/** An API whose answers are given in order: texts of a stream, or failures. */
function apiOf(...answers) {
  const asked = [];
  return {
    asked,
    async fetch(path) {
      asked.push(path);
      const answer = answers.shift() ?? new ApiFailure(404, "");
      if (answer instanceof Error) throw answer;
      return { body: new Blob([answer]).stream() };
    },
  };
}

async function followed(api) {
  const events = [];
  const states = [];
  const feed = follow(api, "/live", {
    onEvent: (name, data, isFirst) => events.push([name, data, isFirst]),
    onState: ({ kind }) => {
      states.push(kind);
      if (kind === "lost") queueMicrotask(() => queueMicrotask(() => feed.hurry()));
    },
  });
  await feed.done;
  return { events, states };
}

test("what comes is told in order, the first of a connection as such, until the end", async () => {
  const { events, states } = await followed(
    apiOf('event: a\ndata: 1\n\n: still here\n\nevent: b\ndata: {"x":2}\n\nevent: end\ndata: {}\n\n'),
  );
  assert.deepEqual(events, [
    ["a", 1, true],
    ["b", { x: 2 }, false],
    ["end", {}, false],
  ]);
  assert.deepEqual(states, ["connecting", "live", "over"]);
});

test("a feed that breaks is told as lost and comes back with everything", async () => {
  const api = apiOf(
    "event: a\ndata: 1\n\n",
    new ApiFailure(0, ""),
    "event: a\ndata: 2\n\nevent: end\ndata: {}\n\n",
  );
  const { events, states } = await followed(api);
  assert.deepEqual(events.slice(0, 2), [
    ["a", 1, true],
    ["a", 2, true],
  ]);
  assert.deepEqual(states, ["connecting", "live", "lost", "lost", "live", "over"]);
});

test("a feed that is refused is not asked for again", async () => {
  const api = apiOf(new ApiFailure(403, "No."), "event: a\ndata: 1\n\n");
  assert.deepEqual((await followed(api)).states, ["connecting", "refused"]);
  assert.equal(api.asked.length, 1);
});

test("only refusals are final; a busy gateway is asked again", () => {
  assert.ok([400, 401, 403, 404].every((status) => isFinal(new ApiFailure(status, ""))));
  assert.ok([0, 429, 500, 503].every((status) => !isFinal(new ApiFailure(status, ""))));
  assert.ok(!isFinal(new Error("cut")));
});

test("pauses grow to a quarter of a minute and differ from reader to reader", () => {
  assert.deepEqual(
    [0, 1, 2, 30].map((attempt) => pauseMs(attempt, 1)),
    [500, 1000, 2000, 15_000],
  );
  assert.equal(pauseMs(3, 0), pauseMs(3, 1) / 2);
});

test("failures are told in a sentence that says what to do", () => {
  assert.equal(sentenceOf(new ApiFailure(401, "")), "The gateway does not accept this key.");
  assert.match(
    sentenceOf(new ApiFailure(403, "The API key lacks the scope 'admin'.")),
    /may not .*lacks the scope/,
  );
  assert.match(sentenceOf(new ApiFailure(418, "")), /418/);
  assert.match(sentenceOf(new TypeError("x is not a function")), /fault of its own/);
});

test("a page that nobody sees does not come back before somebody looks", async (t) => {
  const page = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  globalThis.document = page;
  t.after(() => delete globalThis.document);
  const api = apiOf("event: a\ndata: 1\n\n", "event: a\ndata: 2\n\nevent: end\ndata: {}\n\n");
  const states = [];
  const feed = follow(api, "/live", {
    onEvent: () => {},
    onState({ kind }) {
      states.push(kind);
      if (kind !== "paused") return;
      assert.equal(api.asked.length, 1);
      queueMicrotask(() => {
        page.visibilityState = "visible";
        page.dispatchEvent(new Event("visibilitychange"));
      });
    },
  });
  await feed.done;
  assert.deepEqual(states, ["connecting", "live", "paused", "live", "over"]);
});
