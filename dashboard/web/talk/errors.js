// Every failure a person can meet, as one sentence that says what to do. Pure.

/** A failure the page knows by kind; `detail` is the server's own sentence, if it gave one. */
export class CallFailure extends Error {
  constructor(kind, detail = "") {
    super(detail || kind);
    this.name = "CallFailure";
    this.kind = kind;
    this.detail = detail;
  }
}

const sentences = {
  insecure_context: () =>
    "Browsers give the microphone only to secure pages: open this page over https, or as http://localhost.",
  unsupported: () => "This browser has no WebRTC: use a current Chrome, Edge, Firefox or Safari.",
  no_microphone: () =>
    "No microphone was found: plug one in, or choose one in the system settings, and try again.",
  permission_denied: () =>
    "The browser was not allowed to use the microphone: allow it in the site settings beside the address, then " +
    "connect again.",
  microphone_busy: () =>
    "The microphone could not be opened: close other programs that use it, then connect again.",
  microphone_lost: () =>
    "The microphone stopped: plug it in again or choose another one, then end the call and connect again.",
  key_missing: () => "A gateway key is needed: paste one into the key field and connect.",
  key_refused: () => "The gateway refused this key: check it, or ask your operator for a new one.",
  forbidden: (detail) => `The gateway does not allow this call: ${sentence(detail, "ask your operator.")}`,
  limited: (detail) =>
    `The gateway is at a limit: ${sentence(detail, "too many calls at the moment.")} Try again in a minute.`,
  unreachable: () => "The gateway cannot be reached: check that it is running and that you are online.",
  refused: (detail) => `The gateway refused the call: ${sentence(detail, "it gave no reason; see its log.")}`,
  gateway_failed: (detail) =>
    `The gateway could not place the call: ${sentence(detail, "it gave no reason; see its log.")} Try again.`,
  provider_failed: (detail) =>
    `The voice provider failed: ${sentence(detail, "it gave no reason.")} Speak again; if it repeats, end the ` +
    "call and check the provider's settings.",
  request_refused: (detail) =>
    `The gateway refused a request of this page: ${sentence(detail, "no reason given.")}`,
  session_expired: () => "The call reached its longest allowed duration: connect again to go on.",
  no_media_path: () =>
    "The call was accepted but no audio could get through: check that the gateway's UDP port is open between you " +
    "and it.",
  connection_lost: () =>
    "The connection was lost: check your network, then go on with this conversation or connect anew.",
  cannot_continue: () => "The conversation is not kept any longer: connect again to begin a new one.",
  ended_by_gateway: () => "The gateway ended the call: connect again to go on.",
  sound_blocked: () => "The browser blocked the sound: click anywhere on the page to hear the agent.",
  unexpected: (detail) =>
    `Something unexpected happened: ${sentence(detail, "see the browser's console.")} Reload the page.`,
};

export const FAILURE_KINDS = Object.keys(sentences);

/** What to show for a failure. */
export function explain(failure) {
  if (failure instanceof CallFailure) return sentences[failure.kind](failure.detail);
  return sentences.unexpected(failure?.message ?? "");
}

/** getUserMedia's exceptions (Media Capture and Streams, section 10.2). */
export function microphoneFailure(exception) {
  const kinds = {
    NotAllowedError: "permission_denied",
    SecurityError: "permission_denied",
    NotFoundError: "no_microphone",
    OverconstrainedError: "no_microphone",
    NotReadableError: "microphone_busy",
    AbortError: "microphone_busy",
  };
  const kind = kinds[exception?.name];
  return kind ? new CallFailure(kind) : new CallFailure("unexpected", exception?.message);
}

/** A response of the HTTP API that is not a success. `body` is its text. */
export function httpFailure(status, body) {
  const { message: detail, code } = apiError(body);
  if (code === "resume_token_invalid") return new CallFailure("cannot_continue", detail);
  if (status === 401) return new CallFailure("key_refused", detail);
  if (status === 403) return new CallFailure("forbidden", detail);
  if (status === 429) return new CallFailure("limited", detail);
  return new CallFailure(status >= 500 ? "gateway_failed" : "refused", detail || `HTTP status ${status}.`);
}

/** The `error` object of a Realtime `error` event. */
export function eventFailure(error) {
  if (error.code === "session_expired") return new CallFailure("session_expired");
  if (error.type === "invalid_request_error") return new CallFailure("request_refused", error.message);
  return new CallFailure("provider_failed", error.message);
}

function apiError(body) {
  try {
    const { message = "", code = "" } = JSON.parse(body)?.error ?? {};
    return { message, code };
  } catch {
    return { message: "", code: "" };
  }
}

function sentence(detail, fallback) {
  const text = (detail || fallback).trim();
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
