// Waiting for a condition: long for a busy machine, not a moment longer than needed.
import { setTimeout as pause } from "node:timers/promises";

const LIMIT_MS = 120_000;
const BETWEEN_MS = 50;

/** The first truthy result of `probe`. If there is none, the error tells `what` and `evidence()`. */
export async function until(what, probe, evidence = () => "", limitMs = LIMIT_MS) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const result = await probe();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`Waited in vain: ${what}\n${await evidence()}`);
    await pause(BETWEEN_MS);
  }
}
