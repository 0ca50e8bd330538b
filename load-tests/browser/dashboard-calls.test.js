// The dashboard beside real calls: what it shows is what the administration says, and it shows it while the call goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { count, money, mos, ms, msFigure, share } from "../../dashboard/web/dashboard/format.js";
import { formatMs, hopLabel, turnOf } from "../../dashboard/web/shared/hops.js";
import { launch } from "./chromium.js";
import { Dashboard, sound } from "./dashboard.js";
import { Gateway, KEY } from "./gateway.js";
import { until } from "./patience.js";
import { TalkPage } from "./talk.js";

// No call can keep to these budgets, so that every turn is a breach; and all are recorded.
const tightAndRecorded = (folder) => `
latency:
  routes:
    "*": { whole: 150ms, hops: { endpointing: 100ms, stt: 100ms, model: 100ms, tts: 100ms } }
replay: { dir: "${folder}/replay", audio: true }
`;

let gateway;
let browser;
before(async () => {
  gateway = await Gateway.start(tightAndRecorded);
  browser = await launch([3, "what time is it", 7, "what is the latency", 12]);
});
after(async () => {
  await browser.close();
  await gateway.stop();
});

async function ask(path) {
  const response = await fetch(gateway.origin + path, { headers: { Authorization: `Bearer ${KEY}` } });
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response.json();
}

/** Notes in the page when an element first matched `selector`. */
const noteArrival = (page, selector) =>
  page.evaluate((wanted) => {
    const look = () => {
      if (window.arrivedAt || !document.querySelector(wanted)) return;
      window.arrivedAt = Date.now();
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    look();
  }, selector);

/** When the administration first had a turn. */
async function turnInApi(id, number) {
  await until(`the record has turn ${number}`, async () => {
    const { turns } = await ask(`/admin/v1/sessions/${id}/record`);
    return turns.some(({ turn }) => turn === number);
  });
  return Date.now();
}

const figures = (session) => ({
  "figure-p50": ms(session.mouth_to_ear_p50_ms),
  "figure-p95": ms(session.mouth_to_ear_p95_ms),
  "figure-breaches": session.breaches > 0 ? `▲ ${count(session.breaches)}` : count(session.breaches),
  "figure-mos": mos(session.mos),
  "figure-loss": share(session.loss_ratio),
  "figure-interruptions": count(session.interruptions),
  "figure-cost": money(session.cost_nano_dollars),
});

async function shownFigures(dashboard, names) {
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await dashboard.part(name).innerText()])),
  );
}

test("a call is listed while it runs, its turns appear by themselves, the figures are the API's, and it can be heard when it is over", async () => {
  const list = await Dashboard.open(browser, gateway.origin, "/dashboard/sessions", { key: KEY });
  await list.until("nobody calls", () => list.part("empty").isVisible());

  const talk = await TalkPage.open(browser, gateway);
  await talk.connect();
  const [row] = await list.until("the call is listed", async () => {
    const rows = await list.rows();
    return rows.length === 1 && rows;
  });
  const { items } = await ask("/admin/v1/sessions");
  assert.deepEqual(
    items.map(({ id }) => id),
    [row.id],
  );

  const one = await Dashboard.open(browser, gateway.origin, `/dashboard/sessions/${row.id}`, { key: KEY });
  await one.until("its page is drawn", () => one.part("timeline").isVisible());
  const drawn = '.turns tr[data-turn="1"]';
  await noteArrival(one.page, drawn);
  const hadIt = await turnInApi(row.id, 1);
  const arrivedAt = await one.until("the turn is on the page", () =>
    one.page.evaluate(() => window.arrivedAt),
  );
  console.log(`turn 1 was on the page ${arrivedAt - hadIt} ms after the API was seen to have it`);

  const breached = await list.until("the breach and its hop are in the list of live sessions", async () => {
    const [live] = await list.rows();
    const { session } = await ask(`/admin/v1/sessions/${row.id}/record`);
    const breaches = live?.breaches ?? "";
    return /▲ [1-9]/.test(breaches) && breaches.includes(hopLabel(session.worst_hop)) && live;
  });
  assert.match(breached.age, /Live/);

  await turnInApi(row.id, 2);
  assert.match(await one.part("sound-note").innerText(), /when the call is over/);
  assert.ok(!(await one.part("play").isVisible()));
  await talk.end();
  await one.until(
    "the end is on the page",
    async () => (await one.part("session-state").innerText()) === "Ended",
  );
  await comparePage(one, row.id);
  await compareList(list, row.id);
  await hear(one, row.id);
  const refused = (text) => text.includes("409") && text.includes("/audio");
  for (const { complaints } of [list, one])
    assert.deepEqual(
      complaints.filter((text) => !refused(text)),
      [],
    );
  await list.close();
  await one.close();
});

/** The page of a session that is over shows what its record says. */
async function comparePage(dashboard, id) {
  const record = await ask(`/admin/v1/sessions/${id}/record`);
  const wanted = figures(record.session);
  await dashboard.until("the last figures are there", async () => {
    const shown = await shownFigures(dashboard, Object.keys(wanted));
    return JSON.stringify(shown) === JSON.stringify(wanted);
  });
  const { page } = dashboard;
  const turns = await page
    .locator(".turns tbody tr")
    .evaluateAll((rows) =>
      rows.map((tr) => [Number(tr.dataset.turn), tr.cells[3].innerText, tr.cells[4].innerText]),
    );
  const said = record.turns.map((turn) => [
    turn.turn,
    `▲ ${formatMs(turn.mouth_to_ear_ms)}`,
    money(turn.cost_nano_dollars),
  ]);
  assert.deepEqual(turns, said.reverse());

  const last = turnOf(record.turns.at(-1));
  const hops = await page
    .locator(".fall")
    .evaluateAll((rows) =>
      rows.map((line) => [line.dataset.hop, line.querySelector(".bar-time").firstChild.textContent]),
    );
  const sign = ({ durationMs, budgetMs }) => (budgetMs !== null && durationMs > budgetMs ? "▲ " : "");
  assert.deepEqual(
    hops,
    last.hops.map((hop) => [hop.hop, `${sign(hop)}${formatMs(hop.durationMs)}`]),
  );
  assert.equal(await page.locator(".contradiction").count(), 0, "the hops sum to the turn");
  const events = await dashboard.part("events").locator("li b").allInnerTexts();
  assert.deepEqual(
    events,
    record.events.map(({ kind }) => kind.replaceAll("_", " ")),
  );
}

/** Tells seeking from playing: nothing is nearer to a place than a few packets. */
const NEAR_MS = 60;

/** The recording of a call that is over plays, from where a turn, a place in the lanes or a key says. */
async function hear(dashboard, id) {
  const { page } = dashboard;
  const { session, turns } = await ask(`/admin/v1/sessions/${id}/record`);
  const plays = async (what, fromMs) => {
    const { atMs } = await dashboard.until(what, async () => {
      const now = await sound(dashboard);
      return !now.paused && now.atMs > fromMs && now;
    });
    await dashboard.until(`${what}, and goes on`, async () => (await sound(dashboard)).atMs > atMs + 250);
  };
  const stands = (what, ms, near = NEAR_MS) =>
    dashboard.until(what, async () => {
      const now = await sound(dashboard);
      return now.paused && Math.abs(now.atMs - ms) < near;
    });
  /** What of the whole call is left of the playhead. */
  const played = () => page.locator(".playhead").evaluate(({ style }) => parseFloat(style.left) / 100);
  const space = () => page.keyboard.press("Space");

  await page.keyboard.press("0");
  await dashboard.part("play").click();
  await plays("the recording plays", 0);
  const { lengthMs } = await sound(dashboard);
  assert.ok(Math.abs(lengthMs - session.duration_ms) < 2, `${lengthMs} of ${session.duration_ms} ms`);
  await space();
  const paused = await dashboard.until("a key stops it", async () => {
    const now = await sound(dashboard);
    return now.paused && now;
  });
  await dashboard.until(
    "the playhead is where it is",
    async () => Math.abs((await played()) * lengthMs - paused.atMs) < NEAR_MS,
  );

  // A call may begin so late in its first question that less than that is before it.
  const [first, second] = turns.map(({ at_ms }) => Math.max(0, at_ms - 2000));
  await page.locator('.turns tr[data-turn="2"] button').click();
  await stands("a turn is heard from the caller's last words", second);
  await page.keyboard.press("k");
  await stands("a key goes to the turn before", first);
  await page.keyboard.press(".");
  await stands("a key goes on by five seconds", Math.min(first + 5000, lengthMs));
  const lanes = page.locator(".tracks");
  const { width } = await lanes.boundingBox();
  // The place of a click is that of its pixel.
  const pixelMs = lengthMs / (width - 56);
  await lanes.click({ position: { x: 56 + 0.25 * (width - 56), y: 70 } });
  await stands("a click into the lanes goes there", 0.25 * lengthMs, Math.max(NEAR_MS, 2 * pixelMs));
  await space();
  await plays("it plays from there", 0.25 * lengthMs);
  await dashboard.until("so does the playhead", async () => (await played()) >= 0.25);
}

/** The list of what has ended shows what the list of the API says. */
async function compareList(dashboard, id) {
  await dashboard.page.locator("label", { hasText: "Ended" }).click();
  const { items } = await ask("/admin/v1/sessions?state=ended");
  const said = items.find((session) => session.id === id);
  const [row] = await dashboard.until("the session is among those that ended", async () => {
    const rows = await dashboard.rows();
    return rows.length === 1 && rows[0].age.includes(said.end_reason.replaceAll("_", " ")) && rows;
  });
  assert.equal(row.id, id);
  assert.ok(
    row.answer.includes(msFigure(said.mouth_to_ear_p50_ms)) &&
      row.answer.includes(msFigure(said.mouth_to_ear_p95_ms)),
  );
  assert.equal(row.turns, count(said.turns));
  assert.equal(row.cost, money(said.cost_nano_dollars));
  assert.equal(row.relay, said.relay ?? "–");
  assert.ok(row.loss.endsWith(share(said.loss_ratio)) && row.mos.endsWith(mos(said.mos)));
  assert.ok(row.provider.includes(said.provider) && row.provider.includes(said.model));
}
