// Is the waterfall true for a browser? What Chromium recorded of each turn against what the gateway says of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { quantile } from "../conversation/figures.js";
import { launch, openPage } from "./chromium.js";
import { Gateway, KEY } from "./gateway.js";
import { startSimulator } from "./simulator.js";
import { startSite } from "./site.js";
import { speech } from "./voice.js";

const TURNS = Number(process.env.WATERFALL_TURNS ?? 8);
const RATE = 48_000;

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
  const browser = await launch([1]);
  t.after(() => browser.close());
  const { page, complaints } = await openPage(browser);
  await page.goto(site.origin);
  const clip = [...(await speech(["what time is it"], RATE))];
  const place = { origin: gateway.origin, key: KEY, model: "gpt-realtime" };
  const turns = await page.evaluate(
    ([place, clip, count]) => window.waterfallPage.measure(place, clip, count),
    [place, clip, TURNS],
  );
  assert.deepEqual(complaints, []);
  const difference = (turn) => turn.heard_ms - turn.mouth_to_ear_ms;
  for (const turn of turns) {
    const hops = turn.hops.map(({ hop, certainty, duration_ms }) => `${hop} ${duration_ms.toFixed(1)}${certainty === "measured" ? "" : "~"}`);
    t.diagnostic(
      `heard ${turn.heard_ms.toFixed(1)} told ${turn.mouth_to_ear_ms.toFixed(1)} difference ${difference(turn).toFixed(1)} ` +
        `error ${turn.error_ms.toFixed(1)} ${turn.certainty}: ${hops.join(", ")}`,
    );
  }
  const [signed, unsigned] = [turns.map(difference), turns.map(difference).map(Math.abs)];
  const figures = [quantile(signed, 0.5), quantile(unsigned, 0.5), quantile(unsigned, 0.95)];
  t.diagnostic(`difference, ms: middle ${figures[0].toFixed(1)}, of its size ${figures[1].toFixed(1)}, p95 ${figures[2].toFixed(1)}`);
  assert.equal(turns.length, TURNS);
  // No browser tells when a sample was captured, so the mouth is an estimate; of the ear it knows the error.
  assert.ok(turns.every(({ certainty, error_ms }) => certainty === "estimated" && error_ms >= 10));
  const typical = quantile(turns.map(({ error_ms }) => error_ms), 0.5);
  assert.ok(figures[1] <= typical, `off by ${figures[1]} ms, more than the ${typical} ms that are told`);
});
