// Which sessions stand in the list and in which order. Pure.

const isLive = ({ state }) => state !== "ended";
const known = (value, otherwise) => (typeof value === "number" ? value : otherwise);

/** Worst first: those that ended last, then what the gateway holds for worse, then broken budgets, slow turns and lost packets. */
export function byWorst(a, b) {
  return (
    Number(isLive(b)) - Number(isLive(a)) ||
    known(b.badness, 0) - known(a.badness, 0) ||
    known(b.breaches, 0) - known(a.breaches, 0) ||
    known(b.mouth_to_ear_p95_ms, 0) - known(a.mouth_to_ear_p95_ms, 0) ||
    known(b.loss_ratio, 0) - known(a.loss_ratio, 0) ||
    byBegun(a, b)
  );
}

/** Those that began last first. */
export const byBegun = (a, b) => b.began_at - a.began_at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

export const ORDERS = { worst: byWorst, begun: byBegun };

/** What can be filtered by a value, as the API names it. */
export const FIELDS = ["provider", "region", "model", "organisation", "end_reason"];

const SEARCHED = [
  "id",
  "call",
  "organisation",
  "team",
  "key",
  "agent",
  "model",
  "provider",
  "region",
  "relay",
  "end_reason",
  "trace_id",
];

/** The filter in the query of an address; what it does not understand is as if it were not there. */
export function filterOf(query) {
  const one = (name, allowed, otherwise) => (allowed.includes(query.get(name)) ? query.get(name) : otherwise);
  const values = FIELDS.map((name) => [name, query.get(name) || null]);
  return {
    state: one("state", ["live", "ended", "all"], "live"),
    order: one("order", Object.keys(ORDERS), "worst"),
    search: (query.get("search") ?? "").trim(),
    ...Object.fromEntries(values),
  };
}

/** Whether a session passes. Every word of the search has to be somewhere in it. */
export function passes(summary, filter) {
  if (filter.state === "live" && !isLive(summary)) return false;
  if (filter.state === "ended" && isLive(summary)) return false;
  if (FIELDS.some((name) => filter[name] !== null && summary[name] !== filter[name])) return false;
  if (!filter.search) return true;
  const text = SEARCHED.map((name) => summary[name] ?? "")
    .join("\n")
    .toLowerCase();
  return filter.search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The ids of those that pass, in the order that was asked for. */
export function ranked(sessions, filter) {
  const kept = [];
  for (const summary of sessions) if (passes(summary, filter)) kept.push(summary);
  return kept.sort(ORDERS[filter.order]).map(({ id }) => id);
}

/**
 * The order to show: `wanted`, but while somebody points at a row nothing moves under them: those shown keep their places, new
 * ones come at the end, and those that would have left stay where `isThere` still knows them. `moved` counts the rows that are
 * not where they belong.
 */
export function settle(shown, wanted, isHeld, isThere = () => false) {
  if (!isHeld) return { order: wanted, moved: 0 };
  const belongs = new Set(wanted);
  const stays = shown.filter((id) => belongs.has(id) || isThere(id));
  const has = new Set(stays);
  const order = [...stays, ...wanted.filter((id) => !has.has(id))];
  return { order, moved: order.reduce((sum, id, index) => sum + (id === wanted[index] ? 0 : 1), 0) };
}

/** The values a field has among `sessions`, in the order of the alphabet. */
export function valuesOf(sessions, field) {
  const found = new Set();
  for (const summary of sessions) if (summary[field]) found.add(summary[field]);
  return [...found].sort();
}

/** The rows that a window of `height` at `top` shows, some more on either side. */
export function rowsInView({ top, height, rowHeight, count, spare = 8 }) {
  const from = Math.max(0, Math.min(count, Math.floor(top / rowHeight) - spare));
  const to = Math.min(count, Math.ceil((top + height) / rowHeight) + spare);
  return { from, to: Math.max(from, to) };
}
