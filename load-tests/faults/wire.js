// What passed on the wire: arrivals of RTP by point, direction and SSRC, kept while the harness runs.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./capture.py", import.meta.url));

export class Wire {
  #streams = new Map();
  #child;

  static async tap({ nodeInterface, node, tunnelPort, clientInterface, relays }) {
    const wire = new Wire();
    const args = [SCRIPT, nodeInterface, node, String(tunnelPort), clientInterface, ...relays];
    wire.#child = spawn("python3", args, { stdio: ["ignore", "pipe", "inherit"] });
    process.once("exit", () => wire.#child.kill("SIGKILL"));
    await new Promise((resolve, reject) => {
      wire.#child.once("exit", (code) => reject(new Error(`The capture ended with ${code}`)));
      createInterface({ input: wire.#child.stdout }).on("line", (line) =>
        line === "ready" ? resolve() : wire.#take(line.split(" ")),
      );
    });
    return wire;
  }

  #take([point, direction, time, ssrc, sequence, relay]) {
    const name = `${point} ${direction} ${ssrc}`;
    if (!this.#streams.has(name)) this.#streams.set(name, []);
    this.#streams.get(name).push({ time: Number(time), sequence: Number(sequence), relay });
  }

  /** What came by at `node` or `client`, going `up` or `down`. */
  arrivals(point, direction, ssrc) {
    return this.#streams.get(`${point} ${direction} ${ssrc}`) ?? [];
  }

  forget() {
    this.#streams.clear();
  }

  stop() {
    this.#child.removeAllListeners("exit");
    this.#child.kill("SIGKILL");
  }
}
