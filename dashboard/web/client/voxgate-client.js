// Measures the caller's side of a call and tells the gateway, so that its waterfall knows what only a client can know.
//
//   import { measure } from "https://GATEWAY/client/voxgate-client.js";
//   const measuring = measure(peerConnection);
//   ...
//   measuring.stop();
//
// docs/client-script.md says what is sent. Reading and reckoning are pure; nothing here throws into the page.

const SHORTEST_WINDOW_MS = 500;
const KEPT_READINGS = 8;
/** A page without news says so this often. */
const LONGEST_SILENCE_MS = 5_000;
/** A time that moved by less, or by less than this share of itself, is no news. */
const LEAST_NEWS_MS = 10;
const NEWS_SHARE = 0.25;
const EMPTY = { mediaPlayout: null, inbound: null, pair: null, local: null, source: null };

/** RTP counts Opus at 48 kHz. */
const TICKS_PER_MS = 48;
/** Browsers hand decoded sound on in pieces of 10 ms, and say in front of which piece a packet was decoded. */
const PIECE_MS = 10;
const LOOK_MS = 5;
/** The gateway waits a second for what was heard. */
const LONGEST_LOOK_MS = 900;
const MOST_LOOKS = 4;
/** The device buffers of a browser that does not tell: one or two pieces. */
const UNKNOWN_DEVICE_MS = 20;
/** The RTP header extension by which a browser says when it captured a packet. None sends it unasked. */
const CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/** Date is told in whole milliseconds. */
const CLOCKS_APART_MS = 2;
/** A channel that takes nothing any more must not fill the page's memory. */
const MOST_BUFFERED = 65_536;

/** Picks the entries that matter out of an RTCStatsReport (or any iterable of [id, stats]). */
export function pickStats(report) {
  const picked = { ...EMPTY };
  let selectedPair = null;
  const pairs = new Map();
  const candidates = new Map();
  for (const [id, stats] of report) {
    if (stats.type === "media-playout") picked.mediaPlayout = stats;
    else if (stats.type === "inbound-rtp" && stats.kind === "audio") picked.inbound = stats;
    else if (stats.type === "media-source" && stats.kind === "audio") picked.source = stats;
    else if (stats.type === "candidate-pair") pairs.set(id, stats);
    else if (stats.type === "local-candidate") candidates.set(id, stats);
    else if (stats.type === "transport") selectedPair = stats.selectedCandidatePairId ?? selectedPair;
  }
  // Firefox has no selectedCandidatePairId on the transport; it marks the pair.
  picked.pair =
    pairs.get(selectedPair) ?? [...pairs.values()].find((pair) => pair.selected || pair.nominated) ?? null;
  picked.local = candidates.get(picked.pair?.localCandidateId) ?? null;
  return picked;
}

/**
 * Means over the time between two readings, in milliseconds; a figure that is not known is undefined. Totals
 * since the start of the call would hide what changed in this turn.
 */
export function figures(now, before = EMPTY) {
  return {
    roundTripMs: milliseconds(now.pair?.currentRoundTripTime),
    jitterBufferMs: meanDelay(now.inbound, before.inbound, "jitterBufferDelay", "jitterBufferEmittedCount"),
    playoutMs: meanDelay(now.mediaPlayout, before.mediaPlayout, "totalPlayoutDelay", "totalSamplesCount"),
    captureMs: meanDelay(now.source, before.source, "totalCaptureDelay", "totalSamplesCaptured"),
    packetsReceived: now.inbound?.packetsReceived,
    packetsLost: now.inbound?.packetsLost,
    samplesReceived: now.inbound?.totalSamplesReceived,
    concealedSamples: audiblyConcealed(now.inbound),
    jitterMs: milliseconds(now.inbound?.jitter),
    pair: pairName(now.local),
    remoteAudioEnergy: now.inbound?.totalAudioEnergy,
    remoteAudioSeconds: now.inbound?.totalSamplesDuration,
  };
}

/** Silence is played between answers too, where nothing is sent; that hides no loss. */
function audiblyConcealed(inbound) {
  if (inbound?.concealedSamples === undefined) return undefined;
  return inbound.concealedSamples - (inbound.silentConcealedSamples ?? 0);
}

/** How the packets travel, such as `udp/host`. */
function pairName(local) {
  const carrier = local?.relayProtocol ?? local?.protocol;
  return carrier && local.candidateType ? `${carrier}/${local.candidateType}` : undefined;
}

/**
 * The message for the gateway; `before` is what the last one was made of. Counters are told as what was added since,
 * unknown figures are left out, not sent as zero.
 */
export function clientReport(measured, before = null) {
  const message = { type: "client.report" };
  const added = (name) => Math.max(0, measured[name] - (before?.[name] ?? 0));
  const fields = {
    round_trip_ms: measured.roundTripMs,
    jitter_buffer_ms: measured.jitterBufferMs,
    playout_ms: measured.playoutMs,
    capture_ms: measured.captureMs,
    before_stamp_ms: measured.beforeStampMs,
    jitter_ms: measured.jitterMs,
  };
  if (before) {
    fields.packets = added("packetsReceived");
    fields.lost = added("packetsLost");
    fields.concealed_ms = added("concealedSamples") / TICKS_PER_MS;
  }
  for (const [name, value] of Object.entries(fields)) {
    if (Number.isFinite(value)) message[name] = Math.round(value * 1000) / 1000;
  }
  if (measured.pair) message.pair = measured.pair;
  return message;
}

/** Whether the gateway should know at once: something is wrong, or not as it was in the report before. */
export function isNews(report, told) {
  if (!told || report.lost > 0 || report.concealed_ms > 0 || report.pair !== told.pair) return true;
  return Object.keys(report)
    .filter((name) => name.endsWith("_ms") && name !== "concealed_ms")
    .some((name) => !(Math.abs(report[name] - told[name]) <= Math.max(LEAST_NEWS_MS, NEWS_SHARE * told[name])));
}

/**
 * The answer to a question about the time; both times on the clock of `performance.now()`, and since when that counts. Browsers stamp packets by the
 * time of day as it was when they first needed it. If that was set since the page began, nobody can tell how these two
 * clocks stand to each other.
 */
export function clockAnswer(question, receivedMs, repliedMs, timeOrigin, timeOfDay) {
  const answer = { question, received_ms: receivedMs, replied_ms: repliedMs };
  const unixMs = timeOrigin + repliedMs;
  if (Math.abs(timeOfDay - unixMs) <= CLOCKS_APART_MS) answer.unix_ms = unixMs;
  return answer;
}

/** Has the packets of audio say when they were captured, if the browser can and the offer is still to come. */
export function askForCaptureTimes(connection) {
  for (const transceiver of connection.getTransceivers?.() ?? []) {
    if (transceiver.receiver?.track?.kind !== "audio") continue;
    const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
    const captureTime = extensions.find(({ uri }) => uri === CAPTURE_TIME);
    if (captureTime?.direction !== "stopped") continue;
    captureTime.direction = "sendrecv";
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  }
}

/**
 * When a sample was handed on to be played, on the clock of `performance.now()`, and how wrong that may be: from the packet that was
 * decoded last (an RTCRtpSynchronizationSource). `null` before its time has come. Timestamps wrap.
 */
export function played(source, sample, timeOrigin) {
  if (!Number.isFinite(source?.rtpTimestamp) || !Number.isFinite(source.timestamp)) return null;
  const passed = (source.rtpTimestamp - sample.packet) | 0;
  if (passed < 0) return null;
  // Some browsers count from 1970, others from the beginning of the page.
  const at = source.timestamp > timeOrigin / 2 ? source.timestamp - timeOrigin : source.timestamp;
  const within = (sample.sample - sample.packet) | 0;
  // Behind the beginning of an answer a browser decodes a packet while it still hands on a piece of the one before, and stretches sound.
  const [early, error] = passed === 0 ? [0, PIECE_MS] : [PIECE_MS, 2 * PIECE_MS];
  return { at: at + early + (within - passed) / TICKS_PER_MS, error };
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
class StatsReader {
  #connection;
  #track;
  #onMeasured;
  #history = [];
  #busy = false;
  #timer;

  constructor(connection, track, onMeasured, everyMs) {
    this.#connection = connection;
    this.#track = track;
    this.#onMeasured = onMeasured;
    this.#timer = setInterval(() => this.read(), everyMs);
  }

  /** The newest figures; `undefined` before the first reading. */
  latest;

  async read() {
    if (this.#busy || this.#timer === null) return;
    this.#busy = true;
    try {
      const now = { ...pickStats(await this.#connection.getStats()), at: performance.now() };
      const measured = figures(now, baseline(this.#history, now.at));
      measured.captureMs ??= trackLatency(this.#track?.() ?? null);
      this.#history = [...this.#history, now].slice(-KEPT_READINGS);
      this.latest = measured;
      if (this.#timer !== null) this.#onMeasured(measured);
    } catch {
      // A connection that was closed has no figures.
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
 * @typedef {object} MeasureOptions
 * @property {RTCDataChannel | false} [channel] The open or opening channel `voxgate`, if the page has one; `false`: open
 *   none. Default: one is opened, which needs no new offer.
 * @property {{ url: string, token: string }} [report] Where figures go while there is no channel:
 *   `https://GATEWAY/v1/realtime/calls/CALL_ID/report`, and the secret or key the call was made with.
 * @property {MediaStreamTrack} [microphone] The caller's track. Default: the first audio track that is sent.
 * @property {() => number} [captureMs] For a page that makes the caller's track itself, such as with Web Audio: how long sound
 *   takes from the microphone to that track. Default: what the browser says of the track's device.
 * @property {() => number} [playoutMs] For a page that plays the answer itself, such as with Web Audio: how long sound takes
 *   from the remote track to the loudspeaker. Default: what the browser says of its own way.
 * @property {number} [everyMs] Time between two readings, 250 ms at the least. Default 1000.
 * @property {(measured: object) => void} [onMeasured] Is given each reading.
 */

/**
 * Measures a call until it is stopped or the connection is closed.
 *
 * @param {RTCPeerConnection} connection
 * @param {MeasureOptions} [options]
 * @returns {{ stop(): void, read(): Promise<void> }} `read` takes a reading at once, such as at the end of an answer.
 */
export function measure(connection, options = {}) {
  try {
    const measuring = new Measuring(connection, options);
    return { stop: () => measuring.stop(), read: () => measuring.read() };
  } catch {
    return { stop() {}, read: async () => {} };
  }
}

class Measuring {
  #connection;
  #options;
  #channel = null;
  #reader;
  /** The reading that was not told so far. */
  #waiting = null;
  /** The last report: what it was made of, itself, and when. */
  #told = { measured: null, report: null, atMs: -Infinity };
  #posting = false;
  #looks = 0;
  #isStopped = false;

  constructor(connection, options) {
    this.#connection = connection;
    this.#options = options;
    this.#askForCaptureTimes();
    connection.addEventListener?.("negotiationneeded", () => this.#askForCaptureTimes());
    if (options.channel !== false) this.#listen(options.channel ?? connection.createDataChannel("voxgate"));
    const everyMs = Math.max(250, options.everyMs ?? 1000);
    this.#reader = new StatsReader(connection, () => this.#microphone(), (read) => this.#measured(read), everyMs);
  }

  stop() {
    this.#isStopped = true;
    this.#reader.stop();
  }

  read() {
    return this.#reader.read();
  }

  #askForCaptureTimes() {
    try {
      askForCaptureTimes(this.#connection);
    } catch {
      // The mouth stays an estimate.
    }
  }

  #listen(channel) {
    this.#channel = channel;
    channel.addEventListener("message", ({ data }) => {
      const receivedMs = performance.now();
      try {
        if (!this.#isStopped) this.#answer(JSON.parse(data), receivedMs);
      } catch {
        // A message for somebody else.
      }
    });
  }

  #answer(message, receivedMs) {
    if (message.type === "clock.ask") {
      this.#sendWithReport({ type: "clock.answer", ...this.#clock(message, receivedMs) });
    } else if (message.type === "turn.ask") {
      this.#reader.read();
      if (message.heard) this.#lookFor(message, receivedMs);
      else this.#tellTurn(message, receivedMs, null);
    }
  }

  #clock({ question }, receivedMs) {
    return clockAnswer(question, receivedMs, performance.now(), performance.timeOrigin, Date.now());
  }

  /** Looks until the packet with the first sound is played. */
  #lookFor(asked, sinceMs) {
    if (this.#looks === MOST_LOOKS) return;
    this.#looks += 1;
    const look = () => {
      const played = this.#isStopped ? null : this.#played(asked.heard);
      const isOver = this.#isStopped || performance.now() - sinceMs > LONGEST_LOOK_MS;
      if (played === null && !isOver) return void setTimeout(look, LOOK_MS);
      this.#looks -= 1;
      if (!this.#isStopped) this.#tellTurn(asked, sinceMs, played);
    };
    look();
  }

  #played(heard) {
    try {
      const receiver = this.#connection.getReceivers().find(({ track }) => track?.kind === "audio");
      const [source] = receiver?.getSynchronizationSources?.() ?? [];
      return played(source, heard, performance.timeOrigin);
    } catch {
      return null;
    }
  }

  /** What is handed on is heard when it has passed the device, as far as the browser knows how long that takes. */
  #tellTurn(asked, receivedMs, played) {
    const message = { type: "client.turn", turn: asked.turn };
    if (Number.isInteger(asked.question)) message.clock = this.#clock(asked, receivedMs);
    if (played) {
      const deviceMs = this.#playoutMs();
      message.heard_at_ms = played.at + (deviceMs ?? 0);
      message.heard_error_ms = played.error + (deviceMs === undefined ? UNKNOWN_DEVICE_MS : 0);
    }
    this.#sendWithReport(message);
  }

  #playoutMs() {
    try {
      const { playoutMs } = this.#options;
      return playoutMs ? playoutMs() : this.#reader.latest?.playoutMs;
    } catch {
      return undefined;
    }
  }

  #microphone() {
    return this.#options.microphone ?? this.#sent();
  }

  #sent() {
    return this.#connection.getSenders().find(({ track }) => track?.kind === "audio")?.track ?? null;
  }

  #measured(measured) {
    if (this.#connection.connectionState === "closed") return this.stop();
    const told = { ...measured, playoutMs: this.#playoutMs() };
    told.beforeStampMs = beforeStamp(this.#sent());
    if (this.#options.captureMs) told.captureMs = told.beforeStampMs = this.#options.captureMs();
    this.#waiting = told;
    const report = clientReport(told, this.#told.measured);
    const isDue = performance.now() - this.#told.atMs >= LONGEST_SILENCE_MS || isNews(report, this.#told.report);
    if (isDue && (this.#send(report) || this.#post(report))) this.#reported(report);
    this.#options.onMeasured?.(measured);
  }

  #reported(report) {
    this.#told = { measured: this.#waiting, report, atMs: performance.now() };
    this.#waiting = null;
  }

  /** What there is to report goes with what is sent anyway: every message is a packet and an acknowledgement. */
  #sendWithReport(message) {
    const report = this.#waiting && clientReport(this.#waiting, this.#told.measured);
    if (report) message.report = { ...report, type: undefined };
    if (this.#send(message) && report) this.#reported(report);
  }

  #send(message) {
    if (this.#channel?.readyState !== "open" || this.#channel.bufferedAmount > MOST_BUFFERED) return false;
    try {
      this.#channel.send(JSON.stringify(message));
      return true;
    } catch {
      return false;
    }
  }

  /** One request at a time: what is not told now is in the next report. */
  #post(report) {
    const { url, token } = this.#options.report ?? {};
    if (!url || this.#channel?.readyState === "open" || this.#posting) return false;
    this.#posting = true;
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    fetch(url, { method: "POST", headers, body: JSON.stringify(report) })
      .catch(() => {})
      .finally(() => (this.#posting = false));
    return true;
  }
}

/**
 * The device's own figure where getStats has none: Media Capture Extensions in ms, else the settings in
 * seconds.
 */
export function trackLatency(track) {
  return track?.stats?.averageLatency || milliseconds(track?.getSettings?.().latency || undefined);
}

/**
 * How long before a browser takes the capture times of a track the microphone heard it: of a device's track it tells what the device
 * took, of a track that a page makes it takes the time when that is made. Only devices are in groups.
 */
export function beforeStamp(track) {
  return track?.getSettings?.().groupId === undefined ? undefined : 0;
}

function meanDelay(now, before, delay, count) {
  const counted = (now?.[count] ?? 0) - (before?.[count] ?? 0);
  if (!(counted > 0) || now[delay] === undefined) return undefined;
  return milliseconds((now[delay] - (before?.[delay] ?? 0)) / counted);
}

const milliseconds = (seconds) => (Number.isFinite(seconds) ? seconds * 1000 : undefined);
