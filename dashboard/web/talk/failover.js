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
// An urgent restart, of a call that is not heard, is answered in a hurry: the first path that works is taken and the
// other relays stay unchecked, so the next death would have nowhere to go. Therefore ICE is restarted once more, calmly,
// about two seconds after such a restart when the call is heard again; then every relay of the answer is checked while
// media flow on the path there is. Exactly one follows an urgent restart. Another urgent one before it puts it off to
// after that one, a restart for a relay that drains stands in for it, and stop() or a closed connection cancels it. It
// has the attempts of any other and is not made up for when they fail. Nobody is told of it: the call is steady.
//
// watchRelays(connection, extensionChannel, options) -> { stop(), moves }
//   callUrl       the call's URL, absolute or as the Location header gives it.
//   token         an API key or a client secret that may speak for the call; a string or a function that gives one,
//                 at once or later. It travels in the Authorization header only.
//   onState       told "moving" when the person may not be heard for a moment, "steady" when that is over, and
//                 "lost" when every attempt was in vain; a later notice or change of network tries again.
//   fetch, random for tests.
//   `moves` counts the ICE restarts the gateway has answered, calm ones too; stop() is final and changes nothing at
//   the connection.

/** Waits before the attempts, in milliseconds. The first is at once; all of them span a change of network. */
export const WAITS_MS = [0, 300, 1_000, 2_000, 4_000, 8_000];
/** How long the gateway may take to answer. After a change of network a request may sit in a dead connection. */
const ANSWER_PATIENCE_MS = 3_000;
/** How long checks on the new path may take before the restart counts as failed. */
const SETTLE_MS = 4_000;
/** What makes one call restart calmly makes many at once; they move one after the other within this time. */
const CALM_SPREAD_MS = 1_000;
/** How long the call must have been heard after an urgent restart before the calm one; the spread comes on top. */
export const PROVE_AFTER_MS = 1_500;
/** The gateway answers 255 restarts of a call; what is beyond these is left to the urgent ones. */
export const MOST_MOVES_TO_PROVE = 128;

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
  /** "calm" or "urgent": the restart that is to come. */
  #wanted = null;
  #isBusy = false;
  /** Within attempts that repair a disconnection anyway. */
  #isRestarting = false;
  #isUrgent = false;
  /** The last answer was got in a hurry, so that only one of its paths is known to work. */
  #owesProof = false;
  #proof = null;
  #wake = () => {};
  #stopped = new AbortController();

  constructor(connection, extensionChannel, options) {
    this.#connection = connection;
    this.#options = { fetch: (...args) => fetch(...args), random: Math.random, onState: () => {}, ...options };
    const { signal } = this.#stopped;
    extensionChannel.addEventListener("message", ({ data }) => this.#notice(relayNotice(data)), { signal });
    connection.addEventListener("iceconnectionstatechange", () => this.#follow(), { signal });
    // A device that comes back online, or changes from Wi-Fi to a mobile network, has another address.
    globalThis.window?.addEventListener("online", () => this.#want("urgent"), { signal });
    globalThis.navigator?.connection?.addEventListener?.("change", () => this.#want("urgent"), { signal });
  }

  stop() {
    this.#stopped.abort();
    clearTimeout(this.#proof);
    this.#wake();
  }

  #notice(type) {
    if (type) this.#want(type === "relay.draining" ? "calm" : "urgent");
  }

  #follow() {
    const state = this.#connection.iceConnectionState;
    if (state === "disconnected" || state === "failed") {
      if (!this.#isRestarting) this.#want("urgent");
    } else if (!this.#isBusy && this.#seemsConnected()) {
      this.#tell("steady");
      this.#proveLater();
    }
  }

  /** One restart at a time. What happens meanwhile either needs another one afterwards or is what it repairs. */
  #want(pace) {
    if (this.#stopped.signal.aborted) return;
    if (pace === "urgent") {
      this.#wanted = pace;
      this.#tell("moving");
      this.#wake();
    } else this.#wanted ??= pace;
    if (!this.#isBusy) this.#move();
  }

  async #move() {
    this.#isBusy = true;
    clearTimeout(this.#proof);
    this.#proof = null;
    while (this.#wanted && !this.#stopped.signal.aborted) {
      if (this.#wanted === "calm") await this.#pause(this.#options.random() * CALM_SPREAD_MS);
      const isSteady = await this.#attempts();
      if (!this.#wanted) this.#tell(isSteady ? "steady" : "lost");
    }
    this.#isBusy = false;
    this.#proveLater();
  }

  /** Restarts once more in a while, if the last restart was urgent and the connection is heard again. */
  #proveLater() {
    const isDue = this.#owesProof && this.#seemsConnected() && this.moves < MOST_MOVES_TO_PROVE;
    if (!isDue || this.#stopped.signal.aborted) return;
    this.#proof ??= setTimeout(() => {
      this.#proof = null;
      // Otherwise it is still owed when the connection comes back.
      if (this.#seemsConnected()) this.#want("calm");
    }, PROVE_AFTER_MS);
  }

  /** Whether the call goes on. */
  async #attempts() {
    this.#isUrgent = false;
    this.#owesProof = false;
    const isSteady = await this.#attemptInTurn();
    this.#isRestarting = false;
    return isSteady;
  }

  async #attemptInTurn() {
    for (const wait of WAITS_MS) {
      // A calm attempt may wait long; a disconnection does not.
      this.#isRestarting = this.#isUrgent;
      if (wait > 0) await this.#pause(wait);
      this.#isRestarting = true;
      if (this.#stopped.signal.aborted) return true;
      this.#isUrgent ||= this.#wanted === "urgent";
      this.#wanted = null;
      const settled = this.#settled();
      const outcome = await this.#restart();
      if (outcome === "answered") this.#owesProof = this.#isUrgent;
      if (outcome === "answered" && (await settled.within(SETTLE_MS))) return true;
      settled.forget();
      if (outcome === "final") {
        this.#owesProof = false;
        break;
      }
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
      if (this.#wanted === "urgent" || this.#stopped.signal.aborted) this.#wake();
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
