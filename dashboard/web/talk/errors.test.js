import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CallFailure,
  FAILURE_KINDS,
  eventFailure,
  explain,
  httpFailure,
  microphoneFailure,
} from "./errors.js";

const api = (message) =>
  JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code: null } });

test("every kind of failure is a sentence without holes", () => {
  for (const kind of FAILURE_KINDS) {
    for (const detail of ["", "The model is unknown"]) {
      const text = explain(new CallFailure(kind, detail));
      assert.match(text, /^[A-Z].{20,}\.$/, kind);
      assert.doesNotMatch(text, /undefined|null|\.\./, kind);
    }
  }
});

test("a refused call shows the gateway's own words", () => {
  assert.match(explain(httpFailure(400, api("Unknown model 'x'"))), /refused the call: Unknown model 'x'\.$/);
});

test("statuses are told apart", () => {
  const kinds = [401, 403, 404, 422, 429, 500, 503].map((status) => httpFailure(status, "").kind);
  assert.deepEqual(kinds, [
    "key_refused",
    "forbidden",
    "refused",
    "refused",
    "limited",
    "gateway_failed",
    "gateway_failed",
  ]);
});

test("a conversation that is not kept any longer is told apart from other refusals", () => {
  const body = JSON.stringify({ error: { message: "Gone.", code: "resume_token_invalid" } });
  assert.equal(httpFailure(400, body).kind, "cannot_continue");
});

test("an answer that is not JSON leaves the status as the reason", () => {
  assert.match(explain(httpFailure(502, "<html>Bad gateway</html>")), /HTTP status 502\./);
});

test("microphone exceptions are told apart", () => {
  const named = (name) => microphoneFailure(Object.assign(new Error("x"), { name })).kind;
  assert.equal(named("NotAllowedError"), "permission_denied");
  assert.equal(named("NotFoundError"), "no_microphone");
  assert.equal(named("NotReadableError"), "microphone_busy");
  assert.equal(named("TypeError"), "unexpected");
});

test("error events are blamed on who caused them", () => {
  assert.equal(eventFailure({ type: "server_error", message: "down" }).kind, "provider_failed");
  assert.equal(eventFailure({ type: "invalid_request_error", message: "bad" }).kind, "request_refused");
  assert.equal(
    eventFailure({ type: "invalid_request_error", code: "session_expired" }).kind,
    "session_expired",
  );
});

test("any other exception is shown with its message", () => {
  assert.match(explain(new TypeError("x is not a function")), /x is not a function\. Reload/);
});
