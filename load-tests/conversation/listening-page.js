// Runs in Chromium: a caller with the official SDK who interrupts every answer with the next question. Microphone and
// ear are on the clock of one audio context.
import { dial, Ear, RATE, say } from "./ear.js";

const PAUSE_MS = 500;
const LEAST_HEARD_S = 0.9;
const STEP_S = 0.037;
const STEPS = 20;

async function measure(place, clips, interruptions) {
  const context = new AudioContext({ sampleRate: RATE });
  const microphone = context.createMediaStreamDestination();
  const ear = await Ear.open(context);
  const cuts = [];
  const told = [];
  const call = await dial(place, microphone.stream.getTracks()[0], (call) => {
    call.peerConnection.addEventListener("track", ({ streams: [stream] }) => {
      context.createMediaStreamSource(stream).connect(ear.node);
    });
    call.onEvent((event) => {
      if (event.type === "conversation.item.truncated") cuts.push(event.audio_end_ms);
      if (event.type === "input_audio_buffer.speech_started") told.push(context.currentTime);
      if (event.type === "error") throw new Error(JSON.stringify(event.error));
    });
  });
  const turn_detection = { type: "server_vad", silence_duration_ms: PAUSE_MS };
  call.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });

  const questions = [];
  const answers = [];
  for (let number = 0; number <= interruptions; number++) {
    questions.push(await say(context, microphone, clips[number % clips.length]));
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
