// Relays in processes of their own, for tests that stop, kill and replace them.
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { until } from "./patience.js";
import { ChildProcess } from "./process.js";

/** What relays and gateway share. */
export const TOKEN = "token_of_the_browser_tests";

export class Relay {
  #command;
  #folder;
  #settings;

  /**
   * `place`: its `id`, the `address` of its public socket (`ip:port`), `operations` and `control` (`ip:port` too).
   * `command(args)` gives `[program, args]` that run voxgate.
   */
  constructor(place, folder, command) {
    Object.assign(this, place);
    this.#folder = path.join(folder, `relay-${this.id}`);
    this.#command = command;
    this.#settings = `relay:
  id: ${this.id}
  listen: ${this.address}
  tunnel: ${this.ip}:0
  operations: ${this.operations}
  control: http://${this.control}
  threads: 1
  pin: false
data_dir: ${path.join(this.#folder, "data")}
`;
  }

  get ip() {
    return this.address.split(":")[0];
  }

  /** Its line in the gateway's `relays`. */
  get entry() {
    return `  - { id: ${this.id}, advertise: "${this.address}", tunnel_ip: ${this.ip} }\n`;
  }

  /** Starts it; does not wait until it is ready. A second start on top of a running one takes its sockets over. */
  async launch() {
    const file = path.join(this.#folder, "relay.yaml");
    await mkdir(this.#folder, { recursive: true });
    await writeFile(file, this.#settings);
    const [program, args] = this.#command(["relay", "--config", file]);
    this.process = new ChildProcess(program, args, { VOXGATE_RELAY_TOKEN: TOKEN });
  }

  ready() {
    return until(`relay ${this.id} is ready`, () => this.#isReady(), () => this.process.output);
  }

  async start() {
    await this.launch();
    await this.ready();
  }

  async #isReady() {
    if (this.process.exit) throw new Error(`relay ${this.id} ended:\n${this.process.output}`);
    const options = { signal: AbortSignal.timeout(1_000) };
    return fetch(`http://${this.operations}/readyz`, options).then(({ ok }) => ok, () => false);
  }

  /** Ends it as a crash would. */
  kill() {
    return this.process.stop("SIGKILL");
  }
}

/** New keys for user fragments, as an operator orders them. */
export async function rotateKeys(control) {
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const reply = await fetch(`http://${control}/internal/v1/ufrag-keys/rotate`, { method: "POST", headers });
  if (!reply.ok) throw new Error(`The rotation was refused: ${reply.status} ${await reply.text()}`);
}
