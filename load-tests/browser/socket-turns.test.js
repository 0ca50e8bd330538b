// A call over WebSocket on the dashboard: an operator sees its turns and its network, and what nobody can know is named.
// SOCKET_PICTURE=FILE.png keeps a picture of the page.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { setTimeout as pass } from "node:timers/promises";
import { WebSocket } from "ws";
import { formatMs, hopLabel } from "../../dashboard/web/shared/hops.js";
import { launch } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { Gateway, KEY } from "./gateway.js";
import { until } from "./patience.js";
import { speech } from "./voice.js";

const RATE = 24_000;
const PIECE = RATE / 25;
const TURNS = 2;

let gateway;
let browser;
let question;
before(async () => {
  gateway = await Gateway.start();
  browser = await launch([1]);
  question = await speech([0.3, "what time is it", 1], RATE);
});
after(async () => {
  await browser.close();
  await gateway.stop();
});

/** A client that speaks in its own time, in pieces of 40 ms. */
class Caller {
  events = [];

  static async open() {
    const caller = new Caller();
    const url = `ws://${gateway.http}/v1/realtime?model=gpt-realtime`;
    caller.socket = new WebSocket(url, { headers: { Authorization: `Bearer ${KEY}` } });
    caller.socket.on("message", (data) => caller.events.push(JSON.parse(data)));
    await once(caller.socket, "open");
    const created = await caller.until("session.created", 1);
    caller.id = created.session.id;
    return caller;
  }

  until(type, count) {
    const found = () => this.events.filter((event) => event.type === type);
    return until(
      `${count} ${type}`,
      () => found()[count - 1],
      () => this.events.map((event) => event.type).join(" "),
    );
  }

  async ask() {
    const began = performance.now();
    for (let at = 0; at < question.length; at += PIECE) {
      const samples = question.subarray(at, at + PIECE);
      await pass(Math.max(0, began + ((at + samples.length) * 1_000) / RATE - performance.now()));
      const bytes = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
      this.socket.send(
        JSON.stringify({ type: "input_audio_buffer.append", audio: bytes.toString("base64") }),
      );
    }
  }

  async close() {
    this.socket.close();
    if (this.socket.readyState !== WebSocket.CLOSED) await once(this.socket, "close");
  }
}

async function recordOf(id) {
  const response = await fetch(`${gateway.origin}/admin/v1/sessions/${id}/record`, {
    headers: { Authorization: `Bearer ${KEY}` },
  });
  assert.equal(response.status, 200);
  return response.json();
}

test("the page of a call over WebSocket shows its turns hop by hop, and its network as far as TCP tells", async () => {
  const caller = await Caller.open();
  const viewport = { width: 1440, height: 1500 };
  const path = `/dashboard/sessions/${caller.id}`;
  const dashboard = await Dashboard.open(browser, gateway.origin, path, { key: KEY, viewport });
  const { page } = dashboard;
  await dashboard.until("its page is drawn", () => dashboard.part("timeline").isVisible());
  for (let number = 1; number <= TURNS; number++) {
    await caller.ask();
    await caller.until("response.done", number);
    await dashboard.until(`turn ${number} is on the page`, () =>
      page.locator(`.turns tr[data-turn="${number}"]`).count(),
    );
  }
  await caller.close();
  await dashboard.until(
    "the call is over",
    async () => (await dashboard.part("session-state").innerText()) === "Ended",
  );
  const record = await recordOf(caller.id);
  const turn = record.turns.at(-1);
  await page.keyboard.press("0");

  const hops = await page.locator(".falls .fall").evaluateAll((rows) => rows.map((row) => row.dataset.hop));
  const expected = turn.hops.map(({ hop }) => hop);
  assert.deepEqual(
    hops.filter((hop) => hop !== "unattributed"),
    expected,
  );
  assert.ok(expected.includes("endpointing") && expected.includes("model") && !expected.includes("relay_in"));
  const total = await dashboard.part("turn-total").innerText();
  assert.equal(total.replaceAll(/\s/g, ""), formatMs(turn.mouth_to_ear_ms).replaceAll(/\s/g, ""));
  assert.deepEqual(turn.unknown, ["playout"]);
  assert.match(await page.locator(".unknown-hops").innerText(), new RegExp(hopLabel("playout"), "i"));

  const notes = page.locator(".chart-note");
  assert.deepEqual(
    await notes.evaluateAll((all) => all.filter((note) => note.textContent).map((note) => note.hidden)),
    [false, false],
    "loss and MOS say why there is none",
  );
  const last = record.network.at(-1);
  assert.ok(last.round_trip_ms > 0 && last.mos === null);
  const delays = await page.locator(".lane-delay .samples li").first().innerText();
  assert.match(delays, /^Round trip\s+[\d.]+ ms/);
  assert.equal(await dashboard.part("figure-mos").innerText(), "–");
  if (process.env.SOCKET_PICTURE) await page.screenshot({ path: process.env.SOCKET_PICTURE });
  assert.deepEqual(dashboard.complaints, []);
  await dashboard.close();
});
