// Runs in the browser: one long scripted conversation with an official SDK.
import { onMessage, wire } from "./wire-tap.js";
import { parseRealtimeEvent } from "./node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs";
import { RATE, clients } from "./conversation-clients.js";

const LIMIT_MS = 120_000;
const TOOL = {
  type: "function",
  name: "get_weather",
  description: "Tells the weather of a city",
  parameters: { type: "object", properties: { city: { type: "string" } } },
};

/** The first truthy result of `probe`, looked for whenever an event comes. */
function until(what, probe) {
  return new Promise((resolve, reject) => {
    const settle = (act) => {
      clearTimeout(deadline);
      forget();
      act();
    };
    const look = () => {
      const found = probe();
      if (found) settle(() => resolve(found));
    };
    const types = () => wire.map(({ event }) => event.type).filter((type) => !type.endsWith(".delta"));
    const deadline = setTimeout(() => settle(() => reject(new Error(`${what} never came: ${types()}`))), LIMIT_MS);
    const forget = onMessage(look);
    look();
  });
}

function check(holds, what, evidence) {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(evidence)}`);
}

const written = (text, more = {}) => ({
  type: "message",
  role: "user",
  content: [{ type: "input_text", text }],
  ...more,
});

class Script {
  refused = [];
  sent = 0;
  read = 0;

  constructor(client, hasMedia, clips) {
    Object.assign(this, { client, hasMedia, clips });
  }

  send(type, fields = {}) {
    const event_id = `step_${++this.sent}`;
    this.client.send({ type, event_id, ...fields });
    return event_id;
  }

  /** The next event of a type that fits, after the one waited for before. */
  async next(type, fits = () => true) {
    const position = () =>
      wire.findIndex(({ event }, at) => at >= this.read && event.type === type && fits(event)) + 1;
    this.read = await until(type, position);
    return wire[this.read - 1].event;
  }

  all(type, fits = () => true) {
    return wire.map(({ event }) => event).filter((event) => event.type === type && fits(event));
  }

  /** The first event of a type that fits, whenever it came. */
  told(type, fits) {
    return until(type, () => this.all(type, fits)[0]);
  }

  async refusal(type, code, fields = {}) {
    const id = this.send(type, fields);
    const { error } = await this.told("error", (event) => event.error.event_id === id);
    check(error.code === code, `${type} is refused as ${code}`, error);
    this.refused.push(id);
  }

  /** Changes the session. An SDK may change it at the same time, so the answer is known by what `shows` of it. */
  async update(session, shows) {
    const before = wire.length;
    this.send("session.update", { session: { type: "realtime", ...session } });
    const isIt = ({ event }, at) => at >= before && event.type === "session.updated" && shows(event.session);
    return (await until("session.updated", () => wire.find(isIt))).event.session;
  }

  async write(text, more) {
    this.send("conversation.item.create", { item: written(text, more) });
    return (await this.next("conversation.item.done")).item;
  }

  endOf({ id }) {
    return this.told("response.done", ({ response }) => response.id === id).then(({ response }) => response);
  }

  async response(options) {
    this.send("response.create", options ? { response: options } : {});
    const { response } = await this.next("response.created");
    return this.endOf(response);
  }

  playback(step, { id }) {
    return this.all(`output_audio_buffer.${step}`, (event) => event.response_id === id);
  }

  ended(response) {
    return this.playback("cleared", response).length + this.playback("stopped", response).length;
  }

  async fallQuiet(response) {
    if (!this.hasMedia) return;
    await until("the start of playback", () => this.playback("started", response).length);
    this.send("output_audio_buffer.clear");
    await until("the end of playback", () => this.ended(response));
  }

  async configures() {
    const detection = { type: "server_vad", threshold: 0.5, prefix_padding_ms: 200, silence_duration_ms: 900 };
    const input = { transcription: { model: "whisper-1" }, turn_detection: detection };
    const audio = { input, output: { voice: "cedar" } };
    const change = { instructions: "Be brief.", tools: [TOOL], tool_choice: "auto", audio };
    const session = await this.update(change, ({ tools }) => tools.length === 1);
    check(session.audio.output.voice === "cedar", "the voice is taken", session);
    check(session.audio.input.turn_detection.silence_duration_ms === 900, "so is the turn detection", session);
  }

  async asksInWriting() {
    const item = await this.write("hello", { id: "item_hello" });
    check(item.id === "item_hello", "the client's name is kept", item);
    const done = await this.response({ metadata: { step: "greeting" } });
    check(done.status === "completed" && done.metadata.step === "greeting", "the greeting", done);
    await this.fallQuiet(done);
    const audio = { output: { voice: "ash" } };
    await this.refusal("session.update", "cannot_update_voice", { session: { type: "realtime", audio } });
  }

  async asksAloud() {
    this.client.say(this.clips.question);
    const { item_id } = await this.next("input_audio_buffer.speech_started");
    await this.told("input_audio_buffer.committed", (event) => event.item_id === item_id);
    await this.told("conversation.item.input_audio_transcription.completed", (event) => event.item_id === item_id);
    await this.fallQuiet(await this.uncut());
  }

  /** The next answer that nobody interrupts. A busy machine may play a question with a hole in it, which is two questions. */
  async uncut() {
    for (;;) {
      const { response } = await this.next("response.created");
      const done = await this.endOf(response);
      if (done.status_details?.reason !== "turn_detected") return done;
    }
  }

  async answersAToolCall() {
    await this.write("what is the weather in paris, ask the tool get_weather");
    const call = (await this.response()).output.at(-1);
    check(call.type === "function_call" && call.name === "get_weather", "the tool is called", call);
    const item = { type: "function_call_output", call_id: call.call_id, output: '{"weather": "sunny"}' };
    this.send("conversation.item.create", { item });
    await this.fallQuiet(await this.response());
  }

  async classifiesBesideTheConversation() {
    const done = await this.response({
      conversation: "none",
      output_modalities: ["text"],
      metadata: { topic: "classification" },
      tool_choice: "none",
      input: [written("my line is dead")],
    });
    check(done.conversation_id === null && done.metadata.topic === "classification", "beside it", done);
    check(done.output[0].content[0].type === "output_text", "as text", done);
    await this.refusal("conversation.item.retrieve", "item_retrieve_invalid_item_id", { item_id: done.output[0].id });
  }

  async cancels() {
    await this.write("tell me a long story");
    this.send("response.create");
    const { response } = await this.next("response.created");
    this.send("response.cancel", { response_id: response.id });
    const done = await this.endOf(response);
    check(done.status_details?.reason === "client_cancelled", "the answer is cancelled", done);
    if (this.hasMedia) {
      this.send("output_audio_buffer.clear");
      await until("quiet", () => this.playback("started", done).length === this.ended(done));
    }
  }

  async interrupts() {
    await this.write("tell me a long story");
    this.send("response.create");
    const { response } = await this.next("response.created");
    const { item } = await this.next("response.output_item.added");
    const isHeard = () =>
      this.hasMedia
        ? this.playback("started", response).length
        : this.all("response.output_audio.delta", (event) => event.item_id === item.id).length > 5;
    await until("the story", isHeard);
    this.client.say(this.clips.interruption);
    await this.next("input_audio_buffer.speech_started");
    const cut = { item_id: item.id, content_index: 0, audio_end_ms: 200 };
    if (!this.hasMedia) this.send("conversation.item.truncate", cut);
    await this.told("conversation.item.truncated", (event) => event.item_id === item.id);
    await this.endOf(response);
    if (this.hasMedia) await until("silence", () => this.playback("cleared", response).length === 1);
    await this.fallQuiet(await this.uncut());
    this.send("conversation.item.retrieve", { item_id: item.id });
    const retrieved = await this.next("conversation.item.retrieved", (event) => event.item.id === item.id);
    const said = this.all("response.output_audio_transcript.done", (event) => event.item_id === item.id)[0];
    const heard = retrieved.item.content[0].transcript;
    check(said.transcript.startsWith(heard) && heard.length < said.transcript.length, "cut to what was heard", heard);
  }

  async arrangesItems() {
    const item = written("Be polite.", { id: "item_rule", role: "system" });
    this.send("conversation.item.create", { previous_item_id: "root", item });
    const { previous_item_id } = await this.next("conversation.item.added", (event) => event.item.id === "item_rule");
    check(previous_item_id === null, "it is the first", previous_item_id);
    await this.refusal("conversation.item.create", "item_create_duplicate_item_id", { item });
    this.send("conversation.item.delete", { item_id: "item_hello" });
    await this.next("conversation.item.deleted");
    await this.refusal("conversation.item.delete", "item_delete_invalid_item_id", { item_id: "item_hello" });
  }

  async commitsByHand() {
    const change = { tools: [], audio: { input: { turn_detection: null } } };
    const session = await this.update(change, ({ tools }) => tools.length === 0);
    check(session.audio.input.turn_detection === null, "nobody listens for turns", session);
    await this.client.say(this.clips.name);
    this.send("input_audio_buffer.commit");
    const { item_id } = await this.next("input_audio_buffer.committed");
    await this.told("conversation.item.input_audio_transcription.completed", (event) => event.item_id === item_id);
    await this.fallQuiet(await this.response());
    this.send("input_audio_buffer.clear");
    await this.refusal("input_audio_buffer.commit", "input_audio_buffer_commit_empty");
  }

  async makesMistakes() {
    await this.refusal("session.paint", "invalid_value");
    const session = { type: "realtime", colour: "red" };
    await this.refusal("session.update", "unknown_parameter", { session });
    await this.refusal("response.cancel", "response_cancel_not_active");
    const text = await this.response({ output_modalities: ["text"] });
    check(text.output[0].content[0].type === "output_text", "the session goes on", text);
  }

  async play() {
    await this.configures();
    await this.asksInWriting();
    await this.asksAloud();
    await this.answersAToolCall();
    await this.classifiesBesideTheConversation();
    await this.cancels();
    await this.interrupts();
    await this.arrangesItems();
    await this.commitsByHand();
    await this.makesMistakes();
  }
}

/** Plays the script with a client; `clips` are samples by name. Gives all that came and what the SDK's parser missed. */
async function play(name, place, clips) {
  const { hasMedia, connect } = clients[name];
  const client = await connect(place);
  const samples = Object.entries(clips).map(([name, values]) => [name, Int16Array.from(values)]);
  const script = new Script(client, hasMedia, Object.fromEntries(samples));
  await script.play();
  client.close();
  const generic = wire.filter(({ text }) => parseRealtimeEvent({ data: text }).isGeneric).map(({ text }) => text);
  return { wire: wire.map(({ text }) => text), generic, refused: script.refused, errors: client.errors, hasMedia };
}

window.conversationPage = { play, rate: RATE };
