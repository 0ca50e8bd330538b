// Latency over time as a grid of counts: which cells there are, where a cursor goes, what it reads. Pure.
import { plural, share, timeOfDay } from "./format.js";
import { bucketEnds, quantileBucket, total } from "./distribution.js";
import { formatMs, groupThousands } from "../shared/hops.js";

/** Shades a cell can have, the empty one not counted. */
export const SHADES = 6;

/** Fewer rows than this are not a picture. */
const FEWEST_ROWS = 6;

/**
 * The grid of the `heat` part of an overview. `rows` are the buckets that are shown, the fastest first: those with a turn,
 * one more at either end, and enough to be a picture; `columns` are stretches of time, the oldest first.
 */
export function readHeat(heat) {
  const bounds = heat.bounds_ms;
  const everyS = heat.columns_every_ms / 1000;
  const columns = heat.columns.map((counts, index) => ({
    fromAt: heat.from_at + index * everyS,
    toAt: heat.from_at + (index + 1) * everyS,
    counts,
    turns: total(counts),
    middle: quantileBucket(counts, 0.5),
    tail: quantileBucket(counts, 0.95),
  }));
  const turns = columns.reduce((sum, column) => sum + column.turns, 0);
  const most = columns.reduce((most, column) => Math.max(most, ...column.counts), 0);
  return { columns, rows: shownRows(columns, bounds), turns, most };
}

function shownRows(columns, bounds) {
  const used = bounds.map((_, index) => index).concat(bounds.length);
  const hasTurn = used.filter((index) => columns.some(({ counts }) => counts[index] > 0));
  let first = Math.max(0, (hasTurn[0] ?? 0) - 1);
  let last = Math.min(bounds.length, (hasTurn.at(-1) ?? 0) + 1);
  while (last - first + 1 < FEWEST_ROWS && (first > 0 || last < bounds.length)) {
    if (last < bounds.length) last += 1;
    if (last - first + 1 < FEWEST_ROWS && first > 0) first -= 1;
  }
  return used.slice(first, last + 1).map((index) => {
    const [fromMs, toMs] = bucketEnds(bounds, index);
    return { index, fromMs, toMs };
  });
}

/** The shade of a cell with `count` turns where the fullest has `most`, 0 to `SHADES`. One turn is never nothing. */
export function shade(count, most) {
  if (count === 0 || most === 0) return 0;
  return Math.max(1, Math.ceil(SHADES * Math.sqrt(count / most) - 1e-9));
}

/** The counts at which a shade begins, for the key; shades that no count has are left out. */
export function shadeSteps(most) {
  const steps = [];
  for (let count = 1; count <= most; count++) {
    const level = shade(count, most);
    if (steps.at(-1)?.level !== level) steps.push({ level, from: count, to: count });
    else steps.at(-1).to = count;
    // From here on it is sure where the other shades begin.
    if (count > 400) return lastSteps(steps, most);
  }
  return steps;
}

function lastSteps(steps, most) {
  const begun = steps.at(-1).level;
  const ends = Array.from({ length: SHADES - begun + 1 }, (_, index) =>
    Math.floor(most * ((begun + index) / SHADES) ** 2),
  );
  const later = ends.map((to, index) => ({
    level: begun + index,
    from: index === 0 ? steps.at(-1).from : ends[index - 1] + 1,
    to,
  }));
  return [...steps.slice(0, -1), ...later];
}

/** Where a line at `ms` crosses the rows: 0 is the lower edge of the fastest, 1 the upper edge of the slowest, or null. */
export function height({ rows }, ms) {
  for (const [place, { fromMs, toMs }] of rows.entries()) {
    if (ms < fromMs || ms >= toMs) continue;
    const part = toMs === Infinity ? 0 : (ms - fromMs) / (toMs - fromMs);
    return (place + part) / rows.length;
  }
  return null;
}

/** The cell at `x` from the left and `y` from the lower edge, both 0 to 1. */
export function cellAt({ columns, rows }, x, y) {
  const within = (part, size) => Math.min(size - 1, Math.max(0, Math.floor(part * size)));
  return { column: within(x, columns.length), row: within(y, rows.length) };
}

/** Where a key takes the cursor, or null if it is not a key of the grid. Without a cursor it begins at the newest turns. */
export function moved(grid, cursor, key) {
  const { columns, rows } = grid;
  const last = { column: columns.length - 1, row: rows.length - 1 };
  if (!cursor) return MOVES.has(key) || key === "Home" || key === "End" ? newestTurns(grid) : null;
  if (key === "Home") return { ...cursor, column: 0 };
  if (key === "End") return { ...cursor, column: last.column };
  const move = MOVES.get(key);
  if (!move) return null;
  const clamp = (value, most) => Math.min(most, Math.max(0, value));
  return { column: clamp(cursor.column + move[0], last.column), row: clamp(cursor.row + move[1], last.row) };
}

const MOVES = new Map([
  ["ArrowLeft", [-1, 0]],
  ["ArrowRight", [1, 0]],
  ["ArrowUp", [0, 1]],
  ["ArrowDown", [0, -1]],
  ["PageUp", [0, 5]],
  ["PageDown", [0, -5]],
]);

function newestTurns({ columns, rows }) {
  const column = columns.findLastIndex(({ turns }) => turns > 0);
  if (column < 0) return { column: columns.length - 1, row: 0 };
  const row = rows.findIndex(({ index }) => index === columns[column].middle);
  return { column, row: Math.max(0, row) };
}

/** What stands in a cell, as a sentence. */
export function readCell({ columns, rows }, { column, row }) {
  const { counts, turns, fromAt, toAt } = columns[column];
  const { index } = rows[row];
  const when = `${timeBetween(fromAt, toAt)}, ${range(rows[row])}:`;
  if (turns === 0) return `${when} no turn was measured then.`;
  if (counts[index] === 0) return `${when} none of ${plural(turns, "turn")}.`;
  return `${when} ${groupThousands(counts[index])} of ${plural(turns, "turn")} (${share(counts[index] / turns)}).`;
}

const timeBetween = (fromAt, toAt) => {
  const written = (toAt - fromAt) % 60 === 0 ? minuteOfDay : timeOfDay;
  return `${written(fromAt)} to ${written(toAt)}`;
};

const minuteOfDay = (at) => timeOfDay(at).slice(0, 5);

/** A bucket in words. */
export function range({ fromMs, toMs }) {
  if (toMs === Infinity) return `${formatMs(fromMs)} and more`;
  if (fromMs === 0) return `under ${formatMs(toMs)}`;
  return `${bare(fromMs)} to ${formatMs(toMs)}`;
}

const bare = (ms) => formatMs(ms).replace(/ ms$/, "");

/** Rows of the table that says the same: stretches with a turn, the newest first. */
export function tableRows({ columns, rows }) {
  const named = (index) => (index === null ? null : range(rows.find((row) => row.index === index)));
  return columns
    .filter(({ turns }) => turns > 0)
    .map(({ fromAt, toAt, turns, middle, tail }) => ({
      when: timeBetween(fromAt, toAt),
      turns,
      middle: named(middle),
      tail: named(tail),
    }))
    .reverse();
}

/** Labels of the time axis: whole minutes or hours that are at least `apart` (0 to 1 of the width) from each other. */
export function timeTicks({ columns }, apart = 0.09) {
  if (columns.length === 0) return [];
  const [from, to] = [columns[0].fromAt, columns.at(-1).toAt];
  const least = (to - from) * apart;
  const step = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((step) => step >= least) ?? 14_400;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    ticks.push({ at, left: (at - from) / (to - from), text: step < 60 ? timeOfDay(at) : minuteOfDay(at) });
  }
  return ticks;
}
