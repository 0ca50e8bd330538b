// Takes the pictures of the dashboard's pages of figures for the documentation: real calls of five people with two simulated
// providers, one of them slow, and tool calls that wait for a person. Run: node load-tests/browser/figure-pictures.js
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { KEY } from "./gateway.js";
import { until } from "./patience.js";
import { Scene, ToolClient, callOf } from "./scene.js";

const IMAGES = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const SCHEMES = { light: "", dark: "-dark" };
const CALLS = ["gpt-realtime", "gpt-realtime", "gpt-realtime", "gpt-realtime-mini", "gpt-realtime-mini"];

/** Turns of each provider: enough to conclude something. */
const ENOUGH = 20;
const LONGEST_WAIT_MS = 400_000;

async function take(scene, browser, { name, path, isReady }) {
  const viewport = { width: 1440, height: 900 };
  const dashboard = await Dashboard.open(browser, scene.gateway.origin, path, { key: KEY, viewport });
  await dashboard.until(`${name} is drawn`, () => isReady(dashboard.page));
  for (const [colorScheme, ending] of Object.entries(SCHEMES)) {
    await dashboard.page.emulateMedia({ colorScheme });
    // Canvases are drawn again in other colours with the next frames.
    await dashboard.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await dashboard.page.screenshot({
      path: `${IMAGES}dashboard-${name}${ending}.png`,
      animations: "disabled",
      fullPage: true,
    });
  }
  await dashboard.close();
}

const count = (page, selector) => page.locator(selector).count();

await mkdir(IMAGES, { recursive: true });
const scene = await Scene.start();
const browser = await launch([2, "what time is it", 4]);
const clients = [];
try {
  const talks = await Promise.all(CALLS.map((model) => callOf(browser, scene.gateway, model)));
  const haveTalked = async () => {
    const { groups } = await scene.ask("/overview?window=5m&by=provider");
    return groups.length === 2 && groups.every(({ turns }) => turns >= ENOUGH);
  };
  await until("every provider has answered often enough", haveTalked, () => "", LONGEST_WAIT_MS);
  const pages = [
    { name: "overview", path: "/dashboard?window=5m", isReady: (page) => count(page, ".comparison tbody tr") },
    {
      name: "fleet",
      path: "/dashboard/fleet",
      isReady: async (page) =>
        /more in the last \d\d s/.test(await page.locator('[data-tile="underruns"]').innerText()),
    },
    { name: "spend", path: "/dashboard/spend?span=7d", isReady: (page) => count(page, ".spend-table tbody tr") },
  ];
  for (const page of pages) await take(scene, browser, page);
  const decided = await ToolClient.open(scene.gateway);
  clients.push(decided);
  await decided.wantRefund();
  const [held] = (await until("it waits", async () => (await scene.ask("/approvals")).items)).slice(0, 1);
  await scene.decide(held, "approve", "the picture shows the damage");
  clients.push(await ToolClient.open(scene.gateway), await ToolClient.open(scene.gateway));
  await Promise.all(clients.slice(1).map((client) => client.wantRefund()));
  await take(scene, browser, {
    name: "approvals",
    path: "/dashboard/approvals",
    isReady: async (page) =>
      (await count(page, ".held-card")) === 2 && (await count(page, '[data-testid="past"] tbody tr')) === 1,
  });
  for (const talk of talks) await talk.end();
} finally {
  for (const client of clients) await client.close();
  await browser.close();
  await scene.stop();
}
