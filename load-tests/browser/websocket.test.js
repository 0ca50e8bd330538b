// The official JavaScript packages over WebSocket, unchanged: only the address is ours.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { z } from "zod";
import { Gateway, KEY } from "./gateway.js";
import { until } from "./patience.js";
import { speech } from "./voice.js";

const SDK_RATE = 24_000;
const MOST_TIMES = 4;

let gateway;
before(async () => (gateway = await Gateway.start()));
after(() => gateway.stop());

test("an agent of @openai/agents-realtime hears a question, uses its tool and answers aloud", async (t) => {
  const asked = [];
  const weather = tool({
    name: "get_weather",
    description: "Tells the weather of a city",
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return "It is sunny and warm there today";
    },
  });
  const agent = new RealtimeAgent({ name: "Host", instructions: "Be brief.", tools: [weather] });
  const url = `ws://${gateway.http}/v1/realtime?model=gpt-realtime`;
  const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ url }) });
  const errors = [];
  let heardBytes = 0;
  let history = [];
  session.on("error", (error) => errors.push(error));
  session.on("audio", ({ data }) => (heardBytes += data.byteLength));
  session.on("history_updated", (items) => (history = items));
  t.after(() => session.close());
  await session.connect({ apiKey: KEY });
  const evidence = () => JSON.stringify({ asked, heardBytes, errors, history }, null, 1);

  const question = await speech([0.5, "what is the weather in paris", 2], SDK_RATE);
  let times = 0;
  const ask = () => {
    times += 1;
    for (let at = 0; at < question.length; at += 480) session.sendAudio(question.slice(at, at + 480).buffer);
  };
  ask();
  // On a busy machine all recognisers may be at work; then the agent asks for the question again.
  const refusals = () => history.filter((item) => line([item], "assistant", /say that again/i)).length;
  const isCalled = () => {
    if (asked.length === 0 && refusals() === times && times < MOST_TIMES) ask();
    return asked.length > 0;
  };
  await until("the tool is called", isCalled, evidence);
  await until("the answer is in the history", () => line(history, "assistant", /sunny/i), evidence);
  await until("the question is in the history", () => line(history, "user", /weather/i), evidence);
  await until("a second of the answer is heard", () => heardBytes > 2 * SDK_RATE, evidence);
  assert.deepEqual(errors, []);
});

test("OpenAIRealtimeWS of the openai package works over TLS with the gateway's own authority", async (t) => {
  const client = new OpenAI({ apiKey: KEY, baseURL: `https://${gateway.https}/v1` });
  const ca = await readFile(gateway.authority);
  const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { ca } }, client);
  t.after(() => realtime.close());
  const events = [];
  const errors = [];
  realtime.on("event", (event) => events.push(event));
  realtime.on("error", (error) => errors.push(error));
  const arrived = (type) => events.find((event) => event.type === type);
  const evidence = () => `${events.map((event) => event.type).join(" ")}\n${errors.join("\n")}`;

  await until("the session exists", () => errors.length > 0 || arrived("session.created"), evidence);
  assert.deepEqual(errors, []);
  assert.equal(arrived("session.created").session.model, "gpt-realtime");
  realtime.send({ type: "session.update", session: { type: "realtime", instructions: "Be brief." } });
  await until("the session is changed", () => arrived("session.updated"), evidence);
  assert.equal(arrived("session.updated").session.instructions, "Be brief.");

  const content = [{ type: "input_text", text: "what is seven plus five" }];
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  realtime.send({ type: "response.create" });
  const done = await until("the response is done", () => arrived("response.done"), evidence);
  assert.equal(done.response.status, "completed");
  assert.match(done.response.output[0].content[0].transcript, /12|twelve/);
  const audio = events.filter((event) => event.type === "response.output_audio.delta");
  assert.ok(audio.reduce((bytes, event) => bytes + Buffer.from(event.delta, "base64").length, 0) > SDK_RATE);
  assert.deepEqual(errors, []);
});

/** The message of `role` whose words match. */
function line(history, role, pattern) {
  const words = (item) => item.content.map((part) => part.text ?? part.transcript ?? "").join(" ");
  return history.find((item) => item.type === "message" && item.role === role && pattern.test(words(item)));
}
