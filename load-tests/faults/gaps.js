// Holes in a stream of arrivals. Pure; times in milliseconds.

/** Packets a second of RTP with 20 ms frames. */
const PACKETS_PER_SECOND = 50;

/**
 * The longest interval without an arrival that overlaps `from`..`to`; `to` closes the last one. 20 ms is none at all.
 * Of packets that came more than once the first counts.
 */
export function longestGap(arrivals, from, to) {
  const seen = new Set();
  let longest = { ms: 0, at: null };
  let last = null;
  for (const { time, sequence } of [...arrivals].sort((a, b) => a.time - b.time)) {
    if (time > to || seen.has(sequence)) continue;
    seen.add(sequence);
    if (last !== null && time >= from && time - last > longest.ms) longest = { ms: time - last, at: last };
    last = time;
  }
  const open = to - (last ?? from);
  return open > longest.ms ? { ms: open, at: last, isOpen: true } : longest;
}

/** Every interval without an arrival of more than `least` milliseconds between two times, and the relay behind it. */
export function gapsAbove(least, arrivals, from, to) {
  const inside = arrivals.filter(({ time }) => time >= from && time <= to);
  return inside.flatMap(({ time, relay }, index) => {
    const ms = index > 0 ? time - inside[index - 1].time : 0;
    return ms > least ? [{ at: time - ms, ms, relay }] : [];
  });
}

/** Packets that left and never arrived, by sequence number. */
export function lost(sent, arrived, from, to) {
  const there = new Set(arrived.map(({ sequence }) => sequence));
  return sent.filter(({ time, sequence }) => time >= from && time < to && !there.has(sequence)).length;
}

/** Whether audio flows at the end: at least half of the packets of the last second. */
export const flowsAt = (arrivals, end) =>
  arrivals.filter(({ time }) => time > end - 1_000 && time <= end).length >= PACKETS_PER_SECOND / 2;

/** The relay by which most packets came between two times, or null. */
export function relayOf(arrivals, from, to) {
  const counts = new Map();
  for (const { time, relay } of arrivals)
    if (time >= from && time < to) counts.set(relay, (counts.get(relay) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
}

/**
 * The longest stretch of a recording that is much quieter than the tone that should fill it. `levels` are root mean
 * squares of windows of `windowMs`.
 */
export function quietStretch(levels, windowMs) {
  const usual = quantile(levels, 0.5);
  let longest = 0;
  let current = 0;
  for (const level of levels) {
    current = level < usual / 10 ? current + 1 : 0;
    longest = Math.max(longest, current);
  }
  return longest * windowMs;
}

/** Nearest rank; undefined of nothing. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
