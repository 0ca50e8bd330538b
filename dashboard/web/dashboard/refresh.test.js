import assert from "node:assert/strict";
import { test } from "node:test";
import { keepFresh } from "./refresh.js";

/** A world whose time stands until it is told to pass, and questions that are answered by hand. */
function still() {
  let now = 0;
  let visible = true;
  let onVisible = () => {};
  const timers = new Map();
  const asked = [];
  const [shown, failed] = [[], []];
  const world = {
    now: () => now,
    setTimer: (act, ms) => {
      const name = {};
      timers.set(name, { act, at: now + ms });
      return name;
    },
    clearTimer: (name) => timers.delete(name),
    isVisible: () => visible,
    onVisible: (act) => {
      onVisible = act;
      return () => (onVisible = () => {});
    },
  };
  const load = (signal) => new Promise((answer, fail) => asked.push({ at: now, signal, answer, fail }));
  const fresh = keepFresh({
    load,
    everyMs: 5_000,
    onData: (data) => shown.push(data),
    onFailure: (failure) => failed.push(failure),
    world,
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  async function pass(ms) {
    const end = now + ms;
    for (;;) {
      const next = [...timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!next) break;
      timers.delete(next[0]);
      now = Math.max(now, next[1].at);
      next[1].act();
      await settle();
    }
    now = end;
    await settle();
  }
  const show = (isVisible) => {
    visible = isVisible;
    onVisible();
  };
  return { fresh, asked, shown, failed, pass, show, settle, timers };
}

test("it asks at once, and again some time after each answer", async () => {
  const { asked, shown, pass, settle } = still();
  await pass(0);
  asked[0].answer("a");
  await settle();
  await pass(4_999);
  assert.equal(asked.length, 1);
  await pass(1);
  assert.equal(asked.length, 2);
  assert.deepEqual(shown, ["a"]);
});

test("news are asked for soon, but never in a crowd", async () => {
  const { asked, fresh, pass, settle } = still();
  await pass(0);
  asked[0].answer();
  await settle();
  for (let news = 0; news < 50; news++) fresh.hurry();
  await pass(399);
  assert.equal(asked.length, 1);
  await pass(1);
  assert.equal(asked.length, 2);
});

test("news that come while an answer is on its way are asked for after it", async () => {
  const { asked, fresh, pass, settle } = still();
  await pass(0);
  fresh.hurry();
  await pass(100);
  asked[0].answer();
  await settle();
  await pass(400);
  assert.equal(asked.length, 2);
});

test("a gateway that answers slowly is left in peace in between", async () => {
  const { asked, fresh, pass, settle } = still();
  await pass(0);
  await pass(1_000);
  asked[0].answer();
  await settle();
  fresh.hurry();
  await pass(2_999);
  assert.equal(asked.length, 1);
  await pass(1);
  assert.equal(asked.length, 2);
});

test("the answer to an old question is not shown", async () => {
  const { asked, shown, fresh, pass, settle } = still();
  await pass(0);
  fresh.again();
  assert.ok(asked[0].signal.aborted);
  await pass(0);
  asked[1].answer("new");
  asked[0].answer("old");
  await settle();
  assert.deepEqual(shown, ["new"]);
});

test("a failure is told, and it is asked again", async () => {
  const { asked, failed, pass, settle } = still();
  await pass(0);
  asked[0].fail("away");
  await settle();
  assert.deepEqual(failed, ["away"]);
  await pass(5_000);
  assert.equal(asked.length, 2);
});

test("nobody is asked while nobody looks, and at once when somebody does", async () => {
  const { asked, show, pass, settle } = still();
  await pass(0);
  asked[0].answer();
  await settle();
  show(false);
  await pass(60_000);
  assert.equal(asked.length, 1);
  show(true);
  await pass(0);
  assert.equal(asked.length, 2);
});

test("after the end nothing is asked, shown or waited for", async () => {
  const { asked, shown, fresh, pass, settle, timers } = still();
  await pass(0);
  fresh.close();
  assert.ok(asked[0].signal.aborted);
  asked[0].answer("late");
  await settle();
  await pass(60_000);
  assert.deepEqual([shown.length, asked.length, timers.size], [0, 1, 0]);
});
