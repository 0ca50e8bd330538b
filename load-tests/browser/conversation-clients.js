// Runs in the browser: the official SDKs on both transports behind one face.
import { OpenAIRealtimeWebRTC as AgentsCall, OpenAIRealtimeWebSocket as AgentsSocket } from "@openai/agents-realtime";
import OpenAI from "openai";
import { OpenAIRealtimeWebRTC as OpenAICall } from "openai/realtime/webrtc";
import { OpenAIRealtimeWebSocket as OpenAISocket } from "openai/realtime/websocket";

export const RATE = 24_000;
const MODEL = "gpt-realtime";
const CHUNK = RATE / 10;
const SILENCE_AFTER_SPEECH = 1.5 * RATE;

/** A microphone that is silent until it is given samples. */
class Microphone {
  constructor() {
    this.context = new AudioContext({ sampleRate: RATE });
    this.destination = this.context.createMediaStreamDestination();
    // A constant zero keeps the stream running while nobody speaks.
    const floor = this.context.createConstantSource();
    floor.offset.value = 0;
    floor.connect(this.destination);
    floor.start();
  }

  say(samples) {
    const buffer = this.context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32_768), 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.destination);
    source.start();
    return new Promise((resolve) => source.addEventListener("ended", resolve, { once: true }));
  }
}

function play(stream) {
  const audio = document.createElement("audio");
  audio.autoplay = true;
  audio.srcObject = stream;
  document.body.append(audio);
}

/** Speech as messages, with the silence that ends a turn. */
async function append(send, samples) {
  const padded = new Int16Array(samples.length + SILENCE_AFTER_SPEECH);
  padded.set(samples);
  for (let at = 0; at < padded.length; at += CHUNK) {
    const bytes = new Uint8Array(padded.slice(at, at + CHUNK).buffer);
    send({ type: "input_audio_buffer.append", audio: btoa(String.fromCharCode(...bytes)) });
  }
}

async function openaiCall({ origin, key }) {
  const microphone = new Microphone();
  const call = new OpenAICall();
  for (const track of microphone.destination.stream.getTracks()) call.peerConnection.addTrack(track);
  call.peerConnection.addEventListener("track", ({ streams }) => play(streams[0]));
  const errors = [];
  call.onConnectionEvent((event) => event.type === "error" && errors.push(String(event.error)));
  const exchangeSdp = async (offer, { signal }) => {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" };
    const response = await fetch(`${origin}/v1/realtime/calls`, { method: "POST", body: offer, headers, signal });
    if (!response.ok) throw new Error(await response.text());
    return response.text();
  };
  await call.connect({ exchangeSdp });
  return {
    errors,
    send: (event) => call.send(event),
    say: (samples) => microphone.say(samples),
    close: () => call.close(),
  };
}

async function openaiSocket({ secure, key }) {
  const client = new OpenAI({ apiKey: key, baseURL: `${secure}/v1`, dangerouslyAllowBrowser: true });
  const session = new OpenAISocket({ model: MODEL }, client);
  const errors = [];
  // Errors of the API come here too; the script knows which of them it asked for.
  session.on("error", (error) => error.error ?? errors.push(String(error)));
  await new Promise((resolve, reject) => {
    session.socket.addEventListener("open", resolve, { once: true });
    session.socket.addEventListener("error", reject, { once: true });
  });
  const send = (event) => session.send(event);
  return { errors, send, say: (samples) => append(send, samples), close: () => session.close() };
}

async function agentsCall({ origin, key }) {
  const microphone = new Microphone();
  const audioElement = document.createElement("audio");
  document.body.append(audioElement);
  const baseUrl = `${origin}/v1/realtime/calls`;
  const call = new AgentsCall({ baseUrl, mediaStream: microphone.destination.stream, audioElement });
  await call.connect({ apiKey: key, model: MODEL });
  const errors = [];
  return {
    errors,
    send: (event) => call.sendEvent(event),
    say: (samples) => microphone.say(samples),
    close: () => call.close(),
  };
}

async function agentsSocket({ origin, key }) {
  const url = `${origin.replace("http", "ws")}/v1/realtime?model=${MODEL}`;
  const session = new AgentsSocket({ url, useInsecureApiKey: true });
  await session.connect({ apiKey: key, model: MODEL });
  const send = (event) => session.sendEvent(event);
  return { errors: [], send, say: (samples) => append(send, samples), close: () => session.close() };
}

/** The clients by name. */
export const clients = {
  "openai over WebRTC": { hasMedia: true, connect: openaiCall },
  "openai over WebSocket": { hasMedia: false, connect: openaiSocket },
  "@openai/agents-realtime over WebRTC": { hasMedia: true, connect: agentsCall },
  "@openai/agents-realtime over WebSocket": { hasMedia: false, connect: agentsSocket },
};
