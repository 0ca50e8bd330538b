// Faults to many calls at once, made by callers without a browser: `voxgate call` and aiortc.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { KEY } from "../browser/gateway.js";
import { ChildProcess } from "../browser/process.js";
import { speech, writeWav } from "../browser/voice.js";
import { SHORT_ANSWERS, VOXGATE } from "./cluster.js";

const QUESTION = ["what time is it", 1.5];
/** When `voxgate call` asks: after every one of them has connected and the fault was done. */
const ASKS_AFTER_SECONDS = 12;
const STRIKES_AFTER_MS = 7_000;
const CALLERS = 20;
const AIORTC_CALLERS = 8;
const CALL_LIMIT_MS = 90_000;

const PYTHON = fileURLToPath(new URL("../../target/test-venv/bin/python", import.meta.url));
const AIORTC = fileURLToPath(new URL("./aiortc_callers.py", import.meta.url));

export const LOAD_FAULTS = [
  {
    id: "load-restart",
    name: "the only relay is killed with -9 and started again",
    relays: [2],
    strike: async ([relay]) => {
      await relay.kill();
      await relay.launch();
    },
  },
  {
    id: "load-death-kill",
    name: "the first of two relay hosts dies by kill -9",
    relays: [2, 3],
    strike: ([relay]) => relay.kill(),
  },
  {
    id: "load-death-silence",
    name: "the first of two relay hosts dies by silence",
    relays: [2, 3],
    strike: ([relay]) => relay.host.unplug(),
  },
];

export async function runLoad(fault, { cluster, network }) {
  const results = [];
  const host = network.host("client");
  for (const [kind, crowd] of Object.entries({ "voxgate call": voxgateCallers, aiortc: aiortcCallers })) {
    await cluster.repair();
    const outcome = await crowd(host, cluster, () => fault.strike(cluster.relays));
    results.push({ id: fault.id, name: fault.name, kind, ...outcome });
  }
  return results;
}

async function voxgateCallers(host, cluster, strike) {
  const wav = path.join(cluster.folder, "late-question.wav");
  await writeWav(wav, await speech([ASKS_AFTER_SECONDS, ...QUESTION]));
  const options = ["--wav", wav, "--url", `${cluster.origin}/v1`, "--model", SHORT_ANSWERS, "--timeout", "30"];
  const callers = Array.from({ length: CALLERS }, () => {
    const [program, args] = host.command(VOXGATE, ["call", ...options]);
    return new ChildProcess(program, args, { VOXGATE_KEY: KEY });
  });
  await pause(STRIKES_AFTER_MS);
  const early = callers.filter(({ exit }) => exit).length;
  await strike();
  await Promise.race([Promise.all(callers.map((caller) => caller.ended)), pause(CALL_LIMIT_MS)]);
  const survived = callers.filter(({ exit }) => exit?.code === 0).length;
  const failed = callers.filter(({ exit }) => exit?.code !== 0).map(({ output, exit }) => ({ exit, output: output.slice(-400) }));
  for (const caller of callers) await caller.stop("SIGKILL");
  return { calls: CALLERS, survived, early, failed };
}

async function aiortcCallers(host, cluster, strike) {
  const wav = path.join(cluster.folder, "question.wav");
  await writeWav(wav, await speech(QUESTION));
  const settings = [String(AIORTC_CALLERS), host.address, cluster.origin, KEY, SHORT_ANSWERS, wav];
  const [program, args] = host.command(PYTHON, [AIORTC, ...settings]);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  try {
    await lines.next();
    await strike();
    await pause(ASKS_AFTER_SECONDS * 1_000 - STRIKES_AFTER_MS);
    child.stdin.end("ask\n");
    const { value } = await lines.next();
    return value ? JSON.parse(value) : { calls: AIORTC_CALLERS, survived: 0, failed: ["it ended early"] };
  } finally {
    child.kill("SIGKILL");
  }
}
