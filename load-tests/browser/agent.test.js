// The official @openai/agents-realtime in a browser over WebRTC, on a site that is not the gateway's.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage } from "./chromium.js";
import { Gateway, KEY } from "./gateway.js";
import { until } from "./patience.js";
import { startSite } from "./site.js";

let gateway;
let site;
before(async () => {
  [gateway, site] = await Promise.all([Gateway.start(), startSite("./agent-page.js")]);
});
after(async () => {
  await site.stop();
  await gateway.stop();
});

/** What a server of the application does for its browser. */
async function ephemeralKey() {
  const response = await fetch(`${gateway.origin}/v1/realtime/client_secrets`, {
    method: "POST",
    headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", model: "gpt-realtime" } }),
  });
  assert.equal(response.status, 200);
  const { value } = await response.json();
  assert.match(value, /^ek_/);
  return value;
}

/** The message of `role` whose words match, if it is in the history. */
function line({ history }, role, pattern) {
  const words = (item) => item.content.map((part) => part.text ?? part.transcript ?? "").join(" ");
  return history.find((item) => item.type === "message" && item.role === role && pattern.test(words(item)));
}

test("an agent on another site holds a spoken conversation, uses its tool and can be interrupted", async () => {
  const browser = await launch([4, "what is the weather in paris", 120]);
  try {
    const { page, complaints } = await openPage(browser);
    await page.goto(site.origin);
    const view = () => page.evaluate(() => window.agentPage.view());
    const evidence = async () =>
      `${JSON.stringify(await view(), null, 1)}\n${complaints.join("\n")}\n${gateway.process.output}`;
    const reach = (what, probe) => until(what, async () => probe(await view()), evidence);

    const address = `${gateway.origin}/v1/realtime/calls`;
    await page.evaluate(([url, key]) => window.agentPage.connect(url, key), [address, await ephemeralKey()]);
    await reach("the session is configured", ({ events }) => events.includes("session.updated"));
    assert.match((await view()).callId, /^rtc_/, "the Location header is readable from another origin");

    await reach("the spoken question is in the history", (state) => line(state, "user", /weather/i));
    await reach("the tool has run", ({ tools }) => tools.some(({ name }) => name === "get_weather"));
    await reach("its output is spoken", (state) => line(state, "assistant", /sunny and warm/i));
    await reach("the answer is heard", ({ remote }) => remote.energy > 0 && remote.packets > 0);
    assert.equal((await view()).asked.length, 1);

    const count = ({ events }, step) => events.filter((type) => type === `output_audio_buffer.${step}`).length;
    const starts = (state) => count(state, "started");
    const ends = (state) => count(state, "stopped") + count(state, "cleared");
    await reach("the answer has ended", (state) => starts(state) > 0 && starts(state) === ends(state));
    const before = starts(await view());
    await page.evaluate(() => window.agentPage.say("tell me a long story"));
    await reach("the story is heard", (state) => starts(state) > before);
    await page.evaluate(() => window.agentPage.interrupt());
    await reach("the story is cut", (state) => count(state, "cleared") > 0 && starts(state) === ends(state));
    await reach("what was not heard is forgotten", ({ events }) => events.includes("conversation.item.truncated"));

    await page.evaluate(() => window.agentPage.say("what is seven plus five"));
    await reach("the next question is answered", (state) => line(state, "assistant", /\b(12|twelve)\b/i));
    assert.deepEqual((await view()).errors, []);
    await page.evaluate(() => window.agentPage.close());
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
});
