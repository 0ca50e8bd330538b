// Child processes whose output is kept, searched and shown when something fails.
import { spawn } from "node:child_process";
import { once } from "node:events";

// Longer than a gateway lets running calls go on.
const STOP_LIMIT_MS = 45_000;

// Every child has a listener of its own; a crowd of callers is no leak.
process.setMaxListeners(0);

export class ChildProcess {
  output = "";
  exit = null;
  #child;
  #exited;
  #watchers = new Set();

  constructor(command, args, env = {}) {
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#exited = once(this.#child, "close").then(([code, signal]) => {
      this.exit = { code, signal };
      this.#changed();
      return this.exit;
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        this.output += text;
        this.#changed();
      });
    }
    // A test run that dies takes its children with it.
    process.once("exit", () => this.#child.kill("SIGKILL"));
  }

  /** The match of `pattern` in the output; rejects with the whole output if it does not come. */
  find(pattern, limitMs = 60_000) {
    return new Promise((resolve, reject) => {
      const settle = (act) => {
        clearTimeout(deadline);
        this.#watchers.delete(look);
        act();
      };
      const giveUp = (why) => settle(() => reject(new Error(`${pattern} ${why} in:\n${this.output}`)));
      const look = () => {
        const match = pattern.exec(this.output);
        if (match) settle(() => resolve(match));
        else if (this.exit) giveUp("never appeared before the exit");
      };
      const deadline = setTimeout(() => giveUp("did not appear"), limitMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Resolves when it is over. */
  get ended() {
    return this.#exited;
  }

  signal(signal) {
    this.#child.kill(signal);
  }

  /** Sends `signal` unless it is over already; resolves to `{code, signal}` of its end. */
  async stop(signal = "SIGTERM") {
    if (!this.exit) this.#child.kill(signal);
    const deadline = setTimeout(() => this.#child.kill("SIGKILL"), STOP_LIMIT_MS);
    const exit = await this.#exited;
    clearTimeout(deadline);
    return exit;
  }

  #changed() {
    for (const look of [...this.#watchers]) look();
  }
}
