// Runs in the browser: the official agents SDK, as an application on its own site uses it.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

const heard = { asked: [], history: [], errors: [], events: [], tools: [], callId: undefined, remote: null };
let session;

const weather = tool({
  name: "get_weather",
  description: "Tells the weather of a city",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    heard.asked.push(city);
    return "It is sunny and warm there today";
  },
});

/** Connects to the calls URL of a gateway with an ephemeral key. */
async function connect(baseUrl, apiKey) {
  const transport = new OpenAIRealtimeWebRTC({ baseUrl });
  const agent = new RealtimeAgent({ name: "Host", instructions: "Be brief.", tools: [weather] });
  session = new RealtimeSession(agent, { transport });
  session.on("error", ({ error }) => heard.errors.push(JSON.stringify(error) ?? String(error)));
  session.on("history_updated", (history) => (heard.history = history));
  session.on("agent_tool_end", (_context, _agent, { name }, result) => heard.tools.push({ name, result }));
  transport.on("*", (event) => heard.events.push(event));
  await session.connect({ apiKey });
  heard.callId = transport.callId;
}

/** What arrived so far, with the browser's own measure of the audio. */
async function view() {
  const { peerConnection } = session.transport.connectionState;
  const reports = peerConnection ? [...(await peerConnection.getStats()).values()] : [];
  const inbound = reports.find((report) => report.type === "inbound-rtp" && report.kind === "audio");
  return structuredClone({
    ...heard,
    events: heard.events.map(({ type }) => type),
    remote: { energy: inbound?.totalAudioEnergy ?? 0, packets: inbound?.packetsReceived ?? 0 },
  });
}

window.agentPage = {
  connect,
  view,
  say: (text) => session.sendMessage(text),
  interrupt: () => session.interrupt(),
  close: () => session.close(),
};
