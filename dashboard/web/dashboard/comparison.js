// Two groups of turns side by side: what differs, and whether that means anything. Pure.
import { plural, share } from "./format.js";
import { FEWEST_FOR_MIDDLE, FEWEST_FOR_TAIL, dominance } from "./distribution.js";
import { formatMs, hopLabel } from "../shared/hops.js";

/** What turns can be told apart by: the word of the API, its name, and what a group without a name is. */
export const SIDES = [
  { by: "provider", label: "Provider", nameless: "no provider" },
  { by: "region", label: "Region", nameless: "no region" },
  { by: "model", label: "Model", nameless: "no model" },
  { by: "route", label: "Route", nameless: "no route" },
  { by: "revision", label: "Configuration", nameless: "no revision" },
];

/** The name of a group as people read it. */
export function groupName({ name }, by) {
  if (name === null || name === undefined || name === "")
    return SIDES.find((side) => side.by === by)?.nameless ?? "unnamed";
  return by === "revision" ? `revision ${name}` : name;
}

/** What stands for a group in addresses and choices; nothing has no name. */
export const groupKey = ({ name }) => name ?? "∅";

/** The groups as choices, those with the most turns first, names deciding between equals. */
export const choices = (groups) =>
  [...groups].sort((a, b) => b.turns - a.turns || String(a.name).localeCompare(String(b.name)));

/**
 * Which two are compared: the wanted ones (by their keys) while they are there, else the two with the most turns. Null with fewer than
 * two groups.
 */
export function pickPair(groups, wanted = []) {
  if (groups.length < 2) return null;
  const ordered = choices(groups);
  const find = (key) => ordered.find((group) => groupKey(group) === key);
  const a = find(wanted[0]) ?? ordered.find((group) => group !== find(wanted[1]));
  const b = find(wanted[1]) === a ? undefined : find(wanted[1]);
  return [a, b ?? ordered.find((group) => group !== a)];
}

/**
 * Every hop either group has, in the order of hops (as they come), the whole last: its p50 and p95 in both and the
 * differences, b less a. A hop that one of them does not have is none there: null.
 */
export function differences(a, b) {
  const names = [...a.hops, ...b.hops].map(({ hop }) => hop);
  const find = (group, hop) => group.hops.find((candidate) => candidate.hop === hop) ?? null;
  const hops = order([...new Set(names)]).map((hop) => {
    const [inA, inB] = [find(a, hop), find(b, hop)];
    return { hop, owner: (inA ?? inB).owner, ...differ(inA, inB) };
  });
  return { hops, whole: differ(a.whole, b.whole) };
}

const ORDER = [
  "capture",
  "uplink",
  "relay_in",
  "jitter",
  "decode",
  "endpointing",
  "stt",
  "policy",
  "model",
  "aggregation",
  "tts",
  "pacing",
  "encode",
  "relay_out",
  "downlink",
  "playout",
  "unattributed",
];
const order = (hops) => hops.sort((a, b) => rank(a) - rank(b));
const rank = (hop) => (ORDER.includes(hop) ? ORDER.indexOf(hop) : ORDER.length);

function differ(a, b) {
  const less = (name) => (isKnown(a?.[name]) && isKnown(b?.[name]) ? b[name] - a[name] : null);
  return { a, b, p50: less("p50_ms"), p95: less("p95_ms") };
}

const isKnown = (value) => Number.isFinite(value);

/**
 * What can be concluded: `kind` is `few` (too few turns), `chance` (no difference that chance could not explain) or
 * `faster` (`winner` is the name of the faster); `sentence` says it, `tail` whether the 95th percentiles may be compared.
 */
export function conclude(a, b, [nameA, nameB]) {
  const turns = `${plural(a.turns, "turn")} of ${nameA}, ${plural(b.turns, "turn")} of ${nameB}`;
  const fewest = Math.min(a.turns, b.turns);
  const tail = fewest >= FEWEST_FOR_TAIL;
  if (fewest < FEWEST_FOR_MIDDLE) {
    const sentence = `Too few turns to conclude anything: ${turns}. At least ${FEWEST_FOR_MIDDLE} of each are needed.`;
    return { kind: "few", sentence, tail };
  }
  const found = dominance(a.whole.histogram, b.whole.histogram);
  const caution = tail
    ? ""
    : ` The slowest turns are too few to compare: the 95th percentile needs ${FEWEST_FOR_TAIL} turns of each.`;
  if (!found?.isBeyondChance) {
    return { kind: "chance", sentence: `No difference that chance could not explain (${turns}).${caution}`, tail };
  }
  const isA = found.share > 0.5;
  const [winner, loser] = isA ? [nameA, nameB] : [nameB, nameA];
  const often = share(isA ? found.share : 1 - found.share);
  const sentence = `${winner} answers faster: of a turn of each, the one of ${winner} is shorter in ${often} of all pairs (${turns}). ${cause(a, b, isA, loser)}${caution}`;
  return { kind: "faster", winner, sentence, tail };
}

/** The hop whose middle differs most in the direction of the whole. */
function cause(a, b, isA, loser) {
  const sign = isA ? 1 : -1;
  const most = differences(a, b)
    .hops.filter(({ p50 }) => p50 !== null && sign * p50 > 0)
    .sort((one, other) => sign * (other.p50 - one.p50))[0];
  if (!most) return "No single hop explains it.";
  return `Most of it is ${hopLabel(most.hop).toLowerCase()}: half of the turns of ${loser} wait ${formatMs(Math.abs(most.p50))} longer there.`;
}

/** A difference with its sign. A true minus, so that it is as wide as the plus. */
export function signedMs(ms) {
  if (ms === null) return "–";
  if (Math.abs(ms) < 0.05) return "±0 ms";
  return `${ms > 0 ? "+" : "−"}${formatMs(Math.abs(ms))}`;
}
