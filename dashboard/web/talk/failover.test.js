import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { MOST_MOVES_TO_PROVE, PROVE_AFTER_MS, WAITS_MS, relayNotice, watchRelays } from "./failover.js";

const LONGEST_MS = 20_000;
/** Half of the time within which calm restarts spread: the calls below draw 0.5. */
const SPREAD_MS = 500;

/** As much of RTCPeerConnection as an ICE restart touches. */
class FakeConnection extends EventTarget {
  iceConnectionState = "connected";
  signalingState = "stable";
  localDescription = null;
  restarts = 0;
  transport = new EventTarget();
  sctp = { transport: { iceTransport: this.transport } };

  restartIce() {
    this.restarts += 1;
  }

  async setLocalDescription(description) {
    if (this.signalingState === "closed") throw new Error("closed");
    this.signalingState = description?.type === "rollback" ? "stable" : "have-local-offer";
    this.localDescription = { sdp: `offer ${this.restarts}` };
  }

  async setRemoteDescription({ sdp }) {
    assert.equal(this.signalingState, "have-local-offer");
    this.signalingState = "stable";
    this.answer = sdp;
  }

  become(state) {
    this.iceConnectionState = state;
    this.dispatchEvent(new Event("iceconnectionstatechange"));
  }

  usesAnotherPath() {
    this.transport.dispatchEvent(new Event("selectedcandidatepairchange"));
  }
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

/** Lets every promise that can go on do so. */
async function settle() {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function pass(ms) {
  await settle();
  mock.timers.tick(ms);
  await settle();
}

/** A watched call; `reply` answers the requests of the watch, one after the other, the last one for ever. */
function watched(...replies) {
  const call = { connection: new FakeConnection(), channel: new EventTarget(), requests: [], states: [] };
  const fetch = async (url, request) => {
    call.requests.push({ url, ...request });
    const reply = replies.length > 1 ? replies.shift() : replies[0];
    if (reply instanceof Error) throw reply;
    reply.meanwhile?.(call);
    return new Response(reply.body, { status: reply.status ?? 200 });
  };
  call.tell = (type) =>
    call.channel.dispatchEvent(new MessageEvent("message", { data: JSON.stringify({ type }) }));
  const options = { callUrl: "/calls/rtc_1", token: () => "vg_key", fetch, random: () => 0.5 };
  call.watch = watchRelays(call.connection, call.channel, {
    ...options,
    onState: (state) => call.states.push(state),
  });
  return call;
}

test("a lost relay is answered by an ICE restart through the call's URL at once", async () => {
  const call = watched({ body: "answer" });
  call.tell("relay.lost");
  await settle();
  assert.deepEqual(call.states, ["moving"]);
  const [{ url, method, headers, body }] = call.requests;
  assert.deepEqual([url, method, body], ["/calls/rtc_1", "PATCH", "offer 1"]);
  assert.deepEqual(headers, { Authorization: "Bearer vg_key", "Content-Type": "application/sdp" });
  assert.equal(call.connection.answer, "answer");
  call.connection.usesAnotherPath();
  await settle();
  assert.deepEqual(call.states, ["moving", "steady"]);
  assert.equal(call.watch.moves, 1);
});

test("a relay that drains is left within a second and nobody is told of trouble", async () => {
  const call = watched({ body: "answer" });
  call.tell("relay.draining");
  await settle();
  assert.equal(call.requests.length, 0, "not all calls of a relay at the same moment");
  await pass(500);
  assert.equal(call.requests.length, 1);
  call.connection.usesAnotherPath();
  await pass(LONGEST_MS);
  assert.deepEqual([call.states, call.requests.length], [[], 1]);
});

test("a relay that dies while it drains is left at once", async () => {
  const call = watched({ body: "answer" });
  call.tell("relay.draining");
  await settle();
  call.tell("relay.lost");
  await settle();
  assert.equal(call.requests.length, 1);
});

test("a disconnected client restarts again and again, with longer waits, until it is connected", async () => {
  const call = watched(new TypeError("no network"), { status: 503 }, { body: "answer" });
  call.connection.become("disconnected");
  await settle();
  assert.deepEqual([call.requests.length, call.connection.signalingState], [1, "stable"]);
  await pass(WAITS_MS[1]);
  assert.deepEqual([call.requests.length, call.connection.signalingState], [2, "stable"]);
  await pass(WAITS_MS[2]);
  assert.equal(call.requests.length, 3);
  call.connection.become("connected");
  await settle();
  assert.deepEqual(call.states, ["moving", "steady"]);
});

test("attempts are bounded and the person is told when all were in vain", async () => {
  const call = watched(new TypeError("no network"));
  call.connection.become("disconnected");
  for (const wait of WAITS_MS) await pass(wait);
  await pass(LONGEST_MS);
  assert.equal(call.requests.length, WAITS_MS.length);
  assert.deepEqual(call.states, ["moving", "lost"]);
  call.tell("relay.lost");
  await settle();
  assert.equal(call.requests.length, WAITS_MS.length + 1, "a notice tries again");
});

test("a gateway that no longer knows the call, or refuses the token, is not asked again", async () => {
  for (const status of [401, 404, 405]) {
    const call = watched({ status });
    call.connection.become("disconnected");
    await pass(LONGEST_MS);
    assert.deepEqual([call.requests.length, call.states.at(-1)], [1, "lost"], String(status));
    assert.equal(call.connection.signalingState, "stable");
  }
});

test("a path that does not come to life is given up for another try", async () => {
  const call = watched({ body: "answer" });
  call.connection.become("disconnected");
  await pass(4_000);
  await pass(WAITS_MS[1]);
  assert.equal(call.requests.length, 2);
});

test("a relay lost during a restart needs another restart, a disconnection does not", async () => {
  const call = watched({ body: "answer" });
  call.tell("relay.lost");
  await settle();
  call.connection.become("disconnected");
  call.connection.become("connected");
  await settle();
  assert.equal(call.requests.length, 1);
  call.tell("relay.lost");
  await settle();
  call.tell("relay.lost");
  await settle();
  assert.equal(call.requests.length, 3);
});

test("a relay lost while the gateway answers is answered as soon as it has", async () => {
  const meanwhile = ({ tell }) => tell("relay.lost");
  const call = watched({ body: "outdated answer", meanwhile }, { body: "answer" });
  call.tell("relay.draining");
  await pass(SPREAD_MS);
  assert.deepEqual([call.requests.length, call.states], [2, ["moving"]]);
});

/** A call that was heard again after an urgent restart, just now. */
async function rescued(...replies) {
  const call = watched({ body: "answer" }, ...replies);
  call.tell("relay.lost");
  await settle();
  call.connection.usesAnotherPath();
  await settle();
  assert.deepEqual([call.requests.length, call.states.splice(0)], [1, ["moving", "steady"]]);
  return call;
}

async function passLong() {
  for (let times = 0; times < 3; times++) await pass(LONGEST_MS);
}

test("two seconds after an urgent restart one calm restart proves every relay and nobody is told", async () => {
  const call = await rescued({ body: "calm answer" });
  await pass(PROVE_AFTER_MS - 1);
  await pass(SPREAD_MS);
  assert.equal(call.requests.length, 1);
  await pass(1);
  await pass(SPREAD_MS);
  assert.deepEqual([call.requests.length, call.connection.answer], [2, "calm answer"]);
  await passLong();
  assert.deepEqual([call.requests.length, call.watch.moves, call.states], [2, 2, []]);
});

test("the calm restart waits until the call is heard", async () => {
  const call = watched({ body: "answer" });
  call.connection.become("disconnected");
  await settle();
  call.connection.usesAnotherPath();
  await passLong();
  assert.equal(call.requests.length, 1, "a path is in use and nothing is heard on it yet");
  call.connection.become("connected");
  call.connection.become("completed");
  await pass(PROVE_AFTER_MS);
  await pass(SPREAD_MS);
  await passLong();
  assert.deepEqual([call.requests.length, call.states], [2, ["moving", "steady"]]);
});

test("another urgent restart puts the calm one off and still only one follows", async () => {
  const call = await rescued({ body: "answer" });
  await pass(PROVE_AFTER_MS - 1);
  call.tell("relay.lost");
  await settle();
  call.connection.usesAnotherPath();
  await pass(PROVE_AFTER_MS - 1);
  await pass(SPREAD_MS);
  assert.equal(call.requests.length, 2);
  await passLong();
  await passLong();
  assert.equal(call.requests.length, 3);
});

test("a calm restart that has just begun becomes the urgent one a lost relay needs", async () => {
  const call = await rescued({ body: "answer" });
  await pass(PROVE_AFTER_MS);
  call.tell("relay.lost");
  await settle();
  assert.deepEqual([call.requests.length, call.states], [2, ["moving"]]);
  call.connection.usesAnotherPath();
  await settle();
  await passLong();
  await passLong();
  assert.equal(call.requests.length, 3, "and has a calm one of its own");
});

test("a connection lost before its calm restart is repaired at once instead", async () => {
  const call = await rescued({ body: "answer" });
  await pass(PROVE_AFTER_MS);
  call.connection.become("disconnected");
  await settle();
  assert.deepEqual([call.requests.length, call.states], [2, ["moving"]]);
});

test("a restart for a relay that drains stands in for the calm one", async () => {
  const call = await rescued({ body: "answer" });
  call.tell("relay.draining");
  await pass(SPREAD_MS);
  assert.equal(call.requests.length, 2);
  await passLong();
  assert.deepEqual([call.requests.length, call.states], [2, []]);
});

test("a calm restart the gateway refuses has the attempts of any other and is not made up for", async () => {
  const call = await rescued({ status: 503 });
  await pass(PROVE_AFTER_MS);
  await pass(SPREAD_MS);
  for (const wait of WAITS_MS) await pass(wait);
  await passLong();
  assert.equal(call.requests.length, 1 + WAITS_MS.length);
  assert.deepEqual([call.states, call.connection.signalingState], [[], "stable"]);
});

test("a disconnection while a refused calm restart waits for its next attempt is repaired at once", async () => {
  const call = await rescued({ status: 503 });
  await pass(PROVE_AFTER_MS);
  await pass(SPREAD_MS);
  assert.equal(call.requests.length, 2);
  call.connection.become("disconnected");
  await settle();
  assert.deepEqual([call.requests.length, call.states], [3, ["moving"]]);
});

test("a call that was stopped, or whose connection is closed, has no calm restart", async () => {
  const stopped = await rescued({ body: "answer" });
  stopped.watch.stop();
  const closed = await rescued({ body: "answer" });
  closed.connection.iceConnectionState = "closed";
  await passLong();
  assert.deepEqual([stopped.requests.length, closed.requests.length], [1, 1]);
});

test("an urgent restart without an answer owes no calm one", async () => {
  const call = watched({ status: 404 });
  call.tell("relay.lost");
  await passLong();
  assert.equal(call.requests.length, 1);
});

test("a call that moves all the time keeps its last restarts for urgent ones", async () => {
  const call = watched({ body: "answer" });
  call.watch.moves = MOST_MOVES_TO_PROVE;
  call.tell("relay.lost");
  await settle();
  call.connection.usesAnotherPath();
  await passLong();
  assert.equal(call.requests.length, 1);
});

test("nothing happens after stop", async () => {
  const call = watched({ body: "answer" });
  call.tell("relay.draining");
  call.watch.stop();
  call.tell("relay.lost");
  call.connection.become("failed");
  await pass(LONGEST_MS);
  assert.deepEqual([call.requests, call.states], [[], []]);
});

test("a connection that was closed meanwhile is left alone", async () => {
  const call = watched({ body: "answer" });
  call.connection.signalingState = "closed";
  call.tell("relay.lost");
  await pass(LONGEST_MS);
  assert.equal(call.requests.length, 0);
});

test("only the two notices are notices", () => {
  assert.equal(relayNotice('{"type":"relay.lost"}'), "relay.lost");
  assert.equal(relayNotice('{"type":"relay.draining"}'), "relay.draining");
  for (const data of ['{"type":"turn.measured"}', "null", "", "{", "[]", new ArrayBuffer(2)])
    assert.equal(relayNotice(data), null);
});
