// Takes the pictures of the dashboard for the documentation: a real call with the built-in voice, and a list of sessions that nobody
// speaks in. Run: node load-tests/browser/dashboard-pictures.js
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { Gateway, KEY } from "./gateway.js";
import { MOCK_KEY, MockGateway } from "./mock-gateway.js";
import { TalkPage } from "./talk.js";

const IMAGES = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const SCHEMES = { light: "", dark: "-dark" };

async function take(dashboard, name) {
  for (const [colorScheme, ending] of Object.entries(SCHEMES)) {
    await dashboard.page.emulateMedia({ colorScheme });
    // The charts are drawn again in other colours with the next frames.
    await dashboard.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await dashboard.page.screenshot({ path: `${IMAGES}${name}${ending}.png`, animations: "disabled" });
  }
}

async function pictureOfSession(browser, gateway) {
  const talk = await TalkPage.open(browser, gateway);
  await talk.connect();
  await talk.until("four turns are measured", (view) => view.turns.length >= 4);
  const answer = await fetch(`${gateway.origin}/admin/v1/sessions`, {
    headers: { Authorization: `Bearer ${KEY}` },
  });
  const [{ id }] = (await answer.json()).items;
  const path = `/dashboard/sessions/${id}`;
  const viewport = { width: 1440, height: 1500 };
  const dashboard = await Dashboard.open(browser, gateway.origin, path, { key: KEY, viewport });
  await dashboard.until("the turns are drawn", () =>
    dashboard.page.locator('.turns tr[data-turn="4"]').count(),
  );
  await talk.end();
  await dashboard.until(
    "the call is over",
    async () => (await dashboard.part("session-state").innerText()) === "Ended",
  );
  await dashboard.part("play").waitFor();
  await dashboard.page.keyboard.press("0");
  await dashboard.page.locator('.turns tr[data-turn="2"] button').click();
  await dashboard.page.locator(".playhead").waitFor();
  await take(dashboard, "dashboard-session");
  await dashboard.close();
}

async function pictureOfSessions(browser) {
  const mock = await MockGateway.start({ live: 1000, ended: 200 });
  const viewport = { width: 1440, height: 860 };
  const dashboard = await Dashboard.open(browser, mock.origin, "/dashboard/sessions", {
    key: MOCK_KEY,
    viewport,
  });
  await dashboard.until("the sessions are there", async () => (await dashboard.rows()).length > 10);
  await take(dashboard, "dashboard-sessions");
  await dashboard.close();
  await mock.stop();
}

await mkdir(IMAGES, { recursive: true });
const gateway = await Gateway.start((folder) => `replay: { dir: "${folder}/replay", audio: true }\n`);
const browser = await launch([3, "what time is it", 6, "what is the latency", 7, "tell me a long story", 5, "what time is it", 60]);
try {
  await pictureOfSession(browser, gateway);
  await pictureOfSessions(browser);
} finally {
  await browser.close();
  await gateway.stop();
}
