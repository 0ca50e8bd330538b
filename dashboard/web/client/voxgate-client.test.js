import assert from "node:assert/strict";
import { mock, test } from "node:test";
import {
  askForCaptureTimes,
  baseline,
  beforeStamp,
  clockAnswer,
  clientReport,
  concealedShare,
  lossShare,
  figures,
  isNews,
  measure,
  played,
  pickStats,
  trackLatency,
} from "./voxgate-client.js";

const reading = (delay, count, roundTrip) =>
  pickStats(
    new Map(
      [
        { id: "T", type: "transport", selectedCandidatePairId: "P2" },
        { id: "P1", type: "candidate-pair", nominated: true, currentRoundTripTime: 9 },
        { id: "P2", type: "candidate-pair", nominated: true, currentRoundTripTime: roundTrip },
        { id: "V", type: "inbound-rtp", kind: "video", jitterBufferDelay: 99, jitterBufferEmittedCount: 1 },
        {
          id: "A",
          type: "inbound-rtp",
          kind: "audio",
          jitterBufferDelay: delay,
          jitterBufferEmittedCount: count,
        },
        { id: "O", type: "media-playout", totalPlayoutDelay: count * 0.03, totalSamplesCount: count },
      ].map((stats) => [stats.id, stats]),
    ),
  );

test("delays are means since the reading before, not since the start", () => {
  const measured = figures(reading(1000 * 0.02 + 500 * 0.06, 1500, 0.0225), reading(1000 * 0.02, 1000, 0.5));
  assert.equal(Math.round(measured.jitterBufferMs * 10), 600);
  assert.equal(Math.round(measured.playoutMs * 10), 300);
  assert.equal(measured.roundTripMs, 22.5);
});

test("a reading right after another is compared with an earlier one", () => {
  const history = [{ at: 0 }, { at: 1000 }, { at: 1900 }];
  assert.equal(baseline(history, 2000).at, 1000);
  assert.equal(baseline(history, 2400).at, 1900);
  assert.equal(baseline([{ at: 10 }], 20).at, 10);
  assert.equal(baseline([], 20), undefined);
});

test("unknown figures are left out of the report", () => {
  const still = reading(20, 1000, undefined);
  assert.deepEqual(clientReport(figures(still, still)), { type: "client.report" });
  assert.deepEqual(clientReport(figures(pickStats(new Map()))), { type: "client.report" });
});

test("known figures are in the report by the names the gateway reads", () => {
  const report = clientReport({ roundTripMs: 22.40004, jitterBufferMs: 48, playoutMs: 0, captureMs: 10 });
  assert.deepEqual(report, {
    type: "client.report",
    round_trip_ms: 22.4,
    jitter_buffer_ms: 48,
    playout_ms: 0,
    capture_ms: 10,
  });
});

test("a browser without a selected pair on the transport marks the pair itself", () => {
  const report = new Map([
    ["P1", { type: "candidate-pair", currentRoundTripTime: 1 }],
    ["P2", { type: "candidate-pair", selected: true, currentRoundTripTime: 0.02 }],
  ]);
  assert.equal(figures(pickStats(report)).roundTripMs, 20);
});

test("loss counts against what was sent and never goes below zero", () => {
  assert.equal(lossShare({ packetsReceived: 98, packetsLost: 2 }), 0.02);
  assert.equal(lossShare({ packetsReceived: 10, packetsLost: -3 }), 0);
  assert.equal(lossShare({ packetsReceived: 0, packetsLost: 0 }), undefined);
  assert.equal(lossShare({}), undefined);
});

test("concealment is a share of the samples", () => {
  assert.equal(concealedShare({ samplesReceived: 1000, concealedSamples: 5 }), 0.005);
  assert.equal(concealedShare({ samplesReceived: 0, concealedSamples: 0 }), undefined);
});

test("the device's latency is read in its own unit", () => {
  assert.equal(trackLatency({ stats: { averageLatency: 12 } }), 12);
  assert.equal(trackLatency({ getSettings: () => ({ latency: 0.01 }) }), 10);
  assert.equal(trackLatency({ getSettings: () => ({}) }), undefined);
  assert.equal(trackLatency(undefined), undefined);
});

test("a device's capture times need nothing taken off, and of a track that a page makes nobody knows what", () => {
  assert.equal(beforeStamp({ getSettings: () => ({ deviceId: "default", groupId: "ef8e" }) }), 0);
  assert.equal(beforeStamp({ getSettings: () => ({ deviceId: "WebAudio-d25f" }) }), undefined);
  assert.equal(beforeStamp(null), undefined);
  assert.deepEqual(clientReport({ beforeStampMs: 0 }), { type: "client.report", before_stamp_ms: 0 });
});

test("the silence between answers is not counted as concealed", () => {
  const inbound = { concealedSamples: 900, silentConcealedSamples: 880 };
  assert.equal(figures({ ...pickStats([]), inbound }).concealedSamples, 20);
  assert.equal(figures({ ...pickStats([]), inbound: { concealedSamples: 7 } }).concealedSamples, 7);
  assert.equal(figures(pickStats([])).concealedSamples, undefined);
});

test("packets are counted since the report before, and the pair is named by carrier and candidate", () => {
  const before = { packetsReceived: 100, packetsLost: 4, concealedSamples: 480 };
  const now = { packetsReceived: 150, packetsLost: 3, concealedSamples: 1440, pair: "udp/srflx", jitterMs: 2 };
  assert.deepEqual(clientReport(now, before), {
    type: "client.report",
    jitter_ms: 2,
    packets: 50,
    lost: 0,
    concealed_ms: 20,
    pair: "udp/srflx",
  });
  const stats = [
    ["P", { type: "candidate-pair", nominated: true, localCandidateId: "L" }],
    ["L", { type: "local-candidate", protocol: "udp", candidateType: "relay", relayProtocol: "tls" }],
  ];
  assert.equal(figures(pickStats(stats)).pair, "tls/relay");
});

test("a sample was played as long ago as samples were played since, wherever the timestamps wrap", () => {
  const heard = { packet: 0xffff_fe00, sample: 0x40 };
  const at = (rtpTimestamp, timestamp = 5_000) => played({ rtpTimestamp, timestamp }, heard, 1.7e12);
  assert.deepEqual(at(0xffff_fe00), { at: 5_000 + (0x200 + 0x40) / 48, error: 10 });
  assert.deepEqual(at(0x1c0), { at: 5_010 - (0x1c0 - 0x40) / 48, error: 20 }, "a packet behind it is decoded early");
  assert.equal(at(0xffff_fa40), null, "the packet before");
  assert.equal(at(0xffff_fe00, 1.7e12 + 5_000).at, 5_012, "a clock that counts from 1970");
  assert.equal(played(undefined, heard, 0), null);
  assert.equal(played({ timestamp: 5 }, heard, 0), null, "a browser that does not tell timestamps");
});

test("what is lost, invented, moved, known for the first time or on another way is news", () => {
  const told = { type: "client.report", round_trip_ms: 100, jitter_ms: 2, packets: 50, lost: 0, concealed_ms: 0, pair: "udp/host" };
  assert.ok(!isNews(told, told));
  assert.ok(isNews(told, null), "the first one");
  for (const change of [{ lost: 1 }, { concealed_ms: 10 }, { round_trip_ms: 126 }, { jitter_ms: 13 }, { pair: "tcp/host" }, { playout_ms: 0 }])
    assert.ok(isNews({ ...told, ...change }, told), JSON.stringify(change));
  for (const change of [{ packets: 250 }, { round_trip_ms: 76 }, { jitter_ms: 11 }])
    assert.ok(!isNews({ ...told, ...change }, told), JSON.stringify(change));
  const { jitter_ms, ...without } = told;
  assert.ok(!isNews(without, { ...told, jitter_ms }), "what is not known any more");
});

/** A connection whose channel keeps what is sent on it. */
function stand({ source, channel = {} } = {}) {
  const sent = [];
  const events = new EventTarget();
  const told = Object.assign(events, {
    readyState: "open",
    bufferedAmount: 0,
    send: (text) => sent.push(JSON.parse(text)),
    ...channel,
  });
  const connection = {
    connectionState: "connected",
    createDataChannel: () => told,
    getStats: async () => new Map(),
    getSenders: () => [],
    getReceivers: () => [{ track: { kind: "audio" }, getSynchronizationSources: () => [source()].filter(Boolean) }],
  };
  const ask = (message) => events.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  return { connection, ask, sent };
}

test("the time is told at once, from when the question came to when the answer left", (t) => {
  const { connection, ask, sent } = stand();
  const measuring = measure(connection);
  t.after(() => measuring.stop());
  ask({ type: "clock.ask", question: 7 });
  const [{ type, question, received_ms, replied_ms }] = sent;
  assert.deepEqual([type, question], ["clock.answer", 7]);
  assert.ok(received_ms <= replied_ms && replied_ms <= performance.now());
  ask({ type: "turn.planned" });
  ask("not for us");
  assert.equal(sent.length, 1);
});

test("the time of packets is told as long as the time of day runs as it did when the page began", () => {
  const answer = (timeOfDay) => clockAnswer(7, 100.5, 101.5, 1.79e12, timeOfDay);
  assert.deepEqual(answer(1.79e12 + 101), {
    question: 7,
    received_ms: 100.5,
    replied_ms: 101.5,
    unix_ms: 1.79e12 + 101.5,
  });
  assert.equal(answer(1.79e12 + 105).unix_ms, undefined, "the clock was set");
  assert.equal(answer(1.79e12 - 3_600_000).unix_ms, undefined, "by an hour");
});

test("audio is asked to say when it was captured, where the browser can and does not yet", () => {
  const uri = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
  const stand = (kind, ...extensions) => ({
    receiver: { track: { kind } },
    getHeaderExtensionsToNegotiate: () => structuredClone(extensions),
    setHeaderExtensionsToNegotiate(wanted) {
      this.wanted = wanted;
    },
  });
  const other = { uri: "urn:ietf:params:rtp-hdrext:sdes:mid", direction: "sendrecv" };
  const asked = [
    stand("audio", other, { uri, direction: "stopped" }),
    stand("audio", other, { uri, direction: "sendrecv" }),
    stand("audio", other),
    stand("video", { uri, direction: "stopped" }),
    { receiver: { track: { kind: "audio" } } },
  ];
  askForCaptureTimes({ getTransceivers: () => asked });
  const wanted = asked.map((transceiver) => transceiver.wanted);
  assert.deepEqual(wanted, [[other, { uri, direction: "sendrecv" }], undefined, undefined, undefined, undefined]);
  askForCaptureTimes({});
});

test("a track that is added later is asked too", (t) => {
  const connection = Object.assign(new EventTarget(), { getTransceivers: () => [], getStats: async () => new Map() });
  const measuring = measure(connection, { channel: false });
  t.after(() => measuring.stop());
  let asked = 0;
  connection.getTransceivers = () => {
    asked += 1;
    throw new Error("broken");
  };
  connection.dispatchEvent(new Event("negotiationneeded"));
  assert.equal(asked, 1);
});

test("a turn is told when its first sound was played, and without it when that never happens", (t) => {
  mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  t.after(() => mock.timers.reset());
  let now = 10_000;
  t.mock.method(performance, "now", () => now);
  let source = { timestamp: 9_000, rtpTimestamp: 0 };
  const { connection, ask, sent } = stand({ source: () => source });
  const measuring = measure(connection);
  ask({ type: "turn.ask", turn: 3, spoken: null, heard: { packet: 96_000, sample: 96_480 } });
  mock.timers.tick(5);
  assert.equal(sent.length, 0);
  source = { timestamp: 10_060, rtpTimestamp: 96_000 };
  mock.timers.tick(5);
  assert.equal(sent[0].heard_at_ms, 10_070);
  assert.ok(sent[0].heard_error_ms >= 10, "a browser that does not know its device says how wrong it may be");
  source = { timestamp: 10_060, rtpTimestamp: 96_000 };
  ask({ type: "turn.ask", turn: 4, spoken: null, heard: { packet: 192_000, sample: 192_000 } });
  now = 11_200;
  mock.timers.tick(5);
  assert.deepEqual(sent[1], { type: "client.turn", turn: 4 });
  measuring.stop();
});

test("readings without news go with the next answer, or after five seconds, and nothing is told twice", async (t) => {
  let now = 10_000;
  t.mock.method(performance, "now", () => now);
  const { connection, ask, sent } = stand();
  let packetsReceived = 0;
  connection.getStats = async () => new Map([["I", { type: "inbound-rtp", kind: "audio", packetsReceived, packetsLost: 0 }]]);
  const measuring = measure(connection);
  t.after(() => measuring.stop());
  const second = async () => {
    now += 1_000;
    packetsReceived += 50;
    await measuring.read();
  };
  await second();
  assert.deepEqual(sent.splice(0), [{ type: "client.report" }]);
  await second();
  await second();
  assert.deepEqual(sent, []);
  ask({ type: "clock.ask", question: 1 });
  assert.deepEqual(sent.splice(0).map(({ type, report }) => [type, report]), [["clock.answer", { packets: 100, lost: 0 }]]);
  ask({ type: "clock.ask", question: 2 });
  assert.equal(sent.splice(0)[0].report, undefined);
  await second();
  ask({ type: "turn.ask", turn: 3, question: 3, spoken: null, heard: null });
  const [{ type, turn, clock, report }] = sent.splice(0);
  assert.deepEqual([type, turn, clock.question, clock.replied_ms, report.packets], ["client.turn", 3, 3, now, 50]);
  for (let seconds = 0; seconds < 4; seconds++) await second();
  assert.deepEqual(sent, []);
  await second();
  assert.deepEqual(sent, [{ type: "client.report", packets: 250, lost: 0 }]);
});

test("nothing a browser does wrong reaches the page", async (t) => {
  const broken = () => {
    throw new Error("broken");
  };
  const { connection, ask } = stand({ source: broken, channel: { send: broken } });
  const measuring = measure({ ...connection, getStats: async () => broken(), getSenders: broken });
  t.after(() => measuring.stop());
  ask({ type: "clock.ask", question: 1 });
  await measuring.read();
  const none = measure({ ...connection, createDataChannel: broken });
  await none.read();
  none.stop();
  measure(null).stop();
});

test("without a channel the figures are posted, one request at a time", async (t) => {
  const requests = [];
  let answer;
  t.mock.method(globalThis, "fetch", (url, request) => {
    requests.push({ url, ...request });
    return new Promise((resolve) => (answer = resolve));
  });
  let now = 10_000;
  t.mock.method(performance, "now", () => now);
  const { connection } = stand();
  const report = { url: "https://gateway/v1/realtime/calls/rtc_1/report", token: "ek_1" };
  const measuring = measure(connection, { channel: false, report });
  t.after(() => measuring.stop());
  await measuring.read();
  await measuring.read();
  assert.equal(requests.length, 1);
  assert.equal(requests[0].headers.Authorization, "Bearer ek_1");
  assert.equal(JSON.parse(requests[0].body).type, "client.report");
  answer(new Response());
  await new Promise(setImmediate);
  await measuring.read();
  assert.equal(requests.length, 1, "nothing is new");
  now += 5_000;
  await measuring.read();
  assert.equal(requests.length, 2);
});
