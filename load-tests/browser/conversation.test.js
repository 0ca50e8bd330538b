// One long scripted conversation in Chromium with each official JavaScript SDK on each transport. Every event is
// judged by the zod union of @openai/agents-realtime, and by the judges of the Python suite.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { launch, openPage } from "./chromium.js";
import { Gateway, KEY, routedTo } from "./gateway.js";
import { startSimulator } from "./simulator.js";
import { startSite } from "./site.js";
import { speech } from "./voice.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const JUDGE = path.join(ROOT, "load-tests/python/event_judge.py");
const PYTHON = path.join(ROOT, "target/test-venv/bin/python");
const CLIENTS = [
  "openai over WebRTC",
  "openai over WebSocket",
  "@openai/agents-realtime over WebRTC",
  "@openai/agents-realtime over WebSocket",
];

describe("a long conversation is in order to every judge", { concurrency: true }, () => {
  let browser;
  let gateway;
  let simulator;
  let site;
  const clips = {};
  before(async () => {
    // Answers take seconds to be said, so that there is time to cut them short.
    simulator = await startSimulator(["--answer-ms", "12000", "--speed", "4"]);
    [gateway, site, browser] = await Promise.all([
      Gateway.start(routedTo(simulator.address)),
      startSite("./conversation-page.js"),
      launch([1], { more: ["--ignore-certificate-errors"] }),
    ]);
    const sentences = { question: "what time is it", interruption: "stop please stop it now", name: "what is your name" };
    for (const [name, text] of Object.entries(sentences)) clips[name] = [...(await speech([text], 24_000))];
  });
  after(async () => {
    await browser.close();
    await site.stop();
    await gateway.stop();
    await simulator.stop();
  });

  for (const client of CLIENTS) {
    test(client, async () => {
      const { page, complaints } = await openPage(browser);
      await page.goto(site.origin);
      const place = { origin: gateway.origin, secure: `https://${gateway.https}`, key: await ephemeralKey(gateway) };
      const played = await page.evaluate(
        ([client, place, clips]) => window.conversationPage.play(client, place, clips),
        [client, place, clips],
      );
      await page.context().close();
      assert.deepEqual(played.generic, [], "the zod union knows every event");
      assert.deepEqual(played.errors, []);
      assert.deepEqual(complaints, []);
      const refused = played.wire.map((text) => JSON.parse(text)).filter((event) => event.type === "error");
      assert.deepEqual(refused.map((event) => event.error.event_id), played.refused, "no error that was not asked for");
      assert.equal(await judged(played), "");
    });
  }
});

async function ephemeralKey(gateway) {
  const response = await fetch(`${gateway.origin}/v1/realtime/client_secrets`, {
    method: "POST",
    headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", model: "gpt-realtime" } }),
  });
  assert.equal(response.status, 200);
  return (await response.json()).value;
}

/** What the judges of the Python suite hold against a session. */
async function judged({ wire, hasMedia }) {
  const judge = spawn(PYTHON, [JUDGE, ...(hasMedia ? ["--media"] : [])], { stdio: ["pipe", "pipe", "inherit"] });
  judge.stdin.end(wire.join("\n"));
  let output = "";
  for await (const piece of judge.stdout.setEncoding("utf8")) output += piece;
  return output;
}
