import assert from "node:assert/strict";
import { test } from "node:test";
import {
  baseline,
  clientReport,
  concealedShare,
  lossShare,
  measure,
  pickStats,
  trackLatency,
} from "./report.js";

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
  const measured = measure(reading(1000 * 0.02 + 500 * 0.06, 1500, 0.0225), reading(1000 * 0.02, 1000, 0.5));
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
  assert.deepEqual(clientReport(measure(still, still)), { type: "client.report" });
  assert.deepEqual(clientReport(measure(pickStats(new Map()))), { type: "client.report" });
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
  assert.equal(measure(pickStats(report)).roundTripMs, 20);
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

test("the silence between answers is not counted as concealed", () => {
  const inbound = { concealedSamples: 900, silentConcealedSamples: 880 };
  assert.equal(measure({ ...pickStats([]), inbound }).concealedSamples, 20);
  assert.equal(measure({ ...pickStats([]), inbound: { concealedSamples: 7 } }).concealedSamples, 7);
  assert.equal(measure(pickStats([])).concealedSamples, undefined);
});
