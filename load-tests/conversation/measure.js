// Measures interruption, truncation and first audio in Chromium and writes them as CSV and Markdown.
// node load-tests/conversation/measure.js INTERRUPTIONS [RECORD_FOLDER]
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { launch, openPage } from "../browser/chromium.js";
import { Gateway, KEY } from "../browser/gateway.js";
import { startSimulator } from "../browser/simulator.js";
import { startSite } from "../browser/site.js";
import { speech, writeWav } from "../browser/voice.js";
import { error, MODEL_DELAY_MS, own, quantile } from "./figures.js";

const RATE = 48_000;
const ANSWER_RATE = 24_000;
const ANSWER = ["All our relays remember where your old earring lay on a rainy day, and they are willing to rely on you."];
const SENTENCES = ["stop please stop it now", "what time is it", "no wait a moment"];

const FIGURES = [
  ["interruption: first sample of the speech to the last audible sample of the answer", (cycle) => cycle.stop_ms],
  ["of it until the page is told `speech_started`", (cycle) => cycle.told_ms],
  ["truncation: distance between `audio_end_ms` and the recording", (cycle) => Math.abs(error(cycle))],
  ["first audio after the last word, without pause and provider", own],
];

function markdown(cycles) {
  const rows = FIGURES.map(([what, value]) => {
    const at = (share) => quantile(cycles.map(value), share).toFixed(1);
    return `| ${what} | ${[0.5, 0.99, 0, 1].map(at).join(" | ")} |`;
  });
  const signed = quantile(cycles.map(error), 0.5).toFixed(1);
  return [
    `## Chromium, turns found by the gateway, ${cycles.length} interruptions`,
    "",
    "| milliseconds | p50 | p99 | least | greatest |",
    "|---|---:|---:|---:|---:|",
    ...rows,
    "",
    `The middle of the truncation error with its sign: ${signed} ms.`,
    "",
  ].join("\n");
}

async function measure(interruptions) {
  // Speech, for a decoder takes a steady tone for background noise and goes on with it.
  const folder = await mkdtemp(path.join(tmpdir(), "voxgate-answer-"));
  const answer = path.join(folder, "answer.wav");
  await writeWav(answer, await speech(ANSWER, ANSWER_RATE), ANSWER_RATE);
  const simulator = await startSimulator(["--answer-wav", answer, "--model-delay-ms", String(MODEL_DELAY_MS)]);
  const gateway = await Gateway.start(`
providers:
  remote: { kind: openai-realtime, base_url: "http://${simulator.address}/v1", turn_detection: gateway }
routes: [{ model: "*", provider: remote }]
`);
  const site = await startSite("../conversation/listening-page.js");
  const browser = await launch([1]);
  try {
    const { page, complaints } = await openPage(browser);
    await page.goto(site.origin);
    const clips = await Promise.all(SENTENCES.map(async (text) => [...(await speech([text], RATE))]));
    const place = { origin: gateway.origin, key: KEY, model: "gpt-realtime" };
    const cycles = await page.evaluate(
      ([place, clips, count]) => window.listeningPage.measure(place, clips, count),
      [place, clips, interruptions],
    );
    if (complaints.length) throw new Error(complaints.join("\n"));
    return cycles;
  } finally {
    await browser.close();
    await site.stop();
    await gateway.stop();
    await simulator.stop();
    await rm(folder, { recursive: true });
  }
}

const [interruptions, folder] = process.argv.slice(2);
const cycles = await measure(Number(interruptions));
const text = markdown(cycles);
process.stdout.write(text);
if (folder) {
  const names = Object.keys(cycles[0]);
  const lines = cycles.map((cycle) => names.map((name) => cycle[name].toFixed(3)).join(","));
  await writeFile(path.join(folder, "chromium.csv"), `${[names.join(","), ...lines].join("\n")}\n`);
  await writeFile(path.join(folder, "chromium.md"), text);
}
