import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Call, sessionRequest, sessionUpdate } from "./call.js";
import { interruptionNote, splitHeard } from "./transcript.js";
import { loudness } from "./meter.js";

const transcribing = { audio: { input: { transcription: { model: "m" } } } };

test("the caller's words are asked for only where they are not already recognised", () => {
  assert.ok(sessionUpdate({}, {}).audio.input.transcription.model);
  assert.equal(sessionUpdate(transcribing, { instructions: "", voice: "" }), null);
});

test("only what was typed is changed", () => {
  assert.deepEqual(sessionUpdate(transcribing, { instructions: "Be brief.", voice: "" }), {
    type: "realtime",
    instructions: "Be brief.",
  });
  assert.deepEqual(sessionUpdate(transcribing, { instructions: "", voice: "alto" }), {
    type: "realtime",
    audio: { output: { voice: "alto" } },
  });
  assert.deepEqual(sessionRequest({ model: "" }), { type: "realtime" });
  assert.deepEqual(sessionRequest({ model: "m" }), { type: "realtime", model: "m" });
});

test("a cut answer is parted between words and nothing is lost", () => {
  const text = "Once there was a lighthouse keeper";
  const [heard, unheard] = splitHeard({ text, heardMs: 1000 });
  assert.equal(heard + unheard, text);
  assert.equal(heard, "Once there was ");
  assert.deepEqual(splitHeard({ text, heardMs: 60_000 }), [text, ""]);
  assert.deepEqual(splitHeard({ text, heardMs: 0 }), ["", text]);
  assert.deepEqual(splitHeard({ text }), [text, ""]);
});

test("the mark says who cut the answer and when", () => {
  assert.equal(interruptionNote({ interrupted: "speech", heardMs: 2449 }), "Interrupted after 2.4 s");
  assert.equal(interruptionNote({ interrupted: "stop" }), "Stopped");
  assert.equal(interruptionNote({ interrupted: null, heardMs: 1 }), "");
});

test("the meter rests in silence and ends at full scale", () => {
  assert.equal(loudness(0), 0);
  assert.equal(loudness(1), 1);
  assert.ok(loudness(0.01) > 0.3 && loudness(0.01) < 0.5);
});

/** Puts a browser in the place of Node's globals; `replies` answer its requests. Gives the requests. */
function stand(t, replies) {
  const requests = [];
  const track = Object.assign(new EventTarget(), { stop() {} });
  const microphone = { getAudioTracks: () => [track], getTracks: () => [track] };
  const browser = {
    window: { isSecureContext: true, RTCPeerConnection: HastyConnection },
    navigator: { mediaDevices: { getUserMedia: async () => microphone } },
    RTCPeerConnection: HastyConnection,
    fetch: async (url) => {
      requests.push(url);
      return replies.shift();
    },
  };
  for (const [name, value] of Object.entries(browser)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  return requests;
}

function listeners() {
  const ignore = () => {};
  const failures = [];
  const failure = ({ kind }) => failures.push(kind);
  return { failures, on: { state: ignore, streams: ignore, stats: ignore, failure } };
}

const secret = () => Response.json({ value: "ek_1" });
const accepted = (number) => {
  const headers = { Location: `/calls/rtc_${number}`, "voxgate-resume-token": `vgr_${number}` };
  return new Response("answer", { status: 201, headers });
};

test("a channel that opens before the answer is applied to the end leaves no deadline behind", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.after(() => mock.timers.reset());
  stand(t, [secret(), new Response("answer", { status: 201 })]);
  const { failures, on } = listeners();
  const call = new Call("key", {}, on);
  await call.start();
  assert.equal(call.state, "connected");
  mock.timers.tick(60_000);
  assert.equal(call.state, "connected");
  assert.deepEqual(failures, []);
  call.end();
});

test("a lost call is not hung up, and another one goes on with its conversation", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.after(() => mock.timers.reset());
  const requests = stand(t, [secret(), accepted(1), secret(), accepted(2)]);
  const { failures, on } = listeners();
  const lost = new Call("key", {}, on, { failover: false });
  await lost.start();
  HastyConnection.latest.fall();
  assert.deepEqual([lost.state, ...failures], ["failed", "connection_lost"]);
  assert.ok(!HastyConnection.latest.isClosed, "a farewell would end the conversation");
  const { latest } = HastyConnection;
  const next = new Call("key", {}, on, { failover: false, resume: lost.resumeToken });
  const started = next.start();
  assert.equal(next.resumeToken, "vgr_1", "what was not answered can be tried again");
  await started;
  assert.equal(next.resumeToken, "vgr_2");
  lost.leave(true);
  await null;
  assert.ok(latest.isClosed);
  assert.equal(requests.filter((url) => url.includes("?resume=vgr_1")).length, 1);
  assert.ok(requests.every((url) => !url.includes("hangup")));
  next.end();
});

/** A connection whose data channels are open before the promise of setRemoteDescription resolves. */
class HastyConnection extends EventTarget {
  static latest = null;
  #channels = [];
  localDescription = { sdp: "offer" };
  connectionState = "connected";
  isClosed = false;

  constructor() {
    super();
    HastyConnection.latest = this;
  }

  fall() {
    this.connectionState = "failed";
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  addTrack() {}
  async setLocalDescription() {}
  async getStats() {
    return new Map();
  }
  close() {
    this.isClosed = true;
  }

  createDataChannel() {
    const channel = Object.assign(new EventTarget(), { readyState: "open", send() {} });
    this.#channels.push(channel);
    return channel;
  }

  async setRemoteDescription() {
    for (const channel of this.#channels) channel.dispatchEvent(new Event("open"));
  }
}
