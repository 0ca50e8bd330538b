// The one time axis of a session: which stretch of it is looked at, in milliseconds since the session began. Pure.

/** Nothing is looked at closer than this. */
export const CLOSEST_MS = 250;

/** What is followed of a session that runs. */
export const FOLLOWED_MS = 60_000;

/** The whole of a session that has lasted `extentMs`. */
export const wholeView = (extentMs) => ({ fromMs: 0, toMs: Math.max(extentMs, 1000) });

/** The newest part of a session that runs. */
export function followedView(extentMs, lengthMs = FOLLOWED_MS) {
  const length = Math.max(CLOSEST_MS, lengthMs);
  const toMs = Math.max(extentMs, length);
  return { fromMs: toMs - length, toMs };
}

/** `view` closer (`factor` below one) or further, with what is at `atMs` staying where it is. */
export function zoomed(view, atMs, factor, extentMs) {
  const length = view.toMs - view.fromMs;
  const next = Math.max(CLOSEST_MS, Math.min(length * factor, wholeView(extentMs).toMs));
  const share = length > 0 ? (atMs - view.fromMs) / length : 0.5;
  const fromMs = atMs - share * next;
  return inside({ fromMs, toMs: fromMs + next }, extentMs);
}

/** `view` moved by `byMs`. */
export const panned = (view, byMs, extentMs) =>
  inside({ fromMs: view.fromMs + byMs, toMs: view.toMs + byMs }, extentMs);

/** `view` moved on by as many of its lengths as bring what is at `atMs`, behind it, into it. */
export function onward(view, atMs, extentMs) {
  const length = view.toMs - view.fromMs;
  return panned(view, length * Math.ceil((atMs - view.toMs) / length), extentMs);
}

/** The stretch between two moments, in whatever order; at least the closest. */
export function between(aMs, bMs, extentMs) {
  const middle = (aMs + bMs) / 2;
  const half = Math.max(CLOSEST_MS, Math.abs(aMs - bMs)) / 2;
  return inside({ fromMs: middle - half, toMs: middle + half }, extentMs);
}

/** `view`, moved if `fromMs` to `toMs` is not in it, further away if it is too short. */
export function showing(view, fromMs, toMs, extentMs) {
  if (view.fromMs <= fromMs && toMs <= view.toMs) return view;
  const length = Math.max(view.toMs - view.fromMs, (toMs - fromMs) * 1.5);
  const middle = (fromMs + toMs) / 2;
  return inside({ fromMs: middle - length / 2, toMs: middle + length / 2 }, extentMs);
}

function inside({ fromMs, toMs }, extentMs) {
  const end = wholeView(extentMs).toMs;
  const length = Math.min(toMs - fromMs, end);
  const from = Math.max(0, Math.min(fromMs, end - length));
  return { fromMs: from, toMs: from + length };
}

/** Where a moment is, from 0 at the left end to 1 at the right; beyond them outside. */
export const shareOf = (view, atMs) => (atMs - view.fromMs) / (view.toMs - view.fromMs);

/** The moment at a share of the width. */
export const momentAt = (view, share) => view.fromMs + share * (view.toMs - view.fromMs);

/** Left end and width in percent of what of `fromMs` to `toMs` is in view; null if nothing is. */
export function placeOf(view, fromMs, toMs) {
  const left = Math.max(0, shareOf(view, fromMs));
  const right = Math.min(1, shareOf(view, toMs));
  if (right < 0 || left > 1 || right < left) return null;
  return { left: 100 * left, width: 100 * (right - left) };
}

const STEPS = [
  50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

/** Round moments in view, at least `apartPx` from each other, and how many digits after the second they need. */
export function timeTicks(view, widthPx, apartPx = 80) {
  const least = ((view.toMs - view.fromMs) * apartPx) / Math.max(1, widthPx);
  const step =
    STEPS.find((candidate) => candidate >= least) ?? STEPS.at(-1) * Math.ceil(least / STEPS.at(-1));
  const first = Math.ceil(view.fromMs / step);
  const last = Math.floor(view.toMs / step);
  const moments = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => (first + index) * step);
  return { moments, digits: step < 100 ? 2 : step < 1000 ? 1 : 0 };
}

/**
 * The greatest level of each of `columns` columns of the view: what is drawn stays the same height whichever way it is
 * looked at. `null` where nothing is known.
 */
export function peaks(values, { fromMs, everyMs }, view, columns) {
  const width = (view.toMs - view.fromMs) / columns;
  return Array.from({ length: columns }, (_, column) => {
    const start = view.fromMs + column * width;
    const first = Math.floor((start - fromMs) / everyMs);
    const last = Math.max(first, Math.ceil((start + width - fromMs) / everyMs) - 1);
    let peak = null;
    for (let index = Math.max(0, first); index <= last && index < values.length; index++) {
      if (peak === null || values[index] > peak) peak = values[index];
    }
    return peak;
  });
}
