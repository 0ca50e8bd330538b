// The hops of a turn: their words, and the geometry of the waterfall. Pure.

/** Who can make a hop shorter. `shape` repeats the colour for eyes that cannot tell colours apart. */
export const OWNERS = {
  client: { label: "Caller’s device", shape: "circle" },
  network: { label: "Network", shape: "diamond" },
  gateway: { label: "Gateway", shape: "square" },
  provider: { label: "Provider", shape: "triangle" },
  setting: { label: "Setting", shape: "ring" },
};
const UNKNOWN_OWNER = { label: "Other", shape: "square" };

const HOPS = {
  capture: ["Capture", "Microphone to the network card"],
  uplink: ["Uplink", "Caller to the relay, or to the gateway over WebSocket"],
  relay_in: ["Relay in", "Relay to the media server"],
  jitter: ["Jitter wait", "Waiting for late or reordered packets"],
  decode: ["Decode", "Opus to samples"],
  endpointing: ["Endpointing", "Silence waited for, to be sure the caller had finished"],
  stt: ["Speech to text", "Until the words were known"],
  policy: ["Policy", "Admission, guardrails and routing"],
  model: ["Model", "Until the model's first output"],
  aggregation: ["Aggregation", "Until there was a speakable piece of text"],
  tts: ["Text to speech", "Until the first sample of the voice"],
  pacing: ["Pacing", "Waiting for the next packet's moment"],
  encode: ["Encode", "Samples to Opus, or to a message over WebSocket"],
  relay_out: ["Relay out", "Media server to the relay"],
  downlink: ["Downlink", "Relay to the caller, or gateway to the caller over WebSocket"],
  playout: ["Playout", "The caller's jitter buffer and loudspeaker"],
  unattributed: ["Unattributed", "What no hop explains"],
};

export const ownerOf = (owner) => (Object.hasOwn(OWNERS, owner) ? OWNERS[owner] : UNKNOWN_OWNER);
export const hopLabel = (hop) => (Object.hasOwn(HOPS, hop) ? HOPS[hop][0] : hop.replaceAll("_", " "));
export const hopMeaning = (hop) => (Object.hasOwn(HOPS, hop) ? HOPS[hop][1] : "");

/** The turn in a `turn.measured` message, or null if the message is not one. */
export function readTurn(message) {
  return message?.type === "turn.measured" ? turnOf(message) : null;
}

/** A turn as a message or the record of a session tells it, or null if it is none. */
export function turnOf(told) {
  if (!Number.isInteger(told?.turn)) return null;
  if (!isDuration(told.mouth_to_ear_ms) || !Array.isArray(told.hops)) return null;
  if (!told.hops.every((hop) => typeof hop?.hop === "string" && isDuration(hop.duration_ms))) return null;
  return {
    turn: told.turn,
    totalMs: told.mouth_to_ear_ms,
    errorMs: atLeastZero(told.error_ms),
    budgetMs: isDuration(told.budget_ms) ? told.budget_ms : null,
    hops: [...told.hops, ...unattributed(told)].map(hopOf),
    unknown: Array.isArray(told.unknown) ? told.unknown.filter((hop) => typeof hop === "string") : [],
    breaches: breaches(told.breaches),
  };
}

const hopOf = (told) => ({
  hop: told.hop,
  owner: Object.hasOwn(OWNERS, told.owner) ? told.owner : "other",
  estimated: told.certainty === "estimated",
  durationMs: told.duration_ms,
  overlappedMs: atLeastZero(told.overlapped_ms),
  aheadMs: atLeastZero(told.ahead_ms),
  errorMs: atLeastZero(told.error_ms),
  budgetMs: isDuration(told.budget_ms) ? told.budget_ms : null,
  besides: besides(told.stretches),
});

/** A record keeps apart what no hop explains; a message has it among the hops. */
function unattributed({ unattributed_ms, certainty }) {
  if (!(unattributed_ms > 0)) return [];
  return [{ hop: "unattributed", owner: "gateway", certainty, duration_ms: unattributed_ms }];
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

/** What nobody saw, in words; empty if everything was. */
export function unknownText({ unknown = [] }) {
  if (!unknown.length) return "";
  const names = unknown.map((hop) => hopLabel(hop).toLowerCase());
  const list = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
  return `Not in the sum, since nobody can know it of this client: ${list}.`;
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
 * and the sum of the hops, so a message that contradicts itself is drawn, not hidden; it goes on to the budget if
 * that is near.
 */
export function layoutTurn(turn) {
  const sumMs = turn.hops.reduce((sum, hop) => sum + hop.durationMs, 0);
  const longestMs = Math.max(turn.totalMs, sumMs) || 1;
  const { budgetMs = null } = turn;
  const isNear = budgetMs > longestMs && budgetMs <= NEAR * longestMs;
  const axisMs = isNear ? budgetMs * 1.01 : longestMs;
  let startMs = 0;
  const bars = turn.hops.map((hop) => {
    const bar = layoutHop(hop, startMs, axisMs);
    startMs += hop.durationMs;
    return bar;
  });
  return {
    bars,
    sumMs,
    axisMs,
    budgetLeft: budgetMs !== null && budgetMs <= axisMs ? percent(budgetMs, axisMs) : null,
    ticks: axisTicks(axisMs),
    gapMs: turn.totalMs - sumMs,
    owners: ownerShares(turn),
  };
}

/** How far beyond the turn its budget may be for the axis to reach it. */
const NEAR = 1.6;

function layoutHop(hop, startMs, axisMs) {
  const within = (fromMs, lengthMs) => ({
    left: percent(Math.min(fromMs, axisMs), axisMs),
    width: percent(Math.max(0, Math.min(lengthMs, axisMs - fromMs)), axisMs),
  });
  const endMs = startMs + hop.durationMs;
  const fromMs = Math.max(0, endMs - (hop.errorMs ?? 0));
  return {
    ...hop,
    startMs,
    left: percent(startMs, axisMs),
    width: percent(hop.durationMs, axisMs),
    ghosts: hop.besides.map((part) => within(part.startMs, part.durationMs)),
    allowed: hop.budgetMs > 0 ? within(startMs, hop.budgetMs) : null,
    over: hop.budgetMs !== null && hop.durationMs > hop.budgetMs,
    whisker: hop.errorMs > 0 ? within(fromMs, endMs + hop.errorMs - fromMs) : null,
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
const atLeastZero = (value) => (isDuration(value) ? value : 0);
