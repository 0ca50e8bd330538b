// A gateway with two providers, one of them slow, tools of which one is dangerous, and budgets: what the figures of the dashboard
// are looked at with. Every call is a real one.
import { once } from "node:events";
import { WebSocket } from "ws";
import { Gateway, KEY } from "./gateway.js";
import { until } from "./patience.js";
import { startSimulator } from "./simulator.js";
import { TalkPage } from "./talk.js";

/** So much longer the slow provider takes, in milliseconds: more than any budget by default. */
export const SLOW_MS = 1_700;

const configuration = (quick, slow) => `
providers:
  quick: { kind: openai-realtime, base_url: "http://${quick}/v1", region: eu-west }
  slow: { kind: openai-realtime, base_url: "http://${slow}/v1", region: us-east }
routes:
  - { model: gpt-realtime, provider: quick }
  - { model: gpt-realtime-mini, provider: slow }
default_model: gpt-realtime
money:
  vendors: { quick: openai, slow: openai }
  budgets:
    - { organisation: default, window: day, soft: "0.04", hard: "2" }
    - { organisation: default, team: default, window: month, hard: "40" }
agents:
  "*":
    approval_window: 60s
    while_waiting: One moment please.
    tools: { look: { risk: read_only }, refund_order: { risk: dangerous } }
`;

export class Scene {
  static async start() {
    const scene = new Scene();
    scene.simulators = [
      await startSimulator(["--model-delay-ms", "260", "--answer-ms", "900", "--transcript", "what time is it"]),
      await startSimulator([
        "--model-delay-ms",
        String(SLOW_MS),
        "--answer-ms",
        "900",
        "--transcript",
        "what time is it",
      ]),
    ];
    scene.gateway = await Gateway.start(configuration(...scene.simulators.map(({ address }) => address)));
    return scene;
  }

  async stop() {
    await this.gateway.stop();
    for (const simulator of this.simulators) await simulator.stop();
  }

  /** The administration's answer. */
  async ask(path) {
    const response = await fetch(`${this.gateway.origin}/admin/v1${path}`, {
      headers: { Authorization: `Bearer ${KEY}` },
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Approves or denies a tool call that waits, over the administration. */
  async decide({ id }, verdict, reason) {
    const response = await fetch(`${this.gateway.origin}/admin/v1/approvals/${id}/${verdict}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
      body: JSON.stringify({ reason }),
    });
    if (!response.ok) throw new Error(`${verdict}: ${response.status} ${await response.text()}`);
  }
}

/** A call of a person whose answers come from the provider of `model`. */
export async function callOf(browser, gateway, model) {
  const talk = await TalkPage.open(browser, gateway);
  await talk.page.locator("summary").first().click();
  await talk.page.locator("#model").fill(model);
  await talk.connect();
  return talk;
}

/** A client over WebSocket whose model wants to call a tool. */
export class ToolClient {
  events = [];

  static async open(gateway) {
    const client = new ToolClient();
    client.socket = new WebSocket(`ws://${gateway.http}/v1/realtime?model=gpt-realtime`, {
      headers: { Authorization: `Bearer ${KEY}` },
    });
    client.socket.on("message", (data) => client.events.push(JSON.parse(data)));
    await once(client.socket, "open");
    await client.until("session.created");
    const tools = ["look", "refund_order"].map((name) => ({
      type: "function",
      name,
      parameters: { type: "object", properties: {} },
    }));
    client.send({ type: "session.update", session: { type: "realtime", tools } });
    return client;
  }

  send(event) {
    this.socket.send(JSON.stringify(event));
  }

  /** The first event of this type from place `from` on. */
  until(type, from = 0) {
    const evidence = () => this.events.map((event) => event.type).join(" ");
    return until(type, () => this.events.slice(from).find((event) => event.type === type), evidence);
  }

  /** Has the model ask for a dangerous tool. */
  async wantRefund() {
    this.write("Please refund_order.");
    this.send({ type: "response.create" });
    await this.until("response.done");
  }

  write(text) {
    const content = [{ type: "input_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  }

  /** Answers the tool call and waits for what the model says to it. */
  async giveOutput(call, output) {
    const from = this.events.length;
    this.send({
      type: "conversation.item.create",
      item: { type: "function_call_output", call_id: call.call_id, output },
    });
    this.send({ type: "response.create" });
    return this.until("response.done", from);
  }

  async close() {
    this.socket.close();
    if (this.socket.readyState !== WebSocket.CLOSED) await once(this.socket, "close");
  }
}
