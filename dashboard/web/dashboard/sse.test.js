import assert from "node:assert/strict";
import { test } from "node:test";
import { EventReader, LONGEST_EVENT } from "./sse.js";

const read = (...pieces) => {
  const reader = new EventReader();
  return pieces.flatMap((piece) => reader.read(piece));
};
const STREAM =
  ': hello\n\nevent: sessions\ndata: {"a":\ndata: 1}\n\ndata: plain\r\n\r\nid: 7\nretry: 5\nevent: nothing\n\n';
const EVENTS = [{ name: null }, { name: "sessions", data: '{"a":\n1}' }, { name: "message", data: "plain" }];

test("events come with their names and all their lines; comments and events without data are told apart", () => {
  assert.deepEqual(read(STREAM), EVENTS);
});

test("it does not matter where a stream is cut into pieces", () => {
  for (let first = 0; first < STREAM.length; first++) {
    for (let second = first; second < STREAM.length; second += 7) {
      assert.deepEqual(
        read(STREAM.slice(0, first), STREAM.slice(first, second), STREAM.slice(second)),
        EVENTS,
      );
    }
  }
});

test("one space after the colon is no part of the value, a byte order mark none of the stream", () => {
  assert.deepEqual(read("\uFEFFdata:  two\n\ndata:none\n\ndata\n\n"), [
    { name: "message", data: " two" },
    { name: "message", data: "none" },
    { name: "message", data: "" },
  ]);
});

test("an event that never ends is refused", () => {
  const reader = new EventReader();
  const piece = "x".repeat(LONGEST_EVENT / 2);
  reader.read("data: ");
  reader.read(piece);
  assert.throws(() => reader.read(piece), /too long/);
});
