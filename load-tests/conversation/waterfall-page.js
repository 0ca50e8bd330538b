// Runs in Chromium: a caller with the official SDK and the gateway's client script asks the same question again and again. Both of
// its tracks are recorded, by one clock.
import { dial, Ear, RATE, say } from "./ear.js";
import { TrackRecorder } from "./track-recorder.js";

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

/** What the client script says of each turn. */
function overhear(channel) {
  const said = new Map();
  const send = channel.send.bind(channel);
  channel.send = (text) => {
    const message = JSON.parse(text);
    if (message.type === "client.turn") said.set(message.turn, message);
    send(text);
  };
  return said;
}

async function measure(place, clip, count) {
  // As a page of another site loads it.
  const script = await import(`${place.origin}/client/voxgate-client.js`);
  const context = new AudioContext({ sampleRate: RATE });
  const microphone = context.createMediaStreamDestination();
  const mouth = new TrackRecorder(microphone.stream.getTracks()[0].clone());
  const ear = await Ear.open(context);
  let turn, said, measuring, loudspeaker;
  const call = await dial(place, microphone, ear, ({ peerConnection }) => {
    peerConnection.addEventListener("track", ({ track }) => (loudspeaker = new TrackRecorder(track.clone())));
    const channel = peerConnection.createDataChannel("voxgate");
    turn = follow(channel);
    said = overhear(channel);
    // Mouth and ear are at the tracks: there is no device in front of them.
    const [captureMs, playoutMs] = [() => 0, () => 0];
    measuring = script.measure(peerConnection, { channel, captureMs, playoutMs });
  });
  const turn_detection = { type: "server_vad", silence_duration_ms: PAUSE_MS };
  call.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });
  const measured = [];
  for (let number = 1; number <= count; number++) {
    const coming = loudspeaker?.next();
    const { lastWord } = await say(context, microphone, clip);
    const answer = await coming;
    const question = mouth.stretches.at(-1);
    const { mouth_to_ear_ms, error_ms, certainty, hops } = await turn(number);
    // The end of an answer is no question's, and what passes now tells better when it passed.
    await loudspeaker.more(600);
    const { began } = await ear.after(lastWord);
    const [spoken, heard] = [mouth.at(question.last), loudspeaker.at(answer.first)];
    measured.push({
      heard_ms: heard - spoken,
      // As two places of one audio context see it, which takes the sound in its own steps.
      mixed_ms: 1_000 * (began - lastWord),
      ear_off_ms: heard - said.get(number)?.heard_at_ms,
      mouth_to_ear_ms,
      error_ms,
      certainty,
      hops,
    });
  }
  measuring.stop();
  call.close();
  return measured;
}

window.waterfallPage = { measure };
