// A gateway and a provider simulator of their own for every test file, on ports the system chooses.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ChildProcess } from "./process.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const BINARIES = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target"), "debug");
export const KEY = "vg_test_key_of_the_browser_tests";

export class Gateway {
  /** `config` is YAML; without it the gateway has only its key-free local voice. */
  static async start(config = null) {
    const gateway = new Gateway();
    gateway.folder = await mkdtemp(path.join(tmpdir(), "voxgate-test-"));
    const listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--relay", "127.0.0.1:0"];
    const args = ["standalone", "--data-dir", path.join(gateway.folder, "data"), ...listen];
    if (config) {
      const file = path.join(gateway.folder, "voxgate.yaml");
      await writeFile(file, config);
      args.push("--config", file);
    }
    gateway.process = new ChildProcess(path.join(BINARIES, "voxgate"), args, { VOXGATE_ADMIN_KEY: KEY });
    gateway.http = (await gateway.process.find(/API base +http:\/\/([\d.:]+)\/v1/))[1];
    gateway.https = (await gateway.process.find(/^ +https:\/\/([\d.:]+)\/v1/m))[1];
    await gateway.process.find(/Stop with Ctrl-C/);
    return gateway;
  }

  get origin() {
    return `http://${this.http}`;
  }

  /** The certificate authority that the gateway made for itself. */
  get authority() {
    return path.join(this.folder, "data/tls/ca.pem");
  }

  /** Ends it the way an operator does, which has to succeed. */
  async stop() {
    const exit = await this.process.stop();
    await this.#clean();
    assert.deepEqual(exit, { code: 0, signal: null }, this.process.output);
    assert.doesNotMatch(this.process.output, /panicked/);
  }

  /** Ends it as a power cut would. */
  async kill() {
    await this.process.stop("SIGKILL");
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

/** An address at which nobody listens. */
export async function closedAddress() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}
