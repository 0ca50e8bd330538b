// Runs in Chromium: a caller with the official SDK who interrupts every answer with the next question. Microphone and
// ear are on the clock of one audio context.
import { OpenAIRealtimeWebRTC } from "../browser/node_modules/openai/realtime/webrtc.mjs";

const RATE = 48_000;
const PAUSE_MS = 500;
const LEAST_HEARD_S = 0.9;
const STEP_S = 0.037;
const STEPS = 20;
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
class Ear {
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

function audible(samples) {
  const from = samples.findIndex((sample) => Math.abs(sample) >= 164);
  const to = samples.findLastIndex((sample) => Math.abs(sample) >= 164);
  return samples.slice(from, to + 1);
}

async function measure({ origin, key, model }, clips, interruptions) {
  const context = new AudioContext({ sampleRate: RATE });
  const microphone = context.createMediaStreamDestination();
  const ear = await Ear.open(context);
  const call = new OpenAIRealtimeWebRTC();
  call.peerConnection.addTrack(microphone.stream.getTracks()[0]);
  call.peerConnection.addEventListener("track", ({ streams: [stream] }) => {
    // Chromium decodes a remote track only for an element that plays it.
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play();
    context.createMediaStreamSource(stream).connect(ear.node);
  });
  const cuts = [];
  const told = [];
  call.onEvent((event) => {
    if (event.type === "conversation.item.truncated") cuts.push(event.audio_end_ms);
    if (event.type === "input_audio_buffer.speech_started") told.push(context.currentTime);
    if (event.type === "error") throw new Error(JSON.stringify(event.error));
  });
  const exchangeSdp = async (offer, { signal }) => {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" };
    const url = `${origin}/v1/realtime/calls?model=${model}`;
    const response = await fetch(url, { method: "POST", body: offer, headers, signal });
    if (!response.ok) throw new Error(await response.text());
    return response.text();
  };
  await call.connect({ exchangeSdp });
  const turn_detection = { type: "server_vad", silence_duration_ms: PAUSE_MS };
  call.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });

  const say = async (clip) => {
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
  };
  const questions = [];
  const answers = [];
  for (let number = 0; number <= interruptions; number++) {
    questions.push(await say(clips[number % clips.length]));
    if (number === interruptions) break;
    const answer = await ear.after(questions.at(-1).ended);
    answers.push(answer);
    const until = answer.began + LEAST_HEARD_S + STEP_S * (number % STEPS);
    await new Promise((resolve) => setTimeout(resolve, 1_000 * (until - context.currentTime)));
  }
  // The answer to the last question: by then the last interruption is over and told.
  await ear.after(questions.at(-1).ended);
  call.close();
  // Whatever sounds before the next answer can begin belongs to this one.
  const lastSound = (answer, { ended }) =>
    ear.stretches.filter(({ began }) => began >= answer.began && began < ended).at(-1).ended;
  return answers.map((answer, number) => ({
    stop_ms: 1_000 * (lastSound(answer, questions[number + 1]) - questions[number + 1].began),
    told_ms: 1_000 * (told.find((at) => at > questions[number + 1].began) - questions[number + 1].began),
    heard_ms: 1_000 * (lastSound(answer, questions[number + 1]) - answer.began),
    audio_end_ms: cuts[number],
    first_audio_ms: 1_000 * (answer.began - questions[number].ended),
  }));
}

window.listeningPage = { measure, rate: RATE };
