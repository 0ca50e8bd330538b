import assert from "node:assert/strict";
import { test } from "node:test";
import { SessionBook } from "./live.js";

const summary = (id, seq, state = "open") => ({ id, seq, state });

test("changes replace what was known, and what is gone goes", () => {
  const book = new SessionBook();
  book.heard({ changed: [summary("a", 1), summary("b", 2)] }, true);
  const touched = book.heard({ changed: [summary("a", 5, "ended")], gone: ["b", "never"] }, false);
  assert.deepEqual([...touched], ["a", "b"]);
  assert.deepEqual([...book.sessions.values()], [summary("a", 5, "ended")]);
  assert.equal(book.liveCount, 0);
});

test("an older figure does not replace a newer one", () => {
  const book = new SessionBook();
  book.heard({ changed: [summary("a", 5)] }, true);
  assert.deepEqual([...book.heard({ changed: [summary("a", 4, "ended")] }, false)], []);
  assert.equal(book.sessions.get("a").state, "open");
});

test("the first event of a connection tells everything: what it does not name is gone, also after a restart", () => {
  const book = new SessionBook();
  book.heard({ changed: [summary("a", 5), summary("b", 6)] }, true);
  book.heard({ changed: [summary("b", 1)] }, true);
  assert.deepEqual([...book.sessions.values()], [summary("b", 1)]);
});
