// A distribution of times in buckets: where it is drawn, and what two of them say about each other. Pure.
//
// `bounds` are the upper ends of the buckets in milliseconds, rising; `histogram` has one count more than there are
// bounds, the last for whatever is longer than all of them.

/** Turns without which the middles of two groups are not compared. */
export const FEWEST_FOR_MIDDLE = 20;

/** Turns without which a 95th percentile is the whim of its slowest few: below it five turns or fewer decide. */
export const FEWEST_FOR_TAIL = 100;

/** |z| from which on chance is no explanation: once in a hundred looks at two equal groups it is passed all the same. */
const BEYOND_CHANCE = 2.576;

/** How many values a histogram holds. */
export const total = (histogram) => histogram.reduce((sum, count) => sum + count, 0);

/** The ends of bucket `index`. The last has no upper end: infinity. */
export const bucketEnds = (bounds, index) => [index === 0 ? 0 : bounds[index - 1], bounds[index] ?? Infinity];

/** The bucket in which the share `quantile` (0 to 1) of the values is reached, or null without a value. */
export function quantileBucket(histogram, quantile) {
  const needed = Math.max(1, Math.ceil(quantile * total(histogram)));
  let reached = 0;
  for (const [index, count] of histogram.entries()) {
    reached += count;
    if (reached >= needed) return index;
  }
  return null;
}

/** Values above `limit`, where the limit is an end of a bucket; null where it cuts a bucket that is not empty. */
export function countAbove(bounds, histogram, limit) {
  let above = 0;
  for (const [index, count] of histogram.entries()) {
    const [from, to] = bucketEnds(bounds, index);
    if (from >= limit) above += count;
    else if (to > limit && count > 0) return null;
  }
  return above;
}

/**
 * A logarithmic axis of milliseconds that holds all of `values`: `place(ms)` in percent, `ticks`. What is below its
 * beginning is drawn at the beginning: a tenth of a millisecond and nothing look the same, and should.
 */
export function logAxis(values, { least = 0.1 } = {}) {
  const known = values.filter((value) => Number.isFinite(value) && value > 0);
  const from = Math.max(least, decadeBelow(Math.min(...known, 1e6)));
  const to = Math.max(from * 10, niceAbove(Math.max(...known, from)));
  const span = Math.log(to / from);
  const place = (ms) => (ms <= from ? 0 : Math.min(100, (100 * Math.log(ms / from)) / span));
  const ticks = [];
  for (let decade = from; decade <= to * 1.0001; decade *= 10) {
    for (const factor of [1, 2, 5]) {
      const valueMs = Number((decade * factor).toPrecision(6));
      if (valueMs <= to * 1.0001) ticks.push({ valueMs, left: place(valueMs), isDecade: factor === 1 });
    }
  }
  return { from, to, place, ticks };
}

const decadeBelow = (ms) => Number((10 ** Math.floor(Math.log10(ms) + 1e-9)).toPrecision(3));
const niceAbove = (ms) => {
  const decade = decadeBelow(ms);
  return decade * ([1, 2, 5, 10].find((factor) => factor * decade >= ms) ?? 10);
};

/**
 * The columns of a histogram on `axis`, in percent of its width and of the highest column. The area of a column is not
 * its count: buckets are as wide as they look.
 */
export function columns(bounds, histogram, axis) {
  const highest = Math.max(...histogram, 1);
  return histogram
    .map((count, index) => {
      const [fromMs, toMs] = bucketEnds(bounds, index);
      const left = axis.place(fromMs);
      const width = axis.place(Math.min(toMs, axis.to)) - left;
      return { index, count, fromMs, toMs, left, width, height: (100 * count) / highest };
    })
    .filter(({ count, width }) => count > 0 && width > 0);
}

/**
 * How often a value of `a` is smaller than one of `b`, if one is drawn of each (0 to 1; those of the same bucket count
 * half), and whether chance could explain that (Mann and Whitney's U with its correction for ties, normal approximation).
 */
export function dominance(a, b) {
  const [countA, countB] = [total(a), total(b)];
  if (countA === 0 || countB === 0) return null;
  let [smaller, below, ties] = [0, 0, 0];
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [inA, inB] = [a[index] ?? 0, b[index] ?? 0];
    // `below` are the values of a in earlier buckets: each is smaller than every value of b here.
    smaller += inB * (below + inA / 2);
    below += inA;
    ties += (inA + inB) ** 3 - (inA + inB);
  }
  const pairs = countA * countB;
  const both = countA + countB;
  const variance = both < 2 ? 0 : (pairs / 12) * (both + 1 - ties / (both * (both - 1)));
  const z = variance > 0 ? (smaller - pairs / 2) / Math.sqrt(variance) : 0;
  return { share: smaller / pairs, isBeyondChance: Math.abs(z) >= BEYOND_CHANCE };
}
