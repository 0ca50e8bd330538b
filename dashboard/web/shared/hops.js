// The hops of a turn: their words, and the geometry of the waterfall. Pure.

/** Who can make a hop shorter. `shape` repeats the colour for eyes that cannot tell colours apart. */
export const OWNERS = {
  client: { label: "Your device", shape: "circle" },
  network: { label: "Network", shape: "diamond" },
  gateway: { label: "Gateway", shape: "square" },
  provider: { label: "Provider", shape: "triangle" },
  setting: { label: "Setting", shape: "ring" },
};
const UNKNOWN_OWNER = { label: "Other", shape: "square" };

const HOPS = {
  capture: ["Capture", "Microphone to your network card"],
  uplink: ["Uplink", "You to the relay"],
  relay_in: ["Relay in", "Relay to the media server"],
  jitter: ["Jitter wait", "Waiting for late or reordered packets"],
  decode: ["Decode", "Opus to samples"],
  endpointing: ["Endpointing", "Silence waited for, to be sure you had finished"],
  stt: ["Speech to text", "Until your words were known"],
  policy: ["Policy", "Admission, guardrails and routing"],
  model: ["Model", "Until the model's first output"],
  aggregation: ["Aggregation", "Until there was a speakable piece of text"],
  tts: ["Text to speech", "Until the first sample of the voice"],
  pacing: ["Pacing", "Waiting for the next packet's moment"],
  encode: ["Encode", "Samples to Opus"],
  relay_out: ["Relay out", "Media server to the relay"],
  downlink: ["Downlink", "Relay to you"],
  playout: ["Playout", "Your browser's jitter buffer and loudspeaker"],
  unattributed: ["Unattributed", "What no hop explains"],
};

export const ownerOf = (owner) => (Object.hasOwn(OWNERS, owner) ? OWNERS[owner] : UNKNOWN_OWNER);
export const hopLabel = (hop) => (Object.hasOwn(HOPS, hop) ? HOPS[hop][0] : hop.replaceAll("_", " "));
export const hopMeaning = (hop) => (Object.hasOwn(HOPS, hop) ? HOPS[hop][1] : "");

/** The turn in a `turn.measured` message, or null if the message is not one. */
export function readTurn(message) {
  if (message?.type !== "turn.measured" || !Number.isInteger(message.turn)) return null;
  if (!isDuration(message.mouth_to_ear_ms) || !Array.isArray(message.hops)) return null;
  if (!message.hops.every((hop) => typeof hop?.hop === "string" && isDuration(hop.duration_ms))) return null;
  return {
    turn: message.turn,
    totalMs: message.mouth_to_ear_ms,
    hops: message.hops.map(({ hop, owner, certainty, duration_ms, overlapped_ms, stretches }) => ({
      hop,
      owner: Object.hasOwn(OWNERS, owner) ? owner : "other",
      estimated: certainty === "estimated",
      durationMs: duration_ms,
      overlappedMs: isDuration(overlapped_ms) ? overlapped_ms : 0,
      besides: besides(stretches),
    })),
    breaches: breaches(message.breaches),
  };
}

/** What took more than its budget; an older gateway does not say. */
function breaches(list) {
  if (!Array.isArray(list)) return [];
  return list
    .filter((breach) => typeof breach?.subject === "string")
    .filter((breach) => isDuration(breach.spent_ms) && isDuration(breach.budget_ms))
    .map(({ subject, spender, spent_ms, budget_ms }) => ({
      subject,
      spender: typeof spender === "string" ? spender : null,
      spentMs: spent_ms,
      budgetMs: budget_ms,
    }));
}

/** A broken budget in words: what, how much of how much, and for the whole which hop spent it. */
export function breachText({ subject, spender, spentMs, budgetMs }) {
  const isWhole = subject === "whole";
  const what = isWhole ? "the turn" : hopLabel(subject).toLowerCase();
  const by = isWhole && spender ? `, spent by ${hopLabel(spender).toLowerCase()}` : "";
  return `${what} took ${formatMs(spentMs)} of ${formatMs(budgetMs)}${by}`;
}

/** When a hop was at work while another one was waited for. */
function besides(stretches) {
  if (!Array.isArray(stretches)) return [];
  return stretches
    .filter((part) => part?.overlapped === true && isDuration(part.start_ms) && isDuration(part.duration_ms))
    .map((part) => ({ startMs: part.start_ms, durationMs: part.duration_ms }));
}

/**
 * Bars of a turn on a common axis, in percent of it. The axis is as long as the longer of the stated total
 * and the sum of the hops, so a message that contradicts itself is drawn, not hidden.
 */
export function layoutTurn(turn) {
  const sumMs = turn.hops.reduce((sum, hop) => sum + hop.durationMs, 0);
  const axisMs = Math.max(turn.totalMs, sumMs) || 1;
  let startMs = 0;
  const bars = turn.hops.map((hop) => {
    const ghosts = hop.besides.map((part) => ({
      left: percent(Math.min(part.startMs, axisMs), axisMs),
      width: percent(Math.min(part.durationMs, Math.max(0, axisMs - part.startMs)), axisMs),
    }));
    const place = { left: percent(startMs, axisMs), width: percent(hop.durationMs, axisMs) };
    const bar = { ...hop, startMs, ...place, ghosts };
    startMs += hop.durationMs;
    return bar;
  });
  return {
    bars,
    sumMs,
    axisMs,
    ticks: axisTicks(axisMs),
    gapMs: turn.totalMs - sumMs,
    owners: ownerShares(turn),
  };
}

/** What each owner took, largest first. */
export function ownerShares(turn) {
  const sums = new Map();
  for (const hop of turn.hops) sums.set(hop.owner, (sums.get(hop.owner) ?? 0) + hop.durationMs);
  return [...sums]
    .map(([owner, durationMs]) => ({
      owner,
      durationMs,
      share: turn.totalMs ? durationMs / turn.totalMs : 0,
    }))
    .sort((a, b) => b.durationMs - a.durationMs);
}

/** Round figures along an axis, at most seven, the first at zero. */
export function axisTicks(axisMs) {
  const rough = axisMs / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const count = Math.floor(axisMs / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => {
    const valueMs = Number((index * step).toPrecision(6));
    return { valueMs, left: percent(valueMs, axisMs) };
  });
}

/** The middle of the totals, or null without turns. */
export function medianTotal(turns) {
  if (turns.length === 0) return null;
  const totals = turns.map((turn) => turn.totalMs).sort((a, b) => a - b);
  const middle = totals.length >> 1;
  return totals.length % 2 ? totals[middle] : (totals[middle - 1] + totals[middle]) / 2;
}

/** The longest hop, in words a newcomer understands. */
export function verdict(turn) {
  const longest = turn.hops.reduce(
    (best, hop) => (hop.durationMs > (best?.durationMs ?? 0) ? hop : best),
    null,
  );
  if (!longest) return "";
  const share = Math.round((100 * longest.durationMs) / (turn.totalMs || longest.durationMs));
  return `Longest: ${hopLabel(longest.hop).toLowerCase()}, ${formatMs(longest.durationMs)} (${share} %).`;
}

/** Milliseconds as text: tenths below ten, whole above, thousands parted by a thin space. */
export function formatMs(ms) {
  if (ms > 0 && ms < 0.05) return "<0.1 ms";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return `${groupThousands(Math.round(ms))} ms`;
}

export const groupThousands = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, "\u2009");

const percent = (part, whole) => (100 * part) / whole;
const isDuration = (value) => Number.isFinite(value) && value >= 0;
