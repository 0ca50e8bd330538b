// The dashboard against a stand-in that speaks the wire protocol of the administration: what a person can do on it, however many
// sessions there are and whatever they are called.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { launch } from "./chromium.js";
import { Dashboard, sound } from "./dashboard.js";
import { MOCK_KEY, MockGateway } from "./mock-gateway.js";

let browser;
before(async () => (browser = await launch([1])));
after(() => browser.close());

/** Runs `scene(dashboard, mock)` on a page of a stand-in. `complaints` are those of the console that are expected. */
async function onPage(path, options, scene) {
  const { key = MOCK_KEY, expected = null, ...fleet } = options;
  const mock = await MockGateway.start(fleet);
  const address = typeof path === "function" ? path([...mock.fleet.sessions.keys()]) : path;
  const dashboard = await Dashboard.open(browser, mock.origin, address, { key, acceptDownloads: true });
  try {
    await scene(dashboard, mock);
    assert.deepEqual(
      dashboard.complaints.filter((text) => !expected?.test(text)),
      [],
    );
  } finally {
    await dashboard.close();
    await mock.stop();
  }
}

const session = ([first]) => `/dashboard/sessions/${first}`;
const CUT = /ERR_INCOMPLETE_CHUNKED|503|ERR_CONNECTION|401|404|403/;

test("a wrong key is told so, the right one opens the page, and signing out forgets it", () =>
  onPage("/dashboard/sessions", { live: 3, key: null, expected: CUT }, async (dashboard) => {
    const { page } = dashboard;
    await dashboard.part("key").fill("vox_wrong");
    await dashboard.part("sign-in").click();
    await dashboard.until("the key is refused", async () =>
      (await dashboard.part("key-fault").innerText()).includes("not accept"),
    );
    await dashboard.part("key").fill(MOCK_KEY);
    await dashboard.part("sign-in").click();
    await dashboard.until("sessions are shown", async () => (await dashboard.rows()).length === 3);
    assert.ok(!page.url().includes(MOCK_KEY));
    await page.reload();
    await dashboard.until("the key is kept in the tab", async () => (await dashboard.rows()).length === 3);
    await dashboard.part("sign-out").click();
    await dashboard.part("key").waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify(sessionStorage)), "{}");
  }));

test("a thousand live sessions: only rows in view exist, all can be reached, a breach comes to the top", () =>
  onPage("/dashboard/sessions", { live: 1000 }, async (dashboard, mock) => {
    await dashboard.until("the sessions are there", async () => (await dashboard.rows()).length > 10);
    assert.ok((await dashboard.rows()).length < 80, "the page has rows nobody sees");
    assert.equal(await dashboard.page.locator("table.sessions").getAttribute("aria-rowcount"), "1001");

    const quiet = [...mock.fleet.sessions.values()].find(({ summary }) => summary.breaches === 0);
    for (let turn = 0; turn < 10; turn++) quiet.turn(quiet.atMs, { slow: 5000 });
    quiet.summary.badness = 1000;
    const began = Date.now();
    const [first] = await dashboard.until("the worst session is first", async () => {
      const rows = await dashboard.rows();
      return rows[0].id === quiet.summary.id && rows;
    });
    console.log(`a breach came to the top of 1000 sessions after ${Date.now() - began} ms`);
    assert.match(first.breaches, /▲ 10\s+Model/);

    await dashboard.page.keyboard.press("j");
    await dashboard.page.keyboard.press("End");
    const last = await dashboard.until("the last row has the focus", () =>
      dashboard.page.evaluate(() => {
        const row = document.activeElement.closest("tr");
        return row?.getAttribute("aria-rowindex") === "1001" && row.dataset.id;
      }),
    );
    assert.ok(mock.fleet.sessions.has(last));
  }));

test("rows stay where they are while the keyboard is in the list, and take their places afterwards", () =>
  onPage("/dashboard/sessions", { live: 12 }, async (dashboard, mock) => {
    const { page } = dashboard;
    await dashboard.until("the sessions are there", async () => (await dashboard.rows()).length === 12);
    for (const key of ["j", "j", "j", "k"]) await page.keyboard.press(key);
    const order = (await dashboard.rows()).map(({ id }) => id);
    const focused = () => page.evaluate(() => document.activeElement.closest("tr")?.dataset.id);
    await dashboard.until("the second row has the focus", async () => (await focused()) === order[1]);

    const last = mock.fleet.sessions.get(order.at(-1));
    last.turn(last.atMs, { slow: 5000 });
    last.summary.badness = 1000;
    const fresh = mock.fleet.begin();
    await dashboard.until(
      "the order is held",
      async () => (await dashboard.part("held").isVisible()) && (await dashboard.rows()).length === 13,
    );
    const held = await dashboard.rows();
    assert.deepEqual(
      held.map(({ id }) => id),
      [...order, fresh.summary.id],
    );
    assert.match(held[11].breaches, /▲/, "figures go on");
    await page.keyboard.press("o");
    await dashboard.until(
      "the worst is first",
      async () => (await dashboard.rows())[0].id === last.summary.id,
    );
    assert.equal(await focused(), order[1], "the focus is where it was");
    await page.keyboard.press("Enter");
    await dashboard.until("the session opens", () => page.url().endsWith(`/dashboard/sessions/${order[1]}`));
    await page.goBack();
    await dashboard.until("the list is back", async () => (await dashboard.rows()).length === 13);
  }));

test("filters and search stand in the address, and the address is a filter", () =>
  onPage("/dashboard/sessions?state=all&provider=local", { live: 30, ended: 10 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const wanted = (probe) =>
      [...mock.fleet.sessions.values()].filter(({ summary }) => probe(summary)).length;
    const shows = (what, count) =>
      dashboard.until(
        `${what}: ${count}`,
        async () => Number(await page.locator("table.sessions").getAttribute("aria-rowcount")) === count + 1,
      );
    await shows(
      "local",
      wanted(({ provider }) => provider === "local"),
    );
    await page.keyboard.press("/");
    await page.keyboard.type("acme sales");
    const address = "?state=all&provider=local&search=acme+sales";
    await dashboard.until("the search stands in the address", () => new URL(page.url()).search === address);
    await shows(
      "local of acme sales",
      wanted((one) => one.provider === "local" && one.organisation === "acme" && one.team === "sales"),
    );
    await page.getByLabel("Provider").selectOption("");
    await page.keyboard.press("Escape");
    await page.locator("label", { hasText: "Ended" }).click();
    await shows(
      "ended of acme sales",
      wanted((one) => one.state === "ended" && one.organisation === "acme" && one.team === "sales"),
    );
    await dashboard.part("search").fill("nobody is called that");
    await dashboard.until("nothing is left", () => dashboard.part("empty").isVisible());
    await page.getByRole("button", { name: "Take the filters away" }).click();
    await shows(
      "ended",
      wanted(({ state }) => state === "ended"),
    );
  }));

test("a gateway that goes away is told since when, and comes back by itself", () =>
  onPage("/dashboard/sessions", { live: 5, expected: CUT }, async (dashboard, mock) => {
    const feed = () => dashboard.part("feed").innerText();
    await dashboard.until(
      "the page is live and shows what the feed told first",
      async () => (await feed()) === "Live" && (await dashboard.rows()).length === 5,
    );
    mock.isDown = true;
    mock.cut();
    await dashboard.until("the page says it is not live", async () =>
      /^Not live since \d\d:\d\d:\d\d/.test(await feed()),
    );
    assert.equal((await dashboard.rows()).length, 5, "what was known stays");
    mock.isDown = false;
    mock.fleet.forget([...mock.fleet.sessions.keys()][0]);
    await dashboard.until(
      "the page is live again, without what has gone",
      async () => (await feed()) === "Live" && (await dashboard.rows()).length === 4,
    );
  }));

test("nobody calls: the page says so, that nothing is wrong, and that calls from before a restart are not here", () => {
  const answers = { "/admin/v1/fleet": { node: { uptime_ms: 3_600_000 }, relays: [], providers: [] } };
  return onPage("/dashboard/sessions", { live: 0, ended: 0, answers }, async (dashboard) => {
    await dashboard.until("the list is empty", () => dashboard.part("empty").isVisible());
    assert.match(await dashboard.part("empty").innerText(), /Nobody is calling right now/);
    await dashboard.page.locator("label", { hasText: "Ended" }).click();
    await dashboard.until("it is told since when calls are kept", async () =>
      /none from before it began\. This one began on .*, 1 h ago/.test(await dashboard.part("memory-note").innerText()),
    );
    assert.match(await dashboard.part("empty").innerText(), /before a restart are not here/);
  });
});

const HOSTILE = [
  `<img src=x onerror="document.title='owned'">`,
  `"><script>document.title='owned'</script>`,
  "\u202Eevil\u0000\u2028{{7*7}}",
  "x".repeat(5000),
];

test("hostile names are text, in the list and on the page of a session", () =>
  onPage("/dashboard/sessions", { live: 0, ended: 0 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const [a, b, c, long] = HOSTILE;
    const evil = mock.fleet.begin({
      agedMs: 9000,
      id: a,
      organisation: b,
      team: c,
      agent: long,
      provider: a,
      model: b,
      region: c,
      relay: b,
      worst_hop: a,
      key: a,
      trace_id: b,
    });
    evil.turn(evil.atMs, { slow: 5000 });
    Object.assign(evil.turns.at(-1), { provider: a, model: b });
    Object.assign(evil.turns.at(-1).hops[3], { hop: a, owner: b });
    evil.turns.at(-1).breaches[0].spender = b;
    evil.event(b, a, a, { [a]: b, nested: { [b]: [c] } });
    Object.assign(evil.transcript.at(-1), { text: a, who: b, state: c });
    await dashboard.until("the session is in the list", async () => (await dashboard.rows()).length === 1);
    const [row] = await dashboard.rows();
    assert.ok(row.session.startsWith(a) && row.session.includes(b), row.session.slice(0, 200));
    await page.locator(".session-link").click();
    await dashboard.until("its page is drawn", () => dashboard.part("timeline").isVisible());
    await dashboard.until("the words are there", async () =>
      (await dashboard.part("transcript").innerText()).includes(a),
    );
    assert.ok((await dashboard.part("events").innerText()).includes(a));
    assert.equal(await page.locator("main img, main script, main iframe").count(), 0);
    assert.doesNotMatch(await page.title(), /^owned/);
    assert.ok(page.url().startsWith(`${mock.origin}/dashboard/sessions/%3Cimg`));
  }));

test("a turn that is chosen is marked everywhere, and the address leads back to it", () =>
  onPage(session, { live: 1, ended: 0 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const [one] = mock.fleet.sessions.values();
    while (one.turns.length < 3) one.turn(one.atMs);
    const marks = () =>
      page.evaluate(() => ({
        row: document.querySelector(".turns tr.picked")?.dataset.turn,
        bar: document.querySelector(".turn-bar.picked")?.dataset.turn,
        waterfall: document.querySelector(".section-body[data-turn]")?.dataset.turn,
        band: document.querySelector(".turn-band")?.hidden === false,
      }));
    const isMarked = (turn) =>
      dashboard.until(`turn ${turn} is marked everywhere`, async () => {
        const { row, bar, waterfall, band } = await marks();
        return [row, bar, waterfall].every((found) => found === String(turn)) && band;
      });
    await dashboard.until("the turns are drawn", () => page.locator(".turns tbody tr").first().isVisible());
    await page.locator('.turns tr[data-turn="2"] button').click();
    await isMarked(2);
    assert.equal(new URL(page.url()).search, "?turn=2");
    await page.reload();
    await isMarked(2);
    await page.keyboard.press("j");
    await isMarked(3);

    const before = one.turns.length;
    one.turn(one.atMs);
    await dashboard.until("a new turn is in the list", () =>
      page.locator(`.turns tr[data-turn="${before + 1}"]`).count(),
    );
    await isMarked(3);
    await page.keyboard.press("Escape");
    await isMarked(before + 1);

    await page.getByRole("button", { name: "Total" }).click();
    const numbers = await page
      .locator(".turns tbody tr")
      .evaluateAll((rows) => rows.map((tr) => Number(tr.dataset.turn)));
    const slowest = [...one.turns]
      .sort((a, b) => b.mouth_to_ear_ms - a.mouth_to_ear_ms)
      .map(({ turn }) => turn);
    assert.deepEqual(numbers, slowest, "the slowest turns are found by one click");
  }));

test("all lanes look at the same stretch of time, by drag, wheel and keyboard", () =>
  onPage(session, { live: 1, ended: 0 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const [one] = mock.fleet.sessions.values();
    one.pass(120_000);
    const range = async () =>
      /([\d:.]+) – ([\d:.]+) of/.exec(await dashboard.part("range").textContent())?.slice(1, 3);
    const changes = async (what, act) => {
      const old = String(await range());
      await act();
      return dashboard.until(what, async () => {
        const next = await range();
        return next && String(next) !== old && next;
      });
    };
    await dashboard.until("the lanes are drawn", range);
    await changes("the whole is shown", () => page.keyboard.press("0"));
    const box = await page.locator(".tracks").boundingBox();
    const at = (share) => box.x + 56 + share * (box.width - 56);
    await changes("a drag looks closer", async () => {
      await page.mouse.move(at(0.4), box.y + 70);
      await page.mouse.down();
      await page.mouse.move(at(0.6), box.y + 70, { steps: 4 });
      await page.mouse.up();
    });
    await changes("the wheel with Ctrl looks closer", async () => {
      await page.keyboard.down("Control");
      await page.mouse.wheel(0, -200);
      await page.keyboard.up("Control");
    });
    const [from] = await changes("an arrow moves along", () => page.keyboard.press("ArrowRight"));
    const ticks = await page.locator(".time-axis > span > span").allInnerTexts();
    assert.ok(ticks.length > 2 && from.length > 0);
  }));

test("figures, export and an honest sentence where no words were kept", () =>
  onPage(session, { live: 1, ended: 0, words: false }, async (dashboard, mock) => {
    const [one] = mock.fleet.sessions.values();
    await dashboard.until("the figures are there", async () =>
      (await dashboard.part("figure-p50").innerText()).endsWith("ms"),
    );
    assert.equal(await dashboard.part("figure-interruptions").innerText(), String(one.summary.interruptions));
    assert.match(await dashboard.part("transcript-note").innerText(), /^No words were kept/);
    const [download] = await Promise.all([
      dashboard.page.waitForEvent("download"),
      dashboard.part("export").click(),
    ]);
    assert.equal(download.suggestedFilename(), `${one.summary.id}.json`);
    const saved = JSON.parse(await readFile(await download.path(), "utf8"));
    assert.deepEqual(saved.turns, JSON.parse(JSON.stringify(one.turns)));
  }));

/** Silence as a WAV of 8 kHz. */
function silence(seconds) {
  const length = Math.round(seconds * 8000) * 2;
  const body = Buffer.alloc(44 + length);
  body.write("RIFF", 0);
  body.writeUInt32LE(36 + length, 4);
  body.write("WAVEfmt ", 8);
  body.writeUInt32LE(16, 16);
  body.writeUInt16LE(1, 20);
  body.writeUInt16LE(1, 22);
  body.writeUInt32LE(8000, 24);
  body.writeUInt32LE(16_000, 28);
  body.writeUInt16LE(2, 32);
  body.writeUInt16LE(16, 34);
  body.write("data", 36);
  body.writeUInt32LE(length, 40);
  return body;
}

test("voices are offered only where they were kept and when the call is over, and a sentence says why not", () =>
  onPage(session, { live: 1, ended: 0, expected: /409/ }, async (dashboard, mock) => {
    const [one] = mock.fleet.sessions.values();
    const says = (what, pattern) =>
      dashboard.until(what, async () => pattern.test(await dashboard.part("sound-note").innerText()));
    const changes = () => one.event("resume", "info", "Something changes, so that the page hears of it.");
    const isOffered = () => dashboard.part("play").isVisible();
    await says("nothing was kept", /^No voices were kept/);
    assert.ok(!(await isOffered()));
    one.voices = silence(one.atMs / 1000);
    changes();
    await says("the call runs", /when the call is over/);
    assert.ok(!(await isOffered()));
    // It is among those that run for a moment longer.
    let asked = 0;
    one.puttingAway = () => ++asked <= 2;
    one.end();
    await dashboard.until("playing is offered", isOffered);
    assert.equal(await dashboard.part("sound-note").innerText(), "");
    await dashboard.page.keyboard.press("Space");
    await dashboard.until("it plays", async () => (await sound(dashboard)).atMs > 0);
    assert.equal(asked, 3);
  }));

test("a recording that is gone is told so, and not offered again", () =>
  onPage(session, { live: 1, ended: 0, expected: /404/ }, async (dashboard, mock) => {
    const [one] = mock.fleet.sessions.values();
    one.voices = silence(1);
    one.end();
    await dashboard.until("playing is offered", () => dashboard.part("play").isVisible());
    one.voices = null;
    await dashboard.part("play").click();
    await dashboard.until("it is told", async () =>
      /were not kept/.test(await dashboard.part("sound-note").innerText()),
    );
    assert.ok(!(await dashboard.part("play").isVisible()));
  }));

test("where playing leaves what is looked at, the view goes on with it", () =>
  onPage(session, { live: 1, ended: 0 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const [one] = mock.fleet.sessions.values();
    one.voices = silence(one.atMs / 1000);
    one.end();
    await dashboard.until("playing is offered", () => dashboard.part("play").isVisible());
    const range = () => dashboard.part("range").innerText();
    // Closer until half a second is seen.
    for (let step = 0; step < 30; step++) await page.keyboard.press("+");
    await dashboard.until("the closest is shown", async () => {
      const shown = await range();
      await page.keyboard.press("+");
      return shown === (await range());
    });
    const before = await range();
    const box = await page.locator(".tracks").boundingBox();
    await page.mouse.click(box.x + box.width - 4, box.y + 70);
    await page.keyboard.press("Space");
    await dashboard.until("the view went on", async () => (await range()) !== before);
    await dashboard.until("the playhead is in it", () => page.locator(".playhead").isVisible());
  }));

test("a session that is not kept is told so, with the way back", () =>
  onPage("/dashboard/sessions/sess_unknown", { live: 1, expected: CUT }, async (dashboard) => {
    await dashboard.until("it is told", () => dashboard.part("empty").isVisible());
    assert.match(await dashboard.part("empty").innerText(), /not kept/);
    await dashboard.page.getByRole("link", { name: "Look at all sessions" }).click();
    await dashboard.until("the list is there", async () => (await dashboard.rows()).length > 0);
  }));

test("the pages of sessions fit a narrow window without scrolling sideways, whatever stands at the time axis", () =>
  onPage(session, { live: 1, ended: 0 }, async (dashboard, mock) => {
    const { page } = dashboard;
    const [one] = mock.fleet.sessions.values();
    one.voices = silence(1);
    const fits = async (what) => {
      for (const width of [390, 800, 1060]) {
        await page.setViewportSize({ width, height: 900 });
        await dashboard.until(`${what} fits ${width} px`, () =>
          page.evaluate(() => document.documentElement.scrollWidth === document.documentElement.clientWidth),
        );
      }
    };
    await dashboard.until("the page is drawn", () => dashboard.part("timeline").isVisible());
    await fits("a call that runs");
    one.end();
    await dashboard.until("playing is offered", () => dashboard.part("play").isVisible());
    await fits("a call that is over");
    await page.getByRole("link", { name: "Sessions", exact: true }).last().click();
    await dashboard.until("the list is there", () => dashboard.part("sessions").isVisible());
    await fits("the list");
  }));
