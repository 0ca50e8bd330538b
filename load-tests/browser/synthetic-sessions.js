// Sessions that nobody speaks in, with figures as real ones have them. Everything follows from the seed and from time.
const HOPS = [
  ["capture", "client", 20, 40, "estimated"],
  ["uplink", "network", 24, 80, "estimated"],
  ["relay_in", "gateway", 0.2, 5, "measured"],
  ["jitter", "gateway", 20, 60, "measured"],
  ["decode", "gateway", 0.1, 5, "measured"],
  ["endpointing", "setting", 330, 600, "measured"],
  ["stt", "provider", 60, 200, "measured"],
  ["policy", "gateway", 1.4, 20, "measured"],
  ["model", "provider", 190, 600, "measured"],
  ["aggregation", "gateway", 22, 100, "measured"],
  ["tts", "provider", 90, 250, "measured"],
  ["pacing", "gateway", 9, 20, "measured"],
  ["encode", "gateway", 0.2, 5, "measured"],
  ["relay_out", "gateway", 0.2, 5, "measured"],
  ["downlink", "network", 24, 80, "estimated"],
  ["playout", "client", 48, 120, "estimated"],
];
const WHOLE_MS = 1500;
const PROVIDERS = [
  ["openai", "eu", "gpt-realtime"],
  ["openai", "us", "gpt-realtime"],
  ["local", null, "local"],
  ["cascade-a", "eu", "llama-voice"],
  ["cascade-b", "us", "llama-voice"],
];
const TENANTS = [
  ["acme", "support", "tier-one"],
  ["acme", "sales", null],
  ["globex", "clinic", "reception"],
  ["initech", "helpdesk", "printer-expert"],
];
const ENDS = ["client_closed", "hangup", "transport_lost", "provider_failed", "time_limit"];
const WORDS = [
  ["I would like to move my appointment to Thursday.", "Of course. Thursday at ten or at half past two?"],
  ["Half past two, please.", "Done: Thursday at half past two. Is there anything else?"],
  ["What does it cost if I cancel?", "Nothing, up to a day before. After that it is twenty dollars."],
  ["And where do I park?", "Behind the building. The barrier opens with the code I have just sent you."],
];

/** Mulberry32: small, seeded, good enough to look random. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class Synthetic {
  sessions = new Map();
  revision = 0;
  #gone = [];
  #timer = null;

  /** `live` and `ended` sessions at the start. `approvals` is what the feed says of them, null for nothing. */
  constructor({ live = 40, ended = 12, seed = 7, approvals = 2, words = true, now = Date.now() } = {}) {
    this.draw = random(seed);
    this.approvals = approvals;
    this.words = words;
    this.now = now;
    for (let index = 0; index < live; index++) this.begin({ agedMs: 5000 + this.draw() * 400_000 });
    for (let index = 0; index < ended; index++) this.begin({ agedMs: 400_000 }).end();
  }

  /** A new session that has lasted `agedMs`; its people take `pace` times as long as others from turn to turn. */
  begin({ agedMs = 0, pace = 1, ...given } = {}) {
    const session = new SyntheticSession(this, { agedMs, pace, given });
    this.sessions.set(session.summary.id, session);
    return session;
  }

  forget(id) {
    this.sessions.delete(id);
    this.#gone.push([++this.revision, id]);
  }

  /** Lets time pass: by itself from now on, or with `step` by hand. */
  run(everyMs = 250) {
    this.#timer = setInterval(() => this.step(everyMs), everyMs);
    this.#timer.unref?.();
  }

  stop() {
    clearInterval(this.#timer);
  }

  step(ms) {
    this.now += ms;
    for (const session of this.sessions.values()) session.pass(ms);
  }

  changedSince(revision) {
    const changed = [];
    for (const { summary } of this.sessions.values()) if (summary.seq > revision) changed.push(summary);
    return { changed, gone: this.#gone.filter(([at]) => at > revision).map(([, id]) => id) };
  }

  list(query) {
    const state = query.get("state") ?? "live";
    const limit = Number(query.get("limit") ?? 50);
    const items = [...this.sessions.values()]
      .map(({ summary }) => summary)
      .filter((summary) => state === "all" || (summary.state === "ended") === (state === "ended"));
    return { items: items.slice(0, limit), next: null };
  }
}

class SyntheticSession {
  turns = [];
  network = [];
  levels = { every_ms: 100, from_ms: 0, caller: [], agent: [] };
  marks = [];
  transcript = [];
  events = [];
  voices = null;
  #nextTurn = 2500;
  #speech = null;
  /** What the turns took, the shortest first. */
  #durations = [];

  constructor(fleet, { agedMs, pace, given }) {
    this.fleet = fleet;
    this.pace = pace;
    this.draw = random(Math.floor(fleet.draw() * 2 ** 32));
    const [provider, region, model] = this.#one(PROVIDERS);
    const [organisation, team, agent] = this.#one(TENANTS);
    const hex = (length) => Array.from({ length }, () => Math.floor(this.draw() * 16).toString(16)).join("");
    this.quality = this.draw() < 0.07 ? 4 : this.draw() < 0.15 ? 2 : 1;
    this.summary = {
      id: `sess_${hex(20)}`,
      call: `rtc_${hex(20)}`,
      organisation,
      team,
      key: `key_${hex(6)}`,
      agent,
      model,
      provider,
      region,
      transport: "webrtc",
      purpose: "conversation",
      state: "open",
      revision_number: 4,
      revision_hash: hex(12),
      began_at: (fleet.now - agedMs) / 1000,
      answers: 0,
      cost_nano_dollars: 0,
      ended_at: null,
      end_reason: null,
      duration_ms: 0,
      turns: 0,
      mouth_to_ear_p50_ms: null,
      mouth_to_ear_p95_ms: null,
      breaches: 0,
      worst_hop: null,
      mos: null,
      loss_ratio: null,
      interruptions: 0,
      relay: `relay-${1 + Math.floor(this.draw() * 3)}`,
      trace_id: hex(32),
      seq: 0,
      ...given,
    };
    this.event("connected", "info", "The call is open.", { transport: "webrtc", candidate: "udp/host" });
    this.pass(agedMs);
  }

  #one(list) {
    return list[Math.floor(this.draw() * list.length)];
  }

  #seq() {
    return (this.summary.seq = ++this.fleet.revision);
  }

  get atMs() {
    return this.summary.duration_ms;
  }

  /** Lets `ms` pass: a second of network each second, levels, and a turn every few seconds. */
  pass(ms) {
    if (this.summary.state === "ended") return;
    const from = this.atMs;
    const to = from + ms;
    for (let second = Math.floor(from / 1000) + 1; second * 1000 <= to; second++) this.#second(second * 1000);
    while (this.#nextTurn <= to) {
      this.turn(this.#nextTurn);
      this.#nextTurn += this.pace * (6000 + this.draw() * 9000);
    }
    this.summary.duration_ms = to;
    this.#levelsUntil(to);
    this.#closeSpeech(to);
  }

  #second(atMs) {
    const lost = this.draw() < 0.02 * this.quality ** 2 ? 1 + Math.floor(this.draw() * 3 * this.quality) : 0;
    const recovered = Math.min(lost, Math.floor(this.draw() * (lost + 1)));
    const roundTrip = 18 * this.quality + this.draw() * 6 + 3 * Math.sin(atMs / 9000);
    const loss = (lost - recovered) / 50;
    const mos = Math.max(1, Math.min(4.4, 4.35 - roundTrip / 400 - 14 * loss - 0.12 * (this.quality - 1)));
    this.network.push({
      seq: this.#seq(),
      at_ms: atMs,
      round_trip_ms: roundTrip,
      uplink: {
        packets: 50 - lost,
        lost,
        recovered,
        concealed_ms: 20 * (lost - recovered),
        jitter_ms: this.quality * (1 + this.draw() * 2),
        buffer_ms: 18 + this.quality * 4 + this.draw() * 4,
      },
      downlink: {
        packets: 50,
        lost: lost > 2 ? 1 : 0,
        concealed_ms: lost > 2 ? 20 : 0,
        jitter_ms: this.quality * (0.6 + this.draw()),
        buffer_ms: 36 + this.quality * 7 + this.draw() * 5,
        playout_ms: 21,
      },
      pair: "udp/host",
      mos,
    });
    const all = this.network;
    this.summary.mos = all.slice(-10).reduce((sum, { mos: one }) => sum + one, 0) / Math.min(10, all.length);
    const totals = all.reduce(
      (sum, { uplink }) => [sum[0] + uplink.lost, sum[1] + uplink.packets + uplink.lost],
      [0, 0],
    );
    this.summary.loss_ratio = totals[0] / totals[1];
  }

  /** A turn whose mouth closed at `atMs`. `slow` is added to the model. */
  turn(atMs = this.atMs, { slow = this.draw() < 0.05 * this.quality ? 500 + this.draw() * 700 : 0 } = {}) {
    const { summary } = this;
    let start = 0;
    const isCascade = summary.provider !== "openai";
    const hops = HOPS.filter(([hop]) => isCascade || !["stt", "aggregation", "tts"].includes(hop)).map(
      ([hop, owner, usual, budget, certainty]) => {
        const spread = hop === "model" ? 0.7 : 0.35;
        const network = owner === "network" ? this.quality : 1;
        const duration =
          usual * network * (1 - spread / 2 + this.draw() * spread) + (hop === "model" ? slow : 0);
        const overlapped = hop === "stt" ? 240 : hop === "tts" ? 30 : 0;
        const stretches = [{ start_ms: start, duration_ms: duration, overlapped: false }];
        if (overlapped)
          stretches.unshift({
            start_ms: Math.max(0, start - overlapped),
            duration_ms: Math.min(start, overlapped),
            overlapped: true,
          });
        start += duration;
        return {
          hop,
          owner,
          certainty,
          duration_ms: duration,
          overlapped_ms: overlapped,
          ahead_ms: hop === "stt" ? 900 : 0,
          error_ms: certainty === "estimated" ? 6 * this.quality : 0,
          budget_ms: budget,
          stretches,
        };
      },
    );
    const breaches = hops
      .filter(({ duration_ms, budget_ms }) => duration_ms > budget_ms)
      .map(({ hop, owner, duration_ms, budget_ms, certainty }) => ({
        subject: hop,
        spender: hop,
        owner,
        budget_ms,
        spent_ms: duration_ms,
        certain: certainty === "measured",
      }));
    if (start > WHOLE_MS) {
      const worst = hops.reduce((a, b) =>
        b.duration_ms - b.budget_ms > a.duration_ms - a.budget_ms ? b : a,
      );
      breaches.unshift({
        subject: "whole",
        spender: worst.hop,
        owner: worst.owner,
        budget_ms: WHOLE_MS,
        spent_ms: start,
        certain: false,
      });
    }
    const turn = {
      seq: 0,
      turn: this.turns.length + 1,
      at_ms: atMs,
      mouth_to_ear_ms: start,
      certainty: "estimated",
      error_ms: 9 * this.quality,
      budget_ms: WHOLE_MS,
      provider: summary.provider,
      region: summary.region,
      model: summary.model,
      interrupted: false,
      cost_nano_dollars: Math.round(1_000_000 + this.draw() * 4_000_000),
      hops,
      unattributed_ms: 0,
      overrun_ms: 0,
      unknown: [],
      breaches,
    };
    this.turns.push(turn);
    this.#said(turn);
    this.#tally(turn);
    turn.seq = this.#seq();
    return turn;
  }

  #said(turn) {
    this.#closeSpeech(Infinity, turn.at_ms - 300);
    const index = this.turns.length;
    const [question, answer] = WORDS[index % WORDS.length];
    const spoke = Math.min(turn.at_ms, 1400 + this.draw() * 1600);
    const answers = turn.at_ms + turn.mouth_to_ear_ms;
    const speaks = 2200 + this.draw() * 2400;
    this.marks.push({
      seq: this.#seq(),
      number: this.marks.length + 1,
      at_ms: turn.at_ms - spoke,
      until_ms: turn.at_ms,
      lane: "caller",
      kind: "speech",
      stop_ms: null,
    });
    const isCut = this.draw() < 0.12;
    const until = answers + (isCut ? speaks * 0.6 : speaks);
    const mark = {
      seq: this.#seq(),
      number: this.marks.length + 1,
      at_ms: answers,
      until_ms: null,
      lane: "agent",
      kind: "speech",
      stop_ms: null,
    };
    this.marks.push(mark);
    this.#speech = { mark, until };
    if (isCut) {
      const stop = 40 + this.draw() * 50;
      this.marks.push({
        seq: this.#seq(),
        number: this.marks.length + 1,
        at_ms: until - stop,
        until_ms: until + 900,
        lane: "caller",
        kind: "interruption",
        stop_ms: stop,
      });
      turn.interrupted = true;
      this.summary.interruptions++;
      this.event(
        "interruption",
        "info",
        `The caller cut in; the agent was silent after ${Math.round(stop)} ms.`,
        { stop_ms: stop },
        until,
      );
    }
    if (this.fleet.words) {
      const item = `item_${index}`;
      this.transcript.push({
        seq: this.#seq(),
        item: `${item}_c`,
        at_ms: turn.at_ms - spoke,
        who: "caller",
        text: question,
        state: "complete",
      });
      this.transcript.push({
        seq: this.#seq(),
        item: `${item}_a`,
        at_ms: answers,
        who: "agent",
        text: answer,
        state: isCut ? "cut" : "complete",
      });
    }
    for (const breach of turn.breaches) {
      if (breach.subject !== "whole") continue;
      this.event(
        "breach",
        "warning",
        `Turn ${turn.turn} took ${Math.round(breach.spent_ms)} ms of ${breach.budget_ms} ms; ${breach.spender} spent most.`,
        { turn: turn.turn, subject: "whole" },
        answers,
      );
    }
    if (this.draw() < 0.08)
      this.event(
        "tool_call",
        "info",
        "The agent called the tool look_up_booking; it took 214 ms.",
        { tool: "look_up_booking" },
        turn.at_ms + 200,
      );
    if (this.draw() < 0.02)
      this.event(
        "failover",
        "warning",
        "The provider did not answer; the next of the route took over.",
        { to: "cascade-b" },
        turn.at_ms + 100,
      );
  }

  #closeSpeech(nowMs, latestMs = Infinity) {
    if (!this.#speech || this.#speech.until > nowMs) return;
    const { mark, until } = this.#speech;
    mark.until_ms = Math.max(mark.at_ms, Math.min(until, latestMs));
    mark.seq = this.#seq();
    this.#speech = null;
  }

  #tally(turn) {
    const { summary } = this;
    const sorted = this.#durations;
    const longer = sorted.findIndex((ms) => ms > turn.mouth_to_ear_ms);
    sorted.splice(longer < 0 ? sorted.length : longer, 0, turn.mouth_to_ear_ms);
    const rank = (share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
    summary.turns = summary.answers = this.turns.length;
    summary.mouth_to_ear_p50_ms = rank(0.5);
    summary.mouth_to_ear_p95_ms = rank(0.95);
    summary.cost_nano_dollars += turn.cost_nano_dollars;
    if (!turn.breaches.length) return;
    summary.breaches++;
    summary.worst_hop = turn.breaches[0].spender;
    summary.badness = this.turns.slice(-10).filter(({ breaches }) => breaches[0]?.subject === "whole").length;
  }

  #levelsUntil(nowMs) {
    const { every_ms, caller, agent } = this.levels;
    const speaks = { caller: [], agent: [] };
    for (const { lane, at_ms, until_ms } of this.marks) {
      const until = Math.min(nowMs, until_ms ?? Infinity);
      let index = Math.max(caller.length, Math.ceil(at_ms / every_ms));
      for (; index * every_ms < until; index++) speaks[lane][index] = true;
    }
    const loud = (lane, atMs) => {
      if (!speaks[lane][Math.round(atMs / every_ms)]) return Math.round(this.draw() * 4);
      return Math.round(
        28 + 45 * Math.abs(Math.sin(atMs / 230)) * (0.5 + this.draw() / 2) + 12 * this.draw(),
      );
    };
    while ((caller.length + 1) * every_ms <= nowMs) {
      const atMs = caller.length * every_ms;
      caller.push(loud("caller", atMs));
      agent.push(loud("agent", atMs));
    }
  }

  event(kind, severity, text, detail = {}, atMs = this.atMs) {
    this.events.push({
      seq: this.#seq(),
      number: this.events.length + 1,
      at_ms: atMs,
      kind,
      severity,
      text,
      detail,
    });
  }

  end(reason = this.#one(ENDS)) {
    this.event("ended", "info", `The call ended: ${reason.replaceAll("_", " ")}.`, { reason });
    Object.assign(this.summary, {
      state: "ended",
      end_reason: reason,
      ended_at: this.summary.began_at + this.atMs / 1000,
    });
    this.#seq();
    return this;
  }

  /** The record as the API gives it, with what changed after `revision`. */
  record(revision) {
    const changed = (list) => list.filter(({ seq }) => seq > revision);
    const { every_ms, caller, agent } = this.levels;
    const from = revision === 0 ? 0 : (this.levelsAt?.get(revision) ?? 0);
    this.levelsAt = new Map([[this.summary.seq, caller.length]]);
    return {
      version: 1,
      revision: this.summary.seq,
      session: this.summary,
      recording: { words: this.fleet.words, voices: this.voices !== null },
      turns: changed(this.turns),
      network: changed(this.network),
      levels: { every_ms, from_ms: from * every_ms, caller: caller.slice(from), agent: agent.slice(from) },
      marks: changed(this.marks),
      transcript: changed(this.transcript),
      events: changed(this.events),
    };
  }
}
