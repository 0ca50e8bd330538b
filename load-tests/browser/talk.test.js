// The talk page in calls with the built-in voice.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./chromium.js";
import { Gateway, KEY } from "./gateway.js";
import { TalkPage, said } from "./talk.js";

let gateway;
before(async () => (gateway = await Gateway.start()));
after(() => gateway.stop());

/** Runs `scene` in a call whose microphone plays `script`. */
async function inCall(script, scene) {
  const browser = await launch(script);
  try {
    const talk = await TalkPage.open(browser, gateway);
    await talk.connect();
    await scene(talk);
    await talk.end();
    assert.deepEqual(talk.complaints, []);
  } finally {
    await browser.close();
  }
}

const arrived = (view, type) => view.events.some((event) => event.type === type);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

test("a spoken question is transcribed, answered aloud and measured hop by hop", () =>
  inCall([3, "what time is it", 20], async (talk) => {
    assert.ok(!talk.page.url().includes(KEY), "the key stays out of the address bar");

    await talk.until("the question is transcribed", (view) =>
      said(view, "user").some((entry) => /time/i.test(entry.text)),
    );
    await talk.until("the answer is transcribed", (view) =>
      said(view, "agent").some((entry) => /universal time/.test(entry.text)),
    );
    await talk.until("the answer is heard", (view) => view.remoteAudio.energy > 0);
    const { events } = await talk.view();
    const asked = events.filter((event) => event.type === "input_audio_buffer.committed");
    const answers = events.filter((event) => event.type === "response.output_item.added");
    const ids = [...asked.map((event) => event.item_id), ...answers.map((event) => event.item.id)];
    assert.equal(new Set(ids).size, ids.length, `questions and answers share no name: ${ids}`);
    const measured = await talk.until("the turn is measured", (view) => view.turns[0]);

    assert.ok(measured.hops.length > 5);
    assert.ok(measured.mouth_to_ear_ms > 0);
    const difference = sum(measured.hops.map((hop) => hop.duration_ms)) - measured.mouth_to_ear_ms;
    assert.ok(Math.abs(difference) < 0.01 * measured.hops.length, `the hops miss the total by ${difference} ms`);

    const { shown, told } = await talk.page.evaluate(() => ({
      shown: [...document.querySelectorAll("#waterfall .fall")].map((row) => row.dataset.hop),
      told: window.voxgateTalk.turns.at(-1).hops.map(({ hop }) => hop),
    }));
    assert.deepEqual(shown, told);
    assert.match(await talk.part("turn-total").innerText(), /^[\d\s]+ms$/);
    assert.equal(await talk.page.locator("#waterfall .contradiction").count(), 0);
    assert.ok(await talk.page.locator("#waterfall .falls").isVisible());
  }));

test("a caller who talks over an answer stops it and is answered", () =>
  inCall([3, "tell me a long story", 7, "stop please", 25], async (talk) => {
    await talk.until("the story is heard", (view) => view.agentSpeaking && view.remoteAudio.energy > 0);
    const cut = await talk.until("the story is marked as interrupted", (view) =>
      said(view, "agent").find((entry) => entry.interrupted === "speech"),
    );
    await talk.until("it is told how much was heard", (view) =>
      view.transcript.some((entry) => entry.id === cut.id && entry.heardMs > 0),
    );
    const { events } = await talk.view();
    assert.ok(events.some((event) => event.type === "conversation.item.truncated" && event.item_id === cut.id));
    assert.ok(events.some((event) => event.type === "output_audio_buffer.cleared"));
    // On a busy machine the question may have a hole and cut its own first answer as well.
    const notes = await talk.page.locator('[data-interrupted="speech"] .cut-note').allInnerTexts();
    assert.ok(notes.some((note) => /^Interrupted after [\d.]+ s$/.test(note)), notes.join("\n"));

    await talk.until("the interruption is answered", (view) => {
      const at = view.transcript.findIndex((entry) => entry.id === cut.id);
      return said({ transcript: view.transcript.slice(at + 1) }, "agent").length > 0;
    });
  }));

test("a muted microphone is not heard, typed text is answered and the stop button stops", () =>
  inCall([12, "what time is it", 0.5], async (talk) => {
    await talk.part("mute").click();
    assert.equal(await talk.part("user-doing").innerText(), "Muted");
    assert.equal(await talk.part("mute").getAttribute("aria-pressed"), "true");

    await talk.part("text-input").fill("what is seven plus five");
    await talk.part("send").click();
    await talk.until("the sum is answered", (view) =>
      said(view, "agent").some((entry) => /\b(12|twelve)\b(?!:)/.test(entry.text)),
    );
    await talk.until("the answer has been played", (view) => arrived(view, "output_audio_buffer.stopped"));

    await talk.part("text-input").fill("tell me a long story");
    await talk.part("text-input").press("Enter");
    const { remoteAudio, events } = await talk.until("the story is heard", (view) => view.agentSpeaking && view);
    // Longer than the microphone's script, which is spoken in vain.
    await talk.until("it goes on", (view) => view.remoteAudio.seconds > remoteAudio.seconds + 14);
    await talk.part("stop").click();
    const stopped = await talk.until("it stops and how much was heard is told", (view) =>
      said(view, "agent").find((entry) => entry.interrupted === "stop" && entry.heardMs > 0),
    );
    assert.ok(stopped.final);
    const quiet = await talk.until("the agent listens", (view) => !view.agentSpeaking && view);
    await talk.until("nothing is left to stop", () => talk.part("stop").isDisabled());
    assert.ok(arrived(quiet, "output_audio_buffer.cleared"));
    assert.ok(!quiet.events.slice(events.length).some((event) => event.type.startsWith("input_audio_buffer")));

    await talk.page.locator("body").press("m");
    assert.equal(await talk.part("mute").innerText(), "Mute");
    await talk.until("the microphone is heard again", (view) =>
      said(view, "user").some((entry) => /time/i.test(entry.text)),
    );
  }));
