// Calls whose relays are killed, replaced, drained and re-keyed. How fast they recover is measured by scripts/faults.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { FaultCall } from "../faults/calls.js";
import { launch } from "./chromium.js";
import { BINARIES, Gateway, routedTo } from "./gateway.js";
import { until } from "./patience.js";
import { ChildProcess } from "./process.js";
import { rotateKeys } from "./relay.js";

const RECOVERY_LIMIT_MS = 90_000;
const MOST_CALLS = 3;
// A melody longer than any call here.
const ANSWER = ["--answer-ms", "180000", "--speed", "2"];

let provider;
let browser;
let config;
before(async () => {
  provider = new ChildProcess(path.join(BINARIES, "provider-sim"), ["--listen", "127.0.0.1:0", ...ANSWER]);
  const [[, address], opened] = await Promise.all([
    provider.find(/(127\.0\.0\.1:\d+)/),
    launch(["what is the weather like today", 0.2]),
  ]);
  config = routedTo(address);
  browser = opened;
});
after(async () => {
  await browser.close();
  await provider.stop("SIGKILL");
});

/** A call over so many relays. On a busy machine one may be silent for so long that it is left out; then there is another call. */
async function openCall(gateway, relays, script) {
  for (let left = MOST_CALLS; ; left--) {
    const call = await FaultCall.open(browser, gateway, { script });
    if (call.candidates.length === relays || left === 0) return call;
    await call.talk.end();
  }
}

/** Runs `scene(call, gateway, goesOn)` in a call over `relays` relays. */
async function inCall(relays, script, scene) {
  const gateway = await Gateway.start(config, { relays });
  try {
    const call = await openCall(gateway, relays, script);
    const goesOn = async (what) => {
      const proof = await until(
        `the conversation goes on ${what}`,
        async () => (await call.goesOn()).isAlive,
        () => call.talk.evidence(),
        RECOVERY_LIMIT_MS,
      );
      assert.ok(proof);
      const { remoteAudio } = await call.talk.view();
      await call.talk.until(`the answer is heard ${what}`, (view) => view.remoteAudio.energy > remoteAudio.energy);
    };
    await goesOn("before anything happens");
    await scene(call, gateway, goesOn);
    await call.talk.end();
  } finally {
    await gateway.stop();
  }
}

test("the only relay is killed, started again, replaced and re-keyed, and the call goes on", () =>
  inCall(1, true, async (_call, gateway, goesOn) => {
    const [relay] = gateway.relays;
    await relay.kill();
    await relay.start();
    await goesOn("after kill -9 and restart");

    const old = relay.process;
    await relay.start();
    await until("the old process is gone", () => old.exit, () => `${old.output}\n${relay.process.output}`);
    assert.deepEqual(old.exit, { code: 0, signal: null });
    await goesOn("after the sockets were handed over");

    await rotateKeys(gateway.control);
    await rotateKeys(gateway.control);
    await relay.kill();
    await relay.start();
    await goesOn("after two rotations and a restart");
  }));

test("a page with the script leaves a dead relay and one that drains", () =>
  inCall(2, true, async (call, gateway, goesOn) => {
    assert.equal(call.candidates.length, 2, "two relays in the answer");
    const [first, second] = gateway.relays;
    await first.kill();
    await goesOn("after the death of the first relay");
    await first.start();

    const stopped = second.process.stop();
    await goesOn("while the second relay drains");
    assert.deepEqual(await stopped, { code: 0, signal: null });
    await goesOn("on the first relay alone");
  }));

test("a client without the script outlives either of its relays", () =>
  inCall(2, false, async (_call, gateway, goesOn) => {
    const [first, second] = gateway.relays;
    await first.kill();
    await goesOn("after the death of the first relay");
    await first.start();
    await goesOn("with both relays again");
    await second.kill();
    await goesOn("after the death of the second relay");
  }));
