// Runs in Chromium: a caller with the official SDK and the gateway's client script asks the same question again and again.
import { dial, Ear, RATE, say } from "./ear.js";

const PAUSE_MS = 500;
const PATIENCE_MS = 10_000;

/** Turns as they are told on a channel, and a wait for the next one. */
function follow(channel) {
  const turns = [];
  channel.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "turn.measured") turns.push(message);
  });
  return async (number) => {
    const until = performance.now() + PATIENCE_MS;
    while (turns.length < number) {
      if (performance.now() > until) throw new Error(`turn ${number} was not told`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return turns[number - 1];
  };
}

async function measure(place, clip, count) {
  // As a page of another site loads it.
  const script = await import(`${place.origin}/client/voxgate-client.js`);
  const context = new AudioContext({ sampleRate: RATE });
  const microphone = context.createMediaStreamDestination();
  const ear = await Ear.open(context);
  let turn, measuring;
  const call = await dial(place, microphone, ear, ({ peerConnection }) => {
    const channel = peerConnection.createDataChannel("voxgate");
    turn = follow(channel);
    // Mouth and ear are at the tracks: there is no device in front of them.
    const [captureMs, playoutMs] = [() => 0, () => 0];
    measuring = script.measure(peerConnection, { channel, captureMs, playoutMs });
  });
  const turn_detection = { type: "server_vad", silence_duration_ms: PAUSE_MS };
  call.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });
  const measured = [];
  for (let number = 1; number <= count; number++) {
    const { lastWord } = await say(context, microphone, clip);
    const { began } = await ear.after(lastWord);
    const { mouth_to_ear_ms, error_ms, certainty, hops } = await turn(number);
    measured.push({ heard_ms: 1_000 * (began - lastWord), mouth_to_ear_ms, error_ms, certainty, hops });
    // The end of an answer is no question's.
    await new Promise((resolve) => setTimeout(resolve, 600));
  }
  measuring.stop();
  call.close();
  return measured;
}

window.waterfallPage = { measure };
