// Runs in Chromium: a caller with the official SDK and the gateway's client script, whose microphone asks a question again and again.
// Both tracks are recorded, by one clock.
import { dial } from "./ear.js";
import { TrackRecorder } from "./track-recorder.js";

const PAUSE_MS = 500;
/** Without a turn. Several questions are asked in this time. */
const PATIENCE_MS = 30_000;
/** The end of an answer, and what passes after a sound tells better when that passed. */
const AFTER_MS = 600;

/** Turns as they are told on a channel, and a wait for one of them. */
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

async function measure(place, audio, count) {
  // As a page of another site loads it.
  const script = await import(`${place.origin}/client/voxgate-client.js`);
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const [microphone] = stream.getAudioTracks();
  const mouth = new TrackRecorder(microphone.clone());
  let told, said, measuring, loudspeaker;
  const call = await dial(place, microphone, ({ peerConnection }) => {
    peerConnection.addEventListener("track", ({ track }) => (loudspeaker = new TrackRecorder(track.clone())));
    const channel = peerConnection.createDataChannel("voxgate");
    told = follow(channel);
    said = overhear(channel);
    // The ear is at the track: there is no loudspeaker behind it. The mouth is where the browser says that sound came in.
    measuring = script.measure(peerConnection, { channel, playoutMs: () => 0 });
  });
  const turn_detection = { type: "server_vad", silence_duration_ms: PAUSE_MS };
  call.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });
  const measured = [];
  for (let number = 1; number <= count; number++) {
    const { turn, mouth_to_ear_ms, error_ms, certainty, hops } = await told(number);
    await loudspeaker.more(AFTER_MS);
    const heard = loudspeaker.at(loudspeaker.stretches.at(-1).first);
    const spoken = mouth.stretches.map(({ last }) => mouth.at(last)).findLast((at) => at < heard);
    measured.push({
      heard_ms: heard - spoken,
      ear_off_ms: heard - said.get(turn)?.heard_at_ms,
      mouth_to_ear_ms,
      error_ms,
      certainty,
      hops,
    });
  }
  measuring.stop();
  call.close();
  microphone.stop();
  return measured;
}

window.waterfallPage = { measure };
