// The pages of figures against a stand-in for a gateway: what they say is what they were told.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage } from "./chromium.js";
import { MOCK_KEY, MockGateway } from "./mock-gateway.js";
import { until } from "./patience.js";
import { SyntheticApprovals, SyntheticTurns, figureAnswers } from "./synthetic-figures.js";

let browser;
before(async () => (browser = await launch([1])));
after(() => browser?.close());

/** A page of the dashboard of a mock, signed in. */
async function visit(t, path, { turns, approvals, ...options } = {}) {
  const answers = figureAnswers({ turns: turns ?? new SyntheticTurns({ turns: 0 }), approvals, isBusy: false });
  const mock = await MockGateway.start({ live: 0, ended: 0, ...options, answers: { ...answers, ...options.answers } });
  const { page, complaints } = await openPage(browser, { viewport: { width: 1280, height: 900 } });
  t.after(async () => {
    await page.context().close();
    await mock.stop();
  });
  await page.addInitScript((key) => sessionStorage.setItem("voxgate.key", key), MOCK_KEY);
  await page.goto(mock.origin + path);
  const text = (name) => page.locator(`[data-testid="${name}"]`).innerText();
  const holds = (what, probe) => until(what, probe, async () => page.locator("main").innerText());
  return { mock, page, complaints, text, holds };
}

const figureOf = (page, name) => page.locator(`[data-testid="tile-${name}"] strong`).innerText();
const written = (ms) => String(Math.round(ms)).replace(/\B(?=(\d{3})+$)/g, "\u2009");

test("the figures of the overview are those of the API", async (t) => {
  const turns = new SyntheticTurns({ turns: 600 });
  const { mock, page, complaints, holds } = await visit(t, "/dashboard", { turns, live: 7 });
  await holds("turns are shown", async () => (await figureOf(page, "p50")) !== "–");
  const response = await fetch(`${mock.origin}/admin/v1/overview?window=1h`, {
    headers: { Authorization: `Bearer ${MOCK_KEY}` },
  });
  const [all] = (await response.json()).groups;
  assert.equal(await figureOf(page, "p50"), written(all.whole.p50_ms));
  assert.equal(await figureOf(page, "p95"), written(all.whole.p95_ms));
  assert.equal(await figureOf(page, "breaches"), written(all.breaches));
  await holds("the feed has told who calls", async () => (await figureOf(page, "live")) === "7");
  for (const hop of all.hops) {
    const row = page.locator(`tr[data-hop="${hop.hop}"]`).first();
    const shown = await row.locator("td.number").allInnerTexts();
    const told = [hop.p50_ms, hop.p95_ms, hop.p99_ms].map((ms) => (ms < 9.95 ? ms.toFixed(1) : written(ms)));
    assert.deepEqual(
      shown.slice(0, 3).map((text) => text.replace(/\s*\(over budget\)$/, "")),
      told,
      hop.hop,
    );
  }
  assert.deepEqual(complaints, []);
});

test("a turn over budget is on the page as soon as the feed tells of it", async (t) => {
  const turns = new SyntheticTurns({ turns: 60 });
  const { mock, page, holds } = await visit(t, "/dashboard?window=5m", { turns, live: 3 });
  await holds("turns are shown", async () => (await figureOf(page, "breaches")) !== "–");
  const before = Number(await figureOf(page, "breaches"));
  const pick = await page.locator('.hops [data-subject="model"]').elementHandle();
  await pick.focus();
  turns.add({ slow: 4_000 });
  mock.fleet.run();
  await holds("the breach is counted", async () => Number(await figureOf(page, "breaches")) === before + 1);
  assert.ok(await pick.evaluate((node) => node === document.activeElement), "what somebody is about to press stays");
});

test("a target that is passed over is told with its route and both times, and that none ever would be", async (t) => {
  const turns = new SyntheticTurns({ turns: 60 });
  const { page, text, holds } = await visit(t, "/dashboard", { turns });
  await holds("none is passed over, and why", async () =>
    /None, however slow: .*prefer_another is “never”/.test(await text("passed-over")),
  );
  const since = Math.floor(Date.now() / 1000) - 120;
  turns.passOver("gpt-*", "openai-us", since);
  // Who comes back to the page sees what is new at once.
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  const line = page.locator('.passed-over li[data-target="openai-us"][data-route="gpt-*"]');
  await holds("it is told", async () => (await line.count()) === 1);
  const time = (seconds) => page.evaluate((at) => new Date(at * 1000).toTimeString().slice(0, 8), seconds);
  const told = await line.innerText();
  assert.match(told, /openai-us of route gpt-\*: Model over budget/);
  assert.ok(told.includes(`Since ${await time(since)}`) && told.includes(`at ${await time(since + 300)}`), told);
});

test("the burn of many budgets leaves no empty space beside it, however wide the page is", async (t) => {
  const { page, holds } = await visit(t, "/dashboard", { turns: new SyntheticTurns({ turns: 600 }) });
  await holds("the budgets are shown", async () => (await page.locator(".burn tbody tr").count()) > 20);
  for (const width of [800, 1280, 1600]) {
    await page.setViewportSize({ width, height: 900 });
    const boxes = await page.evaluate(() => {
      const box = (selector) => document.querySelector(selector).getBoundingClientRect().toJSON();
      return { hops: box(".hops-card"), last: box(".hops-card > :last-child"), burn: box(".burn-card"), list: box(".burn-scroll") };
    });
    const { hops, last, burn, list } = boxes;
    // A card ends where what it holds ends, and its own margin.
    assert.ok(hops.bottom - last.bottom < 40, `${hops.bottom - last.bottom} px below the hops at ${width}`);
    const isBeside = Math.abs(hops.top - burn.top) < 1;
    assert.equal(isBeside, width > 1240, `${width} px`);
    if (isBeside) assert.ok(Math.abs(hops.bottom - burn.bottom) < 1, `${width} px`);
    assert.ok(list.height > 100 && list.bottom <= burn.bottom, `${width} px`);
    // Nothing reaches out of the page, not even what only screen readers read.
    const { beyond, below } = await page.evaluate(() => {
      const { scrollWidth, clientWidth, scrollHeight } = document.documentElement;
      return { beyond: scrollWidth - clientWidth, below: scrollHeight - document.getElementById("main").getBoundingClientRect().bottom - scrollY };
    });
    assert.ok(beyond === 0 && below < 2, `${width} px: ${beyond} px beside it, ${below} px below it`);
  }
});

test("an hour without a turn says so, and what to do", async (t) => {
  const turns = new SyntheticTurns({ turns: 0 });
  turns.add({ at: Date.now() / 1000 - 7_200 });
  const { page, complaints, text, holds } = await visit(t, "/dashboard", { turns });
  await holds("the empty state is shown", async () =>
    /No turn was measured in the last hour/.test(await text("empty")),
  );
  assert.equal(await figureOf(page, "p95"), "–");
  await page.getByRole("button", { name: "Look at the last 6 hours" }).click();
  await holds("the older turn is shown", async () => (await figureOf(page, "p95")) !== "–");
  assert.match(page.url(), /\?window=6h$/);
  assert.deepEqual(complaints, []);
});

test("the heat map is read with the keyboard, and as a table", async (t) => {
  const { page, text, holds } = await visit(t, "/dashboard", { turns: new SyntheticTurns({ turns: 600 }) });
  // What is hidden takes no focus, and says nothing of it.
  await page.locator('[data-testid="heat"]').waitFor();
  await page.locator('[data-testid="heat"]').focus();
  await page.keyboard.press("ArrowRight");
  await holds("a cell is read", async () => /to .* ms: .* of \d+ turns?/.test(await text("heat-readout")));
  const first = await text("heat-readout");
  await page.keyboard.press("ArrowUp");
  await holds("another cell is read", async () => (await text("heat-readout")) !== first);
  await page.getByText("Show as a table").first().click();
  await holds("the table is filled", async () => (await page.locator(".as-table tbody tr").count()) > 10);
});

test("two sides with a few turns conclude nothing", async (t) => {
  const { text, holds } = await visit(t, "/dashboard?window=5m", { turns: new SyntheticTurns({ turns: 600 }) });
  await holds("the verdict is there", async () =>
    /^…\s*Too few turns to conclude anything/.test(await text("compare-verdict").catch(() => "")),
  );
});

test("a tool call is approved with a reason, once, and the page says so", async (t) => {
  const approvals = new SyntheticApprovals();
  const held = approvals.hold({ tool: "refund_order", args: { order: "A-17", note: "<b>now</b>" } });
  // The page looks there for what became of the call.
  const record = { session: { began_at: held.asked_at_ms / 1000 - 60, state: "open" }, events: [] };
  const answers = { [`/admin/v1/sessions/${held.session}/record`]: record };
  const { page, complaints, text, holds } = await visit(t, "/dashboard/approvals", { approvals, answers });
  await holds("the call waits", async () => /refund_order/.test(await text("held-list")));
  assert.match(await text("held-list"), /<b>now<\/b>/);
  const sent = page.waitForRequest((request) => request.method() === "POST");
  await page.locator('[data-testid="approve"]').click();
  await page.locator('[data-testid="reason"]').fill("the picture shows it");
  await page.locator('[data-testid="confirm"]').click();
  const request = await sent;
  assert.match(request.url(), new RegExp(`/admin/v1/approvals/${held.id}/approve$`));
  assert.match(request.headers()["idempotency-key"], /^dashboard-[0-9a-f-]{36}$/);
  assert.deepEqual(request.postDataJSON(), { reason: "the picture shows it" });
  await holds("it is told", async () => /Approved\s+refund_order/.test(await text("settled")));
  await holds("nothing waits", async () => /Nothing waits/.test(await text("empty")));
  assert.deepEqual(complaints, []);
});

test("a page that cannot be refreshed says of when its figures are", async (t) => {
  const { mock, page, text, holds } = await visit(t, "/dashboard/fleet");
  await holds("the node is shown", async () => (await figureOf(page, "sessions")) === "184");
  mock.isDown = true;
  await holds("it says so", async () =>
    /These figures are of \d\d:\d\d:\d\d\. The gateway is busy or going down/.test(await text("fleet-note")),
  );
  assert.equal(await figureOf(page, "sessions"), "184");
  mock.isDown = false;
  await holds("it is fresh again", async () => /as of/.test(await text("fleet-note")));
});

test("nothing spent and no budget are said, not drawn as zeroes", async (t) => {
  const { page, complaints, text, holds } = await visit(t, "/dashboard/spend");
  await holds("the page is there", async () =>
    /Nothing was spent this month/.test(await page.locator("main").innerText()),
  );
  assert.match(await text("budgets"), /No budget is set/);
  assert.deepEqual(complaints, []);
});

for (const scheme of ["light", "dark"]) {
  test(`every page of figures fits a narrow window without scrolling sideways (${scheme})`, async (t) => {
    const approvals = new SyntheticApprovals();
    approvals.hold();
    const { page, mock, complaints, holds } = await visit(t, "/dashboard", {
      turns: new SyntheticTurns({ turns: 600 }),
      approvals,
      live: 5,
    });
    await page.setViewportSize({ width: 900, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    for (const path of ["/dashboard", "/dashboard/fleet", "/dashboard/spend", "/dashboard/approvals"]) {
      await page.goto(mock.origin + path);
      await holds(
        `${path} is drawn`,
        async () =>
          (await page.locator(".state-loading:visible").count()) === 0 &&
          (await page.locator("main section.card:visible").count()) > 0,
      );
      await holds(`${path} fits`, () =>
        page.evaluate(() => document.documentElement.scrollWidth === document.documentElement.clientWidth),
      );
    }
    assert.deepEqual(
      complaints.filter((complaint) => !/Failed to load resource/.test(complaint)),
      [],
    );
  });
}
