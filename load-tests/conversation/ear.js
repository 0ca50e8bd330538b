// Runs in Chromium: a microphone and an ear on the clock of one audio context.

import { OpenAIRealtimeWebRTC } from "../browser/node_modules/openai/realtime/webrtc.mjs";

export const RATE = 48_000;
/** -46 dBFS. */
const AUDIBLE = 164;
const QUIET_S = 0.2;
const PATIENCE_MS = 15_000;

// -46 dBFS, as the callers of the other benchmarks hear.
const EAR = `
  registerProcessor("ear", class extends AudioWorkletProcessor {
    process([[samples]]) {
      let first = -1;
      let last = -1;
      for (let at = 0; samples && at < samples.length; at++) {
        if (Math.abs(samples[at]) < 0.005) continue;
        if (first < 0) first = at;
        last = at;
      }
      if (first >= 0) this.port.postMessage([currentFrame + first, currentFrame + last]);
      return true;
    }
  });`;

/** Sound as it comes out of the receiver: stretches, each from its first to its last audible frame. */
export class Ear {
  stretches = [];
  #waiting = [];

  static async open(context) {
    const ear = new Ear();
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([EAR], { type: "text/javascript" })));
    ear.node = new AudioWorkletNode(context, "ear");
    ear.node.port.onmessage = ({ data: [first, last] }) => ear.#hear(first / RATE, last / RATE);
    // A node without a destination is not run.
    const nowhere = context.createGain();
    nowhere.gain.value = 0;
    ear.node.connect(nowhere).connect(context.destination);
    return ear;
  }

  #hear(first, last) {
    const current = this.stretches.at(-1);
    if (current && first - current.ended < QUIET_S) current.ended = last;
    else this.stretches.push({ began: first, ended: last });
    for (const look of [...this.#waiting]) look();
  }

  /** The stretch that begins after a time. */
  after(time) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.stretches.find(({ began }) => began > time);
        if (!found) return;
        clearTimeout(deadline);
        this.#waiting.splice(this.#waiting.indexOf(look), 1);
        resolve(found);
      };
      const deadline = setTimeout(() => reject(new Error("no answer is heard")), PATIENCE_MS);
      this.#waiting.push(look);
      look();
    });
  }
}

/** Without the silence around it. */
function audible(samples) {
  const from = samples.findIndex((sample) => Math.abs(sample) >= AUDIBLE);
  const to = samples.findLastIndex((sample) => Math.abs(sample) >= AUDIBLE);
  return samples.slice(from, to + 1);
}

/** Plays a clip into a microphone. Gives when its first and its last audible sample were played. */
export async function say(context, microphone, clip) {
  const samples = audible(clip);
  const buffer = context.createBuffer(1, samples.length, RATE);
  buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32_768), 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(microphone);
  const began = context.currentTime + 0.05;
  source.start(began);
  await new Promise((resolve) => source.addEventListener("ended", resolve, { once: true }));
  return { began, ended: began + samples.length / RATE };
}

/** A call of the official SDK with this track for a microphone. */
export async function dial({ origin, key, model }, microphone, prepare = () => {}) {
  const call = new OpenAIRealtimeWebRTC();
  call.peerConnection.addTrack(microphone);
  call.peerConnection.addEventListener("track", ({ streams: [stream] }) => {
    // Chromium decodes a remote track only for an element that plays it.
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play();
  });
  prepare(call);
  const exchangeSdp = async (offer, { signal }) => {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" };
    const url = `${origin}/v1/realtime/calls?model=${model}`;
    const response = await fetch(url, { method: "POST", body: offer, headers, signal });
    if (!response.ok) throw new Error(await response.text());
    return response.text();
  };
  await call.connect({ exchangeSdp });
  return call;
}
