// What is drawn where more things happened than there are places for: none is left out for being old. Pure.

/** Things closer than this cannot be told apart. */
const APART_PX = 4;

/** How many milliseconds are too few to tell things apart, in `view` on `width` pixels. */
export const apartMs = (view, width) => ((view.toMs - view.fromMs) * APART_PX) / Math.max(1, width);

/**
 * One of `entries`, which are in the order of time, for every place of `apart` milliseconds: the one for which `weight` is greatest, the
 * later of two that weigh the same, as `{ entry, count }` with how many it stands for. Places begin at the beginning of the
 * session, so that the same ones are drawn while the view moves along.
 */
export function thinned(entries, apart, weight) {
  const kept = [];
  let place = null;
  for (const entry of entries) {
    const here = Math.floor(entry.at_ms / apart);
    const last = kept.at(-1);
    if (here !== place) kept.push({ entry, count: 1 });
    else {
      last.count++;
      if (weight(entry) >= weight(last.entry)) last.entry = entry;
    }
    place = here;
  }
  return kept;
}

/**
 * Stretches `{ at_ms, until_ms, kind }` in the order of time, those of a kind that are less than `apart` milliseconds from each other as one,
 * with how many it is: `{ first, at_ms, until_ms, kind, count }`. `openMs` is where one ends that goes on.
 */
export function joined(stretches, apart, openMs) {
  const found = [];
  const newest = new Map();
  for (const first of stretches) {
    const { at_ms, until_ms, kind } = first;
    const before = newest.get(kind);
    if (before && at_ms - (before.until_ms ?? openMs) < apart) {
      before.count++;
      if (until_ms === null || before.until_ms === null) before.until_ms = null;
      else before.until_ms = Math.max(before.until_ms, until_ms);
      continue;
    }
    const next = { first, at_ms, until_ms, kind, count: 1 };
    newest.set(kind, next);
    found.push(next);
  }
  return found;
}
