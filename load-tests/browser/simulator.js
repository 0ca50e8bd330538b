// A simulated provider for one test file, on a port the system chooses.
import path from "node:path";
import { BINARIES } from "./gateway.js";
import { ChildProcess } from "./process.js";

export async function startSimulator(options = []) {
  const program = process.env.PROVIDER_SIM_BIN ?? path.join(BINARIES, "provider-sim");
  const child = new ChildProcess(program, ["--listen", "127.0.0.1:0", ...options]);
  const address = (await child.find(/127\.0\.0\.1:\d+/))[0];
  return { address, stop: () => child.stop() };
}
