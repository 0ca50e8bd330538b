// What the talk page says when something fails: one sentence with what to do.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "./chromium.js";
import { Gateway, closedAddress, routedTo } from "./gateway.js";
import { TalkPage } from "./talk.js";

describe("a failure is told in words that help", { concurrency: true }, () => {
  let gateway;
  let browser;
  before(async () => {
    [gateway, browser] = await Promise.all([Gateway.start(), launch([1])]);
  });
  after(async () => {
    await browser.close();
    await gateway.stop();
  });

  /** The text of the banner once it shows. */
  async function told(talk) {
    await talk.until("an error is shown", (view) => view.error);
    assert.ok(await talk.part("error").isVisible());
    return talk.page.locator("#error-text").innerText();
  }

  test("a wrong key is refused and can be replaced", async () => {
    const talk = await TalkPage.open(browser, gateway, { key: "vg_wrong" });
    await talk.part("connect").click();
    assert.match(await told(talk), /refused this key: check it/);
    await talk.until("the page is ready for another key", (view) => view.state === "failed");
    assert.ok(await talk.part("key").isVisible());
    assert.equal(await talk.part("status").innerText(), "Not connected");
    await talk.page.context().close();
  });

  test("a microphone that is not allowed is named with the way to allow it", async () => {
    const strict = await launch([1], { allows: false });
    try {
      const talk = await TalkPage.open(strict, gateway);
      await talk.part("connect").click();
      assert.match(await told(talk), /not allowed to use the microphone: allow it/);
      await talk.until("the page can try again", (view) => view.state === "failed");
      assert.deepEqual(talk.complaints, []);
    } finally {
      await strict.close();
    }
  });

  test("a provider that cannot be reached is named as the one who failed", async (t) => {
    const unconnected = await Gateway.start(routedTo(await closedAddress()));
    t.after(() => unconnected.stop());
    const talk = await TalkPage.open(browser, unconnected);
    await talk.part("connect").click();
    const text = await told(talk);
    assert.match(text, /provider/);
    assert.match(text, /check the provider/);
    await talk.until("the call is over", (view) => view.state === "ended" || view.state === "failed");
    assert.equal(await told(talk), text, "the reason stays when the call ends");
    await talk.page.context().close();
  });

  test("a gateway that dies in a call is noticed and told", async (t) => {
    const doomed = await Gateway.start();
    t.after(() => doomed.kill());
    const talk = await TalkPage.open(browser, doomed);
    await talk.connect();
    await doomed.kill();
    await talk.until("the page notices", (view) => view.state === "reconnecting" || view.state === "failed");
    assert.match(await told(talk), /connection was lost: check your network/);
    await talk.until("the call is over", (view) => view.state === "failed");
    assert.ok(await talk.part("connect").isVisible());
    assert.ok(await talk.part("mute").isDisabled());
    await talk.page.context().close();
  });
});
