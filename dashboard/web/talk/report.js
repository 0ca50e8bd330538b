// What the browser measures of its own side of the call, from getStats. The reading is pure; the sending is
// not.

const SHORTEST_WINDOW_MS = 500;
const KEPT_READINGS = 8;
const EMPTY = { mediaPlayout: null, inbound: null, pair: null, source: null };

/** Picks the entries that matter out of an RTCStatsReport (or any iterable of [id, stats]). */
export function pickStats(report) {
  const picked = { ...EMPTY };
  let selectedPair = null;
  const pairs = new Map();
  for (const [id, stats] of report) {
    if (stats.type === "media-playout") picked.mediaPlayout = stats;
    else if (stats.type === "inbound-rtp" && stats.kind === "audio") picked.inbound = stats;
    else if (stats.type === "media-source" && stats.kind === "audio") picked.source = stats;
    else if (stats.type === "candidate-pair") pairs.set(id, stats);
    else if (stats.type === "transport") selectedPair = stats.selectedCandidatePairId ?? selectedPair;
  }
  // Firefox has no selectedCandidatePairId on the transport; it marks the pair.
  picked.pair =
    pairs.get(selectedPair) ?? [...pairs.values()].find((pair) => pair.selected || pair.nominated) ?? null;
  return picked;
}

/**
 * Means over the time between two readings, in milliseconds; a figure that is not known is undefined. Totals
 * since the start of the call would hide what changed in this turn.
 */
export function measure(now, before = EMPTY) {
  return {
    roundTripMs: milliseconds(now.pair?.currentRoundTripTime),
    jitterBufferMs: meanDelay(now.inbound, before.inbound, "jitterBufferDelay", "jitterBufferEmittedCount"),
    playoutMs: meanDelay(now.mediaPlayout, before.mediaPlayout, "totalPlayoutDelay", "totalSamplesCount"),
    captureMs: meanDelay(now.source, before.source, "totalCaptureDelay", "totalSamplesCaptured"),
    packetsReceived: now.inbound?.packetsReceived,
    packetsLost: now.inbound?.packetsLost,
    samplesReceived: now.inbound?.totalSamplesReceived,
    concealedSamples: audiblyConcealed(now.inbound),
    remoteAudioEnergy: now.inbound?.totalAudioEnergy,
    remoteAudioSeconds: now.inbound?.totalSamplesDuration,
  };
}

/** Silence is played between answers too, where nothing is sent; that hides no loss. */
function audiblyConcealed(inbound) {
  if (inbound?.concealedSamples === undefined) return undefined;
  return inbound.concealedSamples - (inbound.silentConcealedSamples ?? 0);
}

/** The message for the gateway. Unknown figures are left out, not sent as zero. */
export function clientReport(measured) {
  const message = { type: "client.report" };
  const fields = {
    round_trip_ms: measured.roundTripMs,
    jitter_buffer_ms: measured.jitterBufferMs,
    playout_ms: measured.playoutMs,
    capture_ms: measured.captureMs,
  };
  for (const [name, value] of Object.entries(fields)) {
    if (Number.isFinite(value)) message[name] = Math.round(value * 1000) / 1000;
  }
  return message;
}

/** Share of packets lost, 0 to 1, or undefined before the first packet. */
export function lossShare({ packetsReceived, packetsLost }) {
  const expected = packetsReceived + Math.max(0, packetsLost);
  return expected > 0 ? Math.max(0, packetsLost) / expected : undefined;
}

/** Share of played samples that the browser had to invent, 0 to 1, or undefined before the first. */
export function concealedShare({ samplesReceived, concealedSamples }) {
  return samplesReceived > 0 ? concealedSamples / samplesReceived : undefined;
}

/** The reading to compare with: long enough ago that audio has flowed since, yet of this turn. */
export function baseline(history, at) {
  return history.findLast((reading) => at - reading.at >= SHORTEST_WINDOW_MS) ?? history[0];
}

/** Reads a peer connection's statistics, one reading at a time, and hands each to `onMeasured`. */
export class StatsReader {
  #connection;
  #track;
  #onMeasured;
  #history = [];
  #busy = false;
  #timer;

  constructor(connection, microphoneTrack, onMeasured, everyMs = 1000) {
    this.#connection = connection;
    this.#track = microphoneTrack;
    this.#onMeasured = onMeasured;
    this.#timer = setInterval(() => this.read(), everyMs);
  }

  async read() {
    if (this.#busy || this.#timer === null) return;
    this.#busy = true;
    try {
      const now = { ...pickStats(await this.#connection.getStats()), at: performance.now() };
      const measured = measure(now, baseline(this.#history, now.at));
      measured.captureMs ??= trackLatency(this.#track);
      this.#history = [...this.#history, now].slice(-KEPT_READINGS);
      if (this.#timer !== null) this.#onMeasured(measured);
    } finally {
      this.#busy = false;
    }
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

/**
 * The device's own figure where getStats has none: Media Capture Extensions in ms, else the settings in
 * seconds.
 */
export function trackLatency(track) {
  return track?.stats?.averageLatency || milliseconds(track?.getSettings?.().latency || undefined);
}

function meanDelay(now, before, delay, count) {
  const counted = (now?.[count] ?? 0) - (before?.[count] ?? 0);
  if (!(counted > 0) || now[delay] === undefined) return undefined;
  return milliseconds((now[delay] - (before?.[delay] ?? 0)) / counted);
}

const milliseconds = (seconds) => (Number.isFinite(seconds) ? seconds * 1000 : undefined);
