// The gateway's HTTP API, as far as a caller needs it. Same origin as the page.
import { CallFailure, httpFailure } from "./errors.js";

const PATIENCE_MS = 15_000;

/** A short-lived secret (`ek_…`), so that the long-lived key travels once. */
export async function createSecret(key, session) {
  const response = await post(
    "/v1/realtime/client_secrets",
    key,
    "application/json",
    JSON.stringify({ session }),
  );
  const { value } = await response.json();
  if (!value) throw new CallFailure("gateway_failed", "It gave no client secret.");
  return value;
}

/**
 * Trades an SDP offer for the answer, the path of the call and the token that goes on with its conversation should it be
 * lost. `resume` is the token of a lost call.
 */
export async function createCall(secret, offer, resume = null) {
  const query = resume ? `?resume=${encodeURIComponent(resume)}` : "";
  const response = await post(`/v1/realtime/calls${query}`, secret, "application/sdp", offer);
  return {
    answer: await response.text(),
    location: response.headers.get("Location"),
    resumeToken: response.headers.get("voxgate-resume-token"),
  };
}

/**
 * Tells the gateway that the call is over. It notices by itself too, only later, so a failure changes
 * nothing.
 */
export async function hangUp(key, location) {
  await post(`${location}/hangup`, key, "application/json", undefined, { keepalive: true }).catch(() => {});
}

async function post(path, token, type, body, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": type },
      body,
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...options,
    });
  } catch {
    throw new CallFailure("unreachable");
  }
  if (!response.ok) throw httpFailure(response.status, await response.text().catch(() => ""));
  return response;
}
