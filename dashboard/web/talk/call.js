// One WebRTC call to the gateway, from the microphone to the two data channels.
import { createCall, createSecret, hangUp } from "./api.js";
import { CallFailure, eventFailure, microphoneFailure } from "./errors.js";
import { watchRelays } from "./failover.js";
import { readTurn } from "../shared/hops.js";
import { measure } from "../client/voxgate-client.js";

const CONNECT_PATIENCE_MS = 15_000;
/** How long the browser may still find a path when every attempt to move the call was in vain. */
const LAST_HOPE_MS = 5_000;

/** What the page can lack before any request is made. */
export function missingSupport() {
  if (!window.isSecureContext) return new CallFailure("insecure_context");
  if (!window.RTCPeerConnection || !navigator.mediaDevices?.getUserMedia)
    return new CallFailure("unsupported");
  return null;
}

/**
 * States: `connecting`, `connected`, `reconnecting`, then `ended` or `failed`, which are final.
 *
 * `on` holds the listeners: state(state, step), event(serverEvent), turn(turn, message), stats(measured),
 * streams({microphone} or {remote}), failure(failure). With `failover: false` the call is not moved when its relay or
 * its network fails, as a client without `failover.js`. With `resume`, the token of a lost call, the call goes on with that
 * conversation.
 */
export class Call {
  state = "connecting";
  #key;
  #wishes;
  #on;
  #connection = null;
  #microphone = null;
  #events = null;
  #extension = null;
  #measuring = null;
  #relays = null;
  #keepsAlive;
  #location = null;
  #deadline = null;
  #lastHope = null;
  #resume;
  #token = null;
  #offered = null;

  constructor(key, wishes, on, { failover = true, resume = null } = {}) {
    this.#key = key;
    this.#resume = resume;
    this.#keepsAlive = failover;
    this.#wishes = wishes;
    this.#on = on;
  }

  /** Resolves once the offer is answered; media follows. Failures go to `on.failure`. */
  async start() {
    try {
      const missing = missingSupport();
      if (missing) throw missing;
      this.#enter("connecting", "Checking the key");
      const secret = await createSecret(this.#key, sessionRequest(this.#wishes));
      this.#enter("connecting", "Waiting for the microphone");
      await this.#openMicrophone();
      this.#enter("connecting", "Calling");
      await this.#offer(secret);
    } catch (failure) {
      this.#fail(failure);
    }
  }

  /** Sends a Realtime API client event; false if there is no open call. */
  send(event) {
    return sendOn(this.#events, event);
  }

  set muted(muted) {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** The order matters: no new audio first, then silence for what is already on its way. */
  stopAgent(responding) {
    if (responding) this.send({ type: "response.cancel" });
    this.send({ type: "output_audio_buffer.clear" });
  }

  say(id, text) {
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { id, type: "message", role: "user", content } });
    this.send({ type: "response.create" });
  }

  end() {
    this.#close("ended");
  }

  /**
   * With what another call can go on with the conversation if this one is lost, or null. A token is used up when the call
   * that was made with it connects, not before.
   */
  get resumeToken() {
    return this.#token ?? this.#resume;
  }

  /** Another call goes on with the conversation of this lost one, or nobody does: then it ends at the gateway too. */
  leave(isContinued) {
    if (isContinued) this.#location = null;
    this.#hangUp();
  }

  async #openMicrophone() {
    try {
      this.#microphone = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (exception) {
      throw microphoneFailure(exception);
    }
    if (this.#isOver()) return this.#release();
    const [track] = this.#microphone.getAudioTracks();
    track.addEventListener("ended", () => this.#on.failure(new CallFailure("microphone_lost")));
    this.#on.streams({ microphone: this.#microphone });
  }

  async #offer(secret) {
    if (this.#isOver()) return;
    const connection = new RTCPeerConnection();
    this.#connection = connection;
    const [track] = this.#microphone.getAudioTracks();
    connection.addTrack(track, this.#microphone);
    this.#openChannels(connection);
    connection.addEventListener("track", ({ streams, track: remote }) =>
      this.#on.streams({ remote: streams[0] ?? new MediaStream([remote]) }),
    );
    connection.addEventListener("connectionstatechange", () => this.#follow(connection.connectionState));
    await connection.setLocalDescription();
    const { sdp } = connection.localDescription;
    const { answer, location, resumeToken } = await createCall(secret, sdp, this.#resume);
    this.#location = location;
    this.#offered = resumeToken;
    if (this.#isOver()) return this.#hangUp();
    // Before the answer is applied: the channel that ends this wait may be open by the time the promise resolves.
    this.#deadline = setTimeout(() => this.#fail(new CallFailure("no_media_path")), CONNECT_PATIENCE_MS);
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    if (this.#isOver()) return;
    if (location && this.#keepsAlive) this.#watchRelays(location);
  }

  #watchRelays(callUrl) {
    const connection = this.#connection;
    const onState = (state) => {
      clearTimeout(this.#lastHope);
      if (state === "moving" && this.state === "connected") this.#enter("reconnecting");
      if (state === "steady" && this.state === "reconnecting") this.#enter("connected");
      if (state !== "lost") return;
      // The browser may still find a path by itself. It need not say so when it gives up.
      const hope = connection.connectionState === "failed" ? 0 : LAST_HOPE_MS;
      this.#lastHope = setTimeout(() => this.#fail(new CallFailure("connection_lost")), hope);
    };
    this.#relays = watchRelays(connection, this.#extension, { callUrl, token: this.#key, onState });
  }

  #openChannels(connection) {
    this.#events = connection.createDataChannel("oai-events");
    this.#events.addEventListener("open", () => this.#opened());
    this.#events.addEventListener("message", ({ data }) => this.#receive(parse(data)));
    this.#events.addEventListener("close", () => {
      this.#location = null;
      if (!this.#isOver()) this.#close("ended", new CallFailure("ended_by_gateway"));
    });
    this.#extension = connection.createDataChannel("voxgate");
    this.#extension.addEventListener("message", ({ data }) => {
      const message = parse(data);
      const turn = readTurn(message);
      if (turn && !this.#isOver()) this.#on.turn(turn, message);
    });
    this.#measuring = measure(connection, {
      channel: this.#extension,
      microphone: this.#microphone.getAudioTracks()[0],
      onMeasured: (measured) => this.state === "connecting" || this.#on.stats(measured),
    });
  }

  #opened() {
    clearTimeout(this.#deadline);
    this.#token = this.#offered;
    this.#resume = null;
    this.#enter("connected");
    this.#measuring.read();
  }

  #receive(event) {
    if (!event || this.#isOver()) return;
    if (event.type === "session.created") {
      const update = sessionUpdate(event.session, this.#wishes);
      if (update) this.send({ type: "session.update", session: update });
    }
    // The client's hops of a turn are those of the moment its answer begins to be heard, and of its end.
    if (event.type === "output_audio_buffer.started" || event.type === "response.done") this.#measuring?.read();
    this.#on.event(event);
    if (event.type === "error" && event.error?.code === "session_expired") {
      this.#close("ended", eventFailure(event.error));
    }
  }

  #follow(connectionState) {
    if (this.#isOver()) return;
    if (connectionState === "connected") clearTimeout(this.#lastHope);
    if (connectionState === "connected" && this.state === "reconnecting") this.#enter("connected");
    if (connectionState === "disconnected" && this.state === "connected") this.#enter("reconnecting");
    if (connectionState !== "failed") return;
    if (this.state === "connecting") this.#fail(new CallFailure("no_media_path"));
    // With failover the call is lost when the attempts that begin now are over.
    else if (!this.#relays) this.#fail(new CallFailure("connection_lost"));
  }

  #enter(state, step = "") {
    this.state = state;
    this.#on.state(state, step);
  }

  #fail(failure) {
    this.#close("failed", failure);
  }

  #close(state, failure = null) {
    if (this.#isOver()) return;
    this.state = state;
    clearTimeout(this.#deadline);
    clearTimeout(this.#lastHope);
    this.#measuring?.stop();
    this.#relays?.stop();
    this.#release();
    // A lost call that is hung up, or whose connection says farewell on a way that still works, leaves nothing to go on with.
    const isKept = failure?.kind === "connection_lost" && this.#token;
    if (!isKept) this.#hangUp();
    if (failure) this.#on.failure(failure);
    this.#on.state(state, "");
  }

  /** A closed connection ends the call too, and then there is none to hang up: the connection goes last. */
  async #hangUp() {
    const location = this.#location;
    this.#location = null;
    if (location) await hangUp(this.#key, location);
    this.#connection?.close();
  }

  #release() {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
  }

  #isOver() {
    return this.state === "ended" || this.state === "failed";
  }
}

/** What the secret is asked for: the model decides the provider, so it cannot wait until the call is open. */
export function sessionRequest({ model }) {
  return model ? { type: "realtime", model } : { type: "realtime" };
}

/**
 * What is still to be set once the session exists, or null. The words of the caller are wanted for the
 * transcript.
 */
export function sessionUpdate(session, { instructions, voice }) {
  const audio = {};
  if (!session?.audio?.input?.transcription)
    audio.input = { transcription: { model: "gpt-4o-mini-transcribe" } };
  if (voice) audio.output = { voice };
  const update = { type: "realtime" };
  if (Object.keys(audio).length > 0) update.audio = audio;
  if (instructions) update.instructions = instructions;
  return Object.keys(update).length > 1 ? update : null;
}

function sendOn(channel, message) {
  if (channel?.readyState !== "open") return false;
  channel.send(JSON.stringify(message));
  return true;
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
