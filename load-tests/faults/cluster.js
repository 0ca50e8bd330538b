// A gateway, two relays and a simulated provider as processes, each on its host.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { KEY } from "../browser/gateway.js";
import { ChildProcess } from "../browser/process.js";
import { Relay, TOKEN, rotateKeys } from "../browser/relay.js";
import { writeWav } from "../browser/voice.js";
import { HERE } from "./network.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const VOXGATE = process.env.VOXGATE_BIN ?? path.join(ROOT, "target/release/voxgate");
const SIMULATOR = process.env.PROVIDER_SIM_BIN ?? path.join(path.dirname(VOXGATE), "provider-sim");

export const TUNNEL_PORT = 7000;
const PUBLIC_PORT = 3478;
const CONTROL = `${HERE}:8090`;
const OPERATIONS_PORT = 9479;
const PROVIDER_RATE = 24_000;
/** Longer than any call here. */
const ANSWER_SECONDS = 110;
const TONE_HZ = 440;
/** A model whose answers end. */
export const SHORT_ANSWERS = "short";

const SECRETS = { VOXGATE_ADMIN_KEY: KEY, VOXGATE_RELAY_TOKEN: TOKEN };

export class Cluster {
  static async start(network, { relays = [2, 3] } = {}) {
    const cluster = new Cluster();
    cluster.folder = await mkdtemp(path.join(tmpdir(), "voxgate-faults-"));
    cluster.relays = relays.map((id) => relayOn(network.host(`relay${id}`), id, cluster.folder));
    await cluster.#startProviders();
    await cluster.#startGateway();
    for (const relay of cluster.relays) await relay.start();
    return cluster;
  }

  get origin() {
    return `http://${HERE}:8080`;
  }

  async #startProviders() {
    const samples = Int16Array.from(
      { length: ANSWER_SECONDS * PROVIDER_RATE },
      (_, index) => 8_000 * Math.sin((2 * Math.PI * TONE_HZ * index) / PROVIDER_RATE),
    );
    const tone = path.join(this.folder, "tone.wav");
    await writeWav(tone, samples, PROVIDER_RATE);
    const args = ["--listen", "127.0.0.1:8790", "--answer-wav", tone, "--speed", "2"];
    const brief = ["--listen", "127.0.0.1:8791", "--answer-ms", "1500"];
    this.providers = [args, brief].map((its) => new ChildProcess(SIMULATOR, its));
    for (const provider of this.providers) await provider.find(/listens/);
  }

  async #startGateway() {
    const entries = this.relays.map(({ entry }) => entry);
    const file = path.join(this.folder, "voxgate.yaml");
    await writeFile(
      file,
      `control: { listen: "${CONTROL}" }
transceiver: { tunnel: ${HERE}:${TUNNEL_PORT} }
relays:
${entries.join("")}providers:
  sim: { kind: openai-realtime, base_url: "http://127.0.0.1:8790/v1" }
  brief: { kind: openai-realtime, base_url: "http://127.0.0.1:8791/v1" }
routes:
  - { model: ${SHORT_ANSWERS}, provider: brief }
  - { model: "*", provider: sim }
`,
    );
    const addresses = ["--http", `${HERE}:8080`, "--https", `${HERE}:8443`];
    const args = ["standalone", "--data-dir", path.join(this.folder, "data"), "--config", file, ...addresses];
    this.process = new ChildProcess(VOXGATE, args, SECRETS);
    await this.process.find(/Stop with Ctrl-C/);
  }

  relayAt(address) {
    return this.relays.find(({ ip }) => ip === address);
  }

  /** Every relay runs again and the gateway knows it. */
  async repair() {
    for (const relay of this.relays) {
      await relay.host.plugIn();
      if (relay.process.exit) await relay.launch();
    }
    for (const relay of this.relays) await relay.ready();
    // Heartbeats come every 50 ms; nothing the gateway shows says which relays it counts as alive.
    await pause(1_000);
  }

  /** New keys for user fragments; calls that run keep theirs. */
  async rotateKeys() {
    await rotateKeys(CONTROL);
  }

  async stop() {
    for (const { process } of [...this.relays, this]) await process?.stop("SIGKILL");
    for (const provider of this.providers ?? []) await provider.stop("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }
}

function relayOn(host, id, folder) {
  const { address } = host;
  const place = { id, address: `${address}:${PUBLIC_PORT}`, operations: `${address}:${OPERATIONS_PORT}`, control: CONTROL };
  const relay = new Relay(place, folder, (args) => host.command(VOXGATE, args));
  relay.host = host;
  return relay;
}
