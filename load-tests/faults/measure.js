// One run of a scenario: calls, a fault, and what it did to each of them.
import { setTimeout as pause } from "node:timers/promises";
import { FaultCall } from "./calls.js";
import { flowsAt, gapsAbove, longestGap, lost, quietStretch, relayOf } from "./gaps.js";

/** A gap that began a little before the fault was told to happen belongs to it. */
const BEFORE_MS = 150;
/** For packets still on their way through the capture. */
const CAPTURE_LAG_MS = 300;
/** Windows of a recording. */
const WINDOW_MS = 10;
/** Gaps that are told one by one. */
const NOTABLE_MS = 60;

const now = () => performance.timeOrigin + performance.now();

export async function run(scenario, { browser, cluster, network, wire, nat }) {
  wire.forget();
  const calls = [];
  const remarks = [];
  try {
    for (let index = 0; index < scenario.calls; index++)
      calls.push(await FaultCall.open(browser, cluster, scenario));
    // Not always at the same phase of the timers.
    await pause(scenario.lead + 1_000 * Math.random());
    const before = now();
    const homes = calls.map(({ up }) => relayOf(wire.arrivals("node", "up", up), before - 1_000, before));
    const victim = cluster.relayAt(mostFrequent(homes)) ?? cluster.relays[0];
    const context = { cluster, network, nat, remark: (text) => remarks.push(text) };
    const struck = now();
    await scenario.strike(context, victim);
    await pause(scenario.watch);
    const end = now();
    await pause(CAPTURE_LAG_MS);
    const proofs = await Promise.all(calls.map((call) => call.goesOn()));
    const results = [];
    for (const [index, call] of calls.entries()) {
      const measured = await effects(call, wire, struck, end, scenario.moves);
      const isHit = scenario.relays.length === 1 || Boolean(scenario.moves) || homes[index] === victim.ip;
      results.push({ isHit, from: homes[index], ...measured, proof: proofs[index] });
    }
    await context.after?.();
    return { results, remarks };
  } finally {
    for (const call of calls) await call.close().catch(() => {});
  }
}

async function effects(call, wire, struck, end, moves = false) {
  const from = struck - BEFORE_MS;
  const up = wire.arrivals("node", "up", call.up);
  const sent = wire.arrivals("client", "up", call.up);
  const down = wire.arrivals("client", "down", call.down);
  const connection = await call.read().catch(() => ({ state: "closed" }));
  const { notices, states } = await call.seen().catch(() => ({ notices: [], states: [] }));
  const levels = (await call.levels().catch(() => [])).filter(({ at }) => at >= from && at <= end);
  const since = ({ at, ...rest }) => ({ ...rest, afterMs: Math.round(at - struck) });
  const gaps = (arrivals) =>
    gapsAbove(NOTABLE_MS, arrivals, from, end).map(({ ms, ...gap }) => since({ ...gap, ms: round(ms) }));
  return {
    to: relayOf(up, end - 1_000, end),
    uplink: { gapMs: round(longestGap(up, from, end).ms), lost: lost(sent, up, from, end - 100), gaps: gaps(up) },
    downlink: {
      // What is sent to an address the client has left passes its interface too: there only its ears count.
      gapMs: moves ? null : round(longestGap(down, from, end).ms),
      gaps: gaps(down),
      quietMs: Math.round(quietStretch(levels.map(({ level }) => level), WINDOW_MS)),
      concealedMs: Math.round(((connection.concealed ?? 0) - call.concealed) / 48),
    },
    isFlowing: flowsAt(up, end) && flowsAt(down, end),
    candidates: call.candidates.length,
    notices: notices.filter(({ at }) => at >= from).map(since),
    states: states.filter(({ at }) => at >= from).map(since),
  };
}

export const survived = ({ isFlowing, proof }) => isFlowing && proof.isAlive;

function mostFrequent(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

const round = (ms) => Math.round(ms * 10) / 10;
