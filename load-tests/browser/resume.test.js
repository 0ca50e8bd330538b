// A call whose connection is lost, and the person who goes on with the conversation.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch } from "./chromium.js";
import { Gateway } from "./gateway.js";
import { TalkPage, said } from "./talk.js";

test("a lost conversation goes on where it was with one press of a button", async (t) => {
  const gateway = await Gateway.start(null, { relays: 1 });
  t.after(() => gateway.stop());
  const browser = await launch([60]);
  t.after(() => browser.close());
  // Without the script that moves calls, so that the browser gives up.
  const talk = await TalkPage.open(browser, gateway, { query: "?failover=off" });
  await talk.connect();
  const ask = async (question) => {
    await talk.part("text-input").fill(question);
    await talk.part("send").click();
  };
  await ask("tell me a long story");
  // Seconds are counted from the beginning of the call, whatever is to be heard.
  let before = null;
  const story = await talk.until("the story is heard", ({ agentSpeaking, remoteAudio, transcript }) => {
    if (agentSpeaking) before ??= remoteAudio.seconds;
    const [told] = transcript.filter((entry) => entry.role === "agent");
    return agentSpeaking && remoteAudio.seconds > before + 3 && told?.text && told;
  });

  const [relay] = gateway.relays;
  await relay.kill();
  await talk.until("the browser gives up", (view) => view.state === "failed");
  assert.match(await talk.part("error").innerText(), /connection was lost: check your network/);
  assert.equal((await talk.view()).transcript.length, 2, "what was said stays");
  await relay.start();

  await talk.part("continue").click();
  await talk.until("the conversation goes on", (view) => view.state === "connected");
  assert.ok(await talk.part("error").isHidden());
  const cut = await talk.until("the page knows what was heard", (view) =>
    view.transcript.find((entry) => entry.id === story.id && entry.interrupted === "loss"),
  );
  const { events } = await talk.view();
  const whole = events.findLast((event) => event.type === "response.output_audio_transcript.delta").item_id;
  assert.equal(whole, story.id);
  assert.ok(cut.text.length > 0 && story.text.startsWith(cut.text.slice(0, 20)), cut.text);
  await ask("what is your name");
  const { transcript } = await talk.until("it answers", (view) =>
    said(view, "agent").some((entry) => /My name is/.test(entry.text)) && view,
  );
  assert.deepEqual(transcript.map((entry) => entry.role), ["user", "agent", "user", "agent"]);
  await talk.end();
  assert.deepEqual(talk.complaints.filter((line) => !/ERR_|Failed to load/.test(line)), []);
});
