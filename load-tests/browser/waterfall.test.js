// Is the waterfall true for a browser? What Chromium recorded of each turn against what the gateway says of it.
import assert from "node:assert/strict";
import { loadavg } from "node:os";
import { test } from "node:test";
import { quantile } from "../conversation/figures.js";
import { launch, openPage } from "./chromium.js";
import { Gateway, KEY } from "./gateway.js";
import { startSimulator } from "./simulator.js";
import { startSite } from "./site.js";
import { speech } from "./voice.js";

const TURNS = Number(process.env.WATERFALL_TURNS ?? 8);
/** `abrupt`, or as the voice ends by itself. */
const END = process.env.WATERFALL_END;
/** `on`: with echo cancellation, noise suppression and automatic gain, as browsers do unasked. */
const PROCESSING = process.env.WATERFALL_PROCESSING === "on";
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
/** -24 dBFS. */
const LOUD = 2_000;
/** Long enough for the end of the turn and an answer on a busy machine. */
const PAUSE_S = 3;
/** Each question falls differently into packets and into the windows by which its end is found. */
const STEP_S = 0.0037;

/** Cut behind its last loud sample. */
const endingLoud = (samples) => samples.slice(0, samples.findLastIndex((sample) => Math.abs(sample) >= LOUD) + 1);

/** What the microphone hears, again and again: the page takes the questions as they come, so it has no beginning to miss. */
async function questions() {
  const spoken = await speech(["what time is it"]);
  const question = END === "abrupt" ? endingLoud(spoken) : spoken;
  return Array.from({ length: TURNS }, (_, number) => [question, PAUSE_S + STEP_S * number]).flat();
}

test("the waterfall of a browser with the client script agrees with what was recorded in it", async (t) => {
  const simulator = await startSimulator(["--answer-ms", "300", "--model-delay-ms", "100"]);
  t.after(() => simulator.stop());
  const gateway = await Gateway.start(`
providers:
  remote: { kind: openai-realtime, base_url: "http://${simulator.address}/v1", turn_detection: gateway }
routes: [{ model: "*", provider: remote }]
`);
  t.after(() => gateway.stop());
  const site = await startSite("../conversation/waterfall-page.js");
  t.after(() => site.stop());
  const browser = await launch(await questions());
  t.after(() => browser.close());
  const { page, complaints } = await openPage(browser);
  await page.goto(site.origin);
  const place = { origin: gateway.origin, key: KEY, model: "gpt-realtime" };
  const turns = await page.evaluate(
    ([place, audio, count]) => window.waterfallPage.measure(place, audio, count),
    [place, PROCESSING || PLAIN, TURNS],
  );
  assert.deepEqual(complaints, []);
  const difference = (turn) => turn.heard_ms - turn.mouth_to_ear_ms;
  // What is heard later than told at the ear, and said later than told at the mouth.
  const mouthOff = (turn) => turn.ear_off_ms - difference(turn);
  for (const turn of turns) {
    const hops = turn.hops.map(({ hop, certainty, duration_ms }) => `${hop} ${duration_ms.toFixed(1)}${certainty === "measured" ? "" : "~"}`);
    t.diagnostic(
      `heard ${turn.heard_ms.toFixed(1)} told ${turn.mouth_to_ear_ms.toFixed(1)} difference ${difference(turn).toFixed(1)} ` +
        `(mouth ${mouthOff(turn).toFixed(1)}, ear ${turn.ear_off_ms.toFixed(1)}) ` +
        `error ${turn.error_ms.toFixed(1)} ${turn.certainty}: ${hops.join(", ")}`,
    );
  }
  const spread = (what, values) => {
    const sizes = values.map(Math.abs);
    const at = [quantile(values, 0.5), quantile(sizes, 0.5), quantile(sizes, 0.95)].map((ms) => ms.toFixed(1));
    t.diagnostic(`${what}, ms: middle ${at[0]}, of its size ${at[1]}, p95 ${at[2]}`);
  };
  spread("mouth", turns.map(mouthOff));
  spread("ear", turns.map(({ ear_off_ms }) => ear_off_ms));
  spread("whole", turns.map(difference));
  t.diagnostic(`load of the machine ${loadavg().map((load) => load.toFixed(1)).join(" ")}`);
  assert.equal(turns.length, TURNS);
  // A page that is kept from answering for a second leaves its turn an estimate.
  const measured = turns.filter(({ certainty }) => certainty === "measured");
  assert.ok(3 * measured.length >= TURNS, `only ${measured.length} turns are measured`);
  const middle = (values) => quantile(values.filter(Number.isFinite), 0.5);
  const [off, told] = [middle(measured.map(difference).map(Math.abs)), middle(measured.map(({ error_ms }) => error_ms))];
  assert.ok(off <= told, `off by ${off} ms, more than the ${told} ms that are told`);
});
