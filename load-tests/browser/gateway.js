// A gateway and a provider simulator of their own for every test file, on ports the system chooses.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ChildProcess } from "./process.js";
import { Relay, TOKEN } from "./relay.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const BINARIES = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target"), "debug");
const VOXGATE = process.env.VOXGATE_BIN ?? path.join(BINARIES, "voxgate");
export const KEY = "vg_test_key_of_the_browser_tests";

export class Gateway {
  relays = [];

  /**
   * `config` is YAML, or makes it from a folder that goes with the gateway; without it the gateway has only its key-free local voice. With `relays` it has that many in
   * processes of their own and none inside.
   */
  static async start(config = null, { relays = 0 } = {}) {
    const gateway = new Gateway();
    gateway.folder = await mkdtemp(path.join(tmpdir(), "voxgate-test-"));
    if (typeof config === "function") config = config(gateway.folder);
    const listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];
    if (relays === 0) listen.push("--relay", "127.0.0.1:0");
    else config = `${config ?? ""}${await gateway.#planRelays(relays)}`;
    const args = ["standalone", "--data-dir", path.join(gateway.folder, "data"), ...listen];
    if (config) {
      const file = path.join(gateway.folder, "voxgate.yaml");
      await writeFile(file, config);
      args.push("--config", file);
    }
    gateway.process = new ChildProcess(VOXGATE, args, { VOXGATE_ADMIN_KEY: KEY, VOXGATE_RELAY_TOKEN: TOKEN });
    gateway.http = (await gateway.process.find(/API base +http:\/\/([\d.:]+)\/v1/))[1];
    gateway.https = (await gateway.process.find(/^ +https:\/\/([\d.:]+)\/v1/m))[1];
    await gateway.process.find(/Stop with Ctrl-C/);
    await Promise.all(gateway.relays.map((relay) => relay.start()));
    return gateway;
  }

  /** Ports for relays, and what the gateway's configuration says of them. */
  async #planRelays(count) {
    this.control = await closedAddress();
    for (let id = 2; id < 2 + count; id++) {
      const place = { id, address: await closedUdpAddress(), operations: await closedAddress(), control: this.control };
      this.relays.push(new Relay(place, this.folder, (args) => [VOXGATE, args]));
    }
    const entries = this.relays.map(({ entry }) => entry);
    return `control: { listen: "${this.control}" }\nrelays:\n${entries.join("")}`;
  }

  get origin() {
    return `http://${this.http}`;
  }

  /** Where the relay inside takes callers without UDP, if it was told to. */
  get stream() {
    return /^ +tcp ([\d.:]+)/m.exec(this.process.output)?.[1];
  }

  /** The certificate authority that the gateway made for itself. */
  get authority() {
    return path.join(this.folder, "data/tls/ca.pem");
  }

  /** Ends it the way an operator does, which has to succeed. */
  async stop() {
    const exit = await this.process.stop();
    for (const relay of this.relays) await relay.kill();
    await this.#clean();
    assert.deepEqual(exit, { code: 0, signal: null }, this.process.output);
    assert.doesNotMatch(this.process.output, /panicked/);
  }

  /** Ends it as a power cut would. */
  async kill() {
    await this.process.stop("SIGKILL");
    for (const relay of this.relays) await relay.kill();
    await this.#clean();
  }

  async #clean() {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Every model goes to the provider at `address`. */
export const routedTo = (address) => `
providers:
  remote: { kind: openai-realtime, base_url: "http://${address}/v1" }
routes:
  - { model: "*", provider: remote }
`;

/** Ports that the system gives to nobody by itself: one that is free when it is picked is not taken before it is used. */
const PICKED = { from: 20_000, count: 12_000 };

/** A port at which `open` succeeds; it resolves with what closes it again. */
async function closedPort(open) {
  for (let left = 50; ; left--) {
    const port = PICKED.from + Math.floor(Math.random() * PICKED.count);
    try {
      const opened = await open(port);
      await new Promise((resolve) => opened.close(resolve));
      return port;
    } catch (failure) {
      if (left === 0) throw failure;
    }
  }
}

/** An address at which nobody listens. */
export async function closedAddress() {
  const port = await closedPort(async (port) => {
    const server = createServer().listen(port, "127.0.0.1");
    await once(server, "listening");
    return server;
  });
  return `127.0.0.1:${port}`;
}

/** The same for UDP. */
async function closedUdpAddress() {
  const port = await closedPort(async (port) => {
    const socket = createSocket("udp4").bind(port, "127.0.0.1");
    await once(socket, "listening");
    return socket;
  });
  return `127.0.0.1:${port}`;
}
