// How long the page of a long call takes: an hour, two thousand turns, an entry of the network for each second, levels ten times a
// second. Prints when it is drawn first, and the most processor time the page took at a stretch while the call went on.
// Run: node load-tests/browser/long-session.js
import { launch } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { MOCK_KEY, MockGateway } from "./mock-gateway.js";

const HOUR_MS = 3_600_000;
const WATCHED_MS = 15_000;

const mock = await MockGateway.start({ live: 0, ended: 0 });
const long = mock.fleet.begin({ agedMs: HOUR_MS - 60_000, pace: 0.17 });
const bytes = JSON.stringify(long.record(0)).length;
console.log(`${long.turns.length} turns, ${long.network.length} s of network, ${(bytes / 1e6).toFixed(1)} MB of JSON`);
const browser = await launch([1]);
const dashboard = await Dashboard.open(browser, mock.origin, "/dashboard/sessions", { key: MOCK_KEY });
const { page } = dashboard;

/** Notes when each part of the page was first painted. */
await page.addInitScript(() => {
  const parts = { summary: ".tiles", lanes: ".turn-bar", turns: ".turns tbody tr", chart: ".plot canvas", words: ".words-list li" };
  window.painted = {};
  const look = () => {
    for (const [name, selector] of Object.entries(parts)) {
      if (window.painted[name] || !document.querySelector(selector)) continue;
      window.painted[name] = -1;
      requestAnimationFrame(() => setTimeout(() => (window.painted[name] = performance.now())));
    }
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
});

/**
 * What the main thread of the page did while `act` was done: the processor time of each of its tasks in milliseconds, the longest
 * first. Not by the clock on the wall, which goes on while other programs have the processor.
 */
async function tasks(act) {
  await browser.startTracing(page, { categories: ["toplevel", "__metadata"] });
  await act();
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const mains = traceEvents.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
  const isMain = ({ pid, tid }) => mains.some((main) => main.pid === pid && main.tid === tid);
  const run = traceEvents.filter((event) => /RunTask$/.test(event.name) && event.tdur > 0 && isMain(event));
  return run.map(({ tdur }) => tdur / 1000).sort((a, b) => b - a);
}

function tell(what, found, lastedMs) {
  const all = found.reduce((sum, ms) => sum + ms, 0);
  const longest = found.slice(0, 5).map((ms) => Math.round(ms));
  console.log(`${what}: ${Math.round((100 * all) / lastedMs)} % of a core; the longest at a stretch, ms: ${longest.join(" ")}`);
}

let painted;
const opening = await tasks(async () => {
  await page.goto(`${mock.origin}/dashboard/sessions/${long.summary.id}`);
  painted = await dashboard.until("everything is painted", async () => {
    const found = await page.evaluate(() => window.painted);
    return Object.keys(found).length === 5 && Object.values(found).every((at) => at > 0) && found;
  });
});
console.log("painted after, ms:", Object.fromEntries(Object.entries(painted).map(([name, at]) => [name, Math.round(at)])));
tell("opening it", opening, Math.max(...Object.values(painted)));

/** Lets the call go on while `act` is done. */
async function watch(what, act) {
  const began = Date.now();
  const found = await tasks(async () => {
    await act();
    while (Date.now() - began < WATCHED_MS) await page.waitForTimeout(100);
  });
  tell(what, found, Date.now() - began);
}

mock.fleet.run();
await watch("following it", async () => {});
await page.keyboard.press("0");
await watch("looking at the whole hour", async () => {});
await watch("moving the pointer over the whole hour", async () => {
  const box = await page.locator(".tracks").boundingBox();
  for (let step = 0; step < 200; step++) {
    await page.mouse.move(box.x + 60 + ((step * 7) % (box.width - 70)), box.y + 60);
    await page.waitForTimeout(30);
  }
});
await watch("going from turn to turn", async () => {
  for (let step = 0; step < 40; step++) {
    await page.keyboard.press("k");
    await page.waitForTimeout(150);
  }
});
console.log(`elements in the page: ${await page.evaluate(() => document.querySelectorAll("*").length)}`);
await dashboard.close();
await browser.close();
await mock.stop();
