// Keeps a call when its relay dies, is about to stop, or when the client's network changes. For any web client.
//
//   import { watchRelays } from "./failover.js";
//   const extension = connection.createDataChannel("voxgate");
//   ...offer, answer; `location` is the Location header of POST /v1/realtime/calls...
//   const watch = watchRelays(connection, extension, { callUrl: location, token: key });
//   ...when the call is over: watch.stop();
//
// A call survives the death of a relay without this file too, only later: a browser takes seconds to believe that a path
// is dead. The gateway knows within a quarter of a second and says so on the data channel `voxgate`:
// `{"type":"relay.lost"}`, or `{"type":"relay.draining"}` when a relay is about to be stopped. The answer to both is an
// ICE restart (RFC 8445, section 2.4): a new offer goes to the call's URL by PATCH with the content type
// application/sdp, and the answer to it lists the relays that live. Media, keys and data channels stay as they are.
//
// watchRelays(connection, extensionChannel, options) -> { stop(), moves }
//   callUrl       the call's URL, absolute or as the Location header gives it.
//   token         an API key or a client secret that may speak for the call; a string or a function that gives one,
//                 at once or later. It travels in the Authorization header only.
//   onState       told "moving" when the person may not be heard for a moment, "steady" when that is over, and
//                 "lost" when every attempt was in vain; a later notice or change of network tries again.
//   fetch, random for tests.
//   `moves` counts the ICE restarts the gateway has answered; stop() is final and changes nothing at the connection.

/** Waits before the attempts, in milliseconds. The first is at once; all of them span a change of network. */
export const WAITS_MS = [0, 300, 1_000, 2_000, 4_000, 8_000];
/** How long the gateway may take to answer. After a change of network a request may sit in a dead connection. */
const ANSWER_PATIENCE_MS = 3_000;
/** How long checks on the new path may take before the restart counts as failed. */
const SETTLE_MS = 4_000;
/** A relay that drains tells all its calls at once; they move one after the other within this time. */
const DRAIN_SPREAD_MS = 1_000;

const NOTICES = new Set(["relay.lost", "relay.draining"]);
/** The call is gone, the token may not speak for it, or the gateway knows no ICE restart: the same again is no use. */
const FINAL_STATUSES = new Set([400, 401, 403, 404, 405, 410]);

export function watchRelays(connection, extensionChannel, options) {
  return new RelayWatch(connection, extensionChannel, options);
}

/** The notice in a message of the extension channel, or null. */
export function relayNotice(data) {
  try {
    const { type } = JSON.parse(data);
    return NOTICES.has(type) ? type : null;
  } catch {
    return null;
  }
}

class RelayWatch {
  moves = 0;
  #connection;
  #options;
  #state = "steady";
  #isBusy = false;
  #isUrgent = false;
  #isWantedAgain = false;
  #wake = () => {};
  #stopped = new AbortController();

  constructor(connection, extensionChannel, options) {
    this.#connection = connection;
    this.#options = { fetch: (...args) => fetch(...args), random: Math.random, onState: () => {}, ...options };
    const { signal } = this.#stopped;
    extensionChannel.addEventListener("message", ({ data }) => this.#notice(relayNotice(data)), { signal });
    connection.addEventListener("iceconnectionstatechange", () => this.#follow(), { signal });
    // A device that comes back online, or changes from Wi-Fi to a mobile network, has another address.
    globalThis.window?.addEventListener("online", () => this.#want("network"), { signal });
    globalThis.navigator?.connection?.addEventListener?.("change", () => this.#want("network"), { signal });
  }

  stop() {
    this.#stopped.abort();
    this.#wake();
  }

  #notice(type) {
    if (type) this.#want(type);
  }

  #follow() {
    const state = this.#connection.iceConnectionState;
    if (state === "disconnected" || state === "failed") this.#want("disconnected");
    else if (!this.#isBusy && (state === "connected" || state === "completed")) this.#tell("steady");
  }

  /** One restart at a time. What happens meanwhile either needs another one afterwards or is what it repairs. */
  #want(reason) {
    if (this.#stopped.signal.aborted) return;
    const isUrgent = reason !== "relay.draining";
    if (this.#isBusy) {
      if (reason === "disconnected") return;
      this.#isWantedAgain = true;
      this.#isUrgent ||= isUrgent;
      if (isUrgent) this.#wake();
      return;
    }
    this.#isBusy = true;
    this.#isUrgent = isUrgent;
    this.#move();
  }

  async #move() {
    do {
      this.#isWantedAgain = false;
      if (this.#isUrgent) this.#tell("moving");
      else await this.#pause(this.#options.random() * DRAIN_SPREAD_MS);
      const isSteady = await this.#attempts();
      if (!this.#isWantedAgain) this.#tell(isSteady ? "steady" : "lost");
    } while (this.#isWantedAgain && !this.#stopped.signal.aborted);
    this.#isBusy = false;
  }

  /** Whether the call goes on. */
  async #attempts() {
    for (const wait of WAITS_MS) {
      if (wait > 0) await this.#pause(wait);
      if (this.#stopped.signal.aborted) return true;
      this.#isWantedAgain = false;
      const settled = this.#settled();
      const outcome = await this.#restart();
      if (outcome === "final") break;
      if (outcome === "answered" && (await settled.within(SETTLE_MS))) return true;
      settled.forget();
    }
    return this.#seemsConnected();
  }

  async #restart() {
    const connection = this.#connection;
    try {
      connection.restartIce();
      await connection.setLocalDescription();
      const answer = await this.#ask(connection.localDescription.sdp);
      if (answer.sdp) {
        await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
        this.moves += 1;
        return "answered";
      }
      await connection.setLocalDescription({ type: "rollback" });
      return answer.isFinal ? "final" : "failed";
    } catch {
      // The request found no gateway, or the connection was closed meanwhile.
      if (connection.signalingState === "have-local-offer")
        await connection.setLocalDescription({ type: "rollback" }).catch(() => {});
      return connection.signalingState === "closed" ? "final" : "failed";
    }
  }

  async #ask(offer) {
    const { callUrl, token } = this.#options;
    const bearer = typeof token === "function" ? await token() : token;
    const response = await this.#options.fetch(callUrl, {
      method: "PATCH",
      headers: { Authorization: `Bearer ${bearer}`, "Content-Type": "application/sdp" },
      body: offer,
      signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(ANSWER_PATIENCE_MS)]),
    });
    if (response.ok) return { sdp: await response.text() };
    return { isFinal: FINAL_STATUSES.has(response.status) };
  }

  /** Watches from now on for the connection to use another path. Not every browser tells; then its state decides. */
  #settled() {
    const connection = this.#connection;
    const transport = iceTransport(connection);
    const done = new AbortController();
    const { signal } = done;
    const arrived = new Promise((resolve) => {
      transport?.addEventListener?.("selectedcandidatepairchange", () => resolve(true), { signal });
      const look = () => this.#seemsConnected() && resolve(true);
      connection.addEventListener("iceconnectionstatechange", look, { signal });
    });
    const within = async (limitMs) => {
      const isHere = await Promise.race([arrived, this.#pause(limitMs).then(() => this.#seemsConnected())]);
      done.abort();
      return isHere;
    };
    return { within, forget: () => done.abort() };
  }

  #seemsConnected() {
    return ["connected", "completed"].includes(this.#connection.iceConnectionState);
  }

  /** Ends early when something urgent happens or the watch is stopped. */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopped.signal.aborted) this.#wake();
    });
  }

  #tell(state) {
    if (state === this.#state || this.#stopped.signal.aborted) return;
    this.#state = state;
    this.#options.onState(state);
  }
}

function iceTransport(connection) {
  const sender = connection.getSenders?.().find(({ transport }) => transport);
  return (connection.sctp?.transport ?? sender?.transport)?.iceTransport ?? null;
}
