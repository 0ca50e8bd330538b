// What was spent and what is left: rows, days and budgets as the page draws them. Pure.

/** By what spending can be added up: the word of the API, its name, and what stands where there is none. */
export const DIMENSIONS = [
  { by: "model", label: "Model", none: "no model" },
  { by: "provider", label: "Provider", none: "no provider" },
  { by: "organisation", label: "Organisation", none: "no organisation" },
  { by: "team", label: "Team", none: "no team" },
  { by: "key", label: "Key", none: "no key" },
  { by: "agent", label: "Agent", none: "no agent" },
  { by: "hop", label: "Hop", none: "no hop" },
  { by: "day", label: "Day", none: "no day" },
];

const DAY_MS = 86_400_000;

/** Spent in a row: what was confirmed and what is an estimate still. */
export const spentOf = (row) => row.confirmed_nano_dollars + row.estimated_nano_dollars;

/** Everything of many rows. */
export function sum(rows) {
  const add = (name) => rows.reduce((total, row) => total + row[name], 0);
  return {
    spent: rows.reduce((total, row) => total + spentOf(row), 0),
    confirmed: add("confirmed_nano_dollars"),
    estimated: add("estimated_nano_dollars"),
    unheard: add("unheard_nano_dollars"),
    unpriced: add("unpriced"),
    entries: add("entries"),
  };
}

/** The name a row has in a dimension, with the names above it where it is not unique without them. */
export function rowName(row, by) {
  const none = DIMENSIONS.find((dimension) => dimension.by === by)?.none ?? "";
  const name = row[by] || none;
  if (by === "team") return [row.organisation, name].filter(Boolean).join(" / ");
  if (by === "key") return [row.organisation, row.team, name].filter(Boolean).join(" / ");
  return name;
}

/** Rows with their share of the largest (for bars) and of everything, the dearest first; days stay in their order. */
export function ranked(rows, by) {
  const all = sum(rows).spent;
  const largest = Math.max(...rows.map(spentOf), 0);
  const ranked = rows.map((row) => {
    const spent = spentOf(row);
    return {
      row,
      name: rowName(row, by),
      spent,
      ofLargest: largest > 0 ? Math.max(0, spent) / largest : 0,
      ofAll: all > 0 ? spent / all : null,
      confirmedShare: spent > 0 ? row.confirmed_nano_dollars / spent : 1,
    };
  });
  return by === "day" ? ranked : ranked.sort((a, b) => b.spent - a.spent || a.name.localeCompare(b.name));
}

/** Every day from `first` to `last` (`2026-11-21`, both included), also those on which nothing was spent. */
export function everyDay(rows, first, last) {
  const found = new Map(rows.map((row) => [row.day, row]));
  const days = [];
  for (let at = Date.parse(first); at <= Date.parse(last) && days.length < 400; at += DAY_MS) {
    const day = dayOf(at);
    const row = found.get(day);
    days.push({ day, spent: row ? spentOf(row) : 0, confirmed: row?.confirmed_nano_dollars ?? 0 });
  }
  return days;
}

/** The day of a moment in UTC, as the ledger has it. */
export const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);

/** The first and the last day of a span that is asked for by name. */
export function span(name, nowMs) {
  const today = dayOf(nowMs);
  if (name === "today") return { first: today, last: today };
  if (name === "7d") return { first: dayOf(nowMs - 6 * DAY_MS), last: today };
  if (name === "30d") return { first: dayOf(nowMs - 29 * DAY_MS), last: today };
  return { first: `${today.slice(0, 8)}01`, last: today };
}

export const SPANS = [
  { name: "today", label: "Today" },
  { name: "7d", label: "7 days" },
  { name: "month", label: "This month" },
  { name: "30d", label: "30 days" },
];

const WINDOW_NAMES = { hour: "an hour", day: "a day", month: "a month", total: "in all" };

/**
 * A budget as a bar: `spent`, `drawn` and `left` in percent of it, `soft` the place of the soft limit or null, `used` the
 * share of the limit that is spent or drawn (null without one), and its `state`: `out`, `soft`, `within` or `open` (it has
 * no hard limit). The bar of a budget that was overrun is as long as what was spent.
 */
export function budgetBar(budget) {
  const { hard_nano_dollars: hard, soft_nano_dollars: soft, spent_nano_dollars: spent } = budget;
  const drawn = budget.leased_nano_dollars;
  const limit = hard ?? soft;
  const scale = Math.max(limit ?? 0, spent + drawn, 1);
  const part = (amount) => (100 * Math.max(0, amount)) / scale;
  const isOut = hard !== null && spent + drawn >= hard;
  const isPastSoft = soft !== null && spent >= soft;
  return {
    spent: part(spent),
    drawn: part(drawn),
    left: part(budget.left_nano_dollars ?? 0),
    soft: soft === null ? null : part(soft),
    hard: hard === null ? null : part(hard),
    used: limit === null ? null : (spent + drawn) / limit,
    state: isOut ? "out" : isPastSoft ? "soft" : hard === null ? "open" : "within",
  };
}

/** What a state means, in words that need no colour. */
export const BUDGET_STATES = {
  out: { label: "Used up", sign: "■" },
  soft: { label: "Past the soft limit", sign: "▲" },
  within: { label: "Within limits", sign: "✓" },
  open: { label: "No hard limit", sign: "○" },
};

/** Whose a budget is, the widest first. */
export const budgetOwner = ({ organisation, team, key, agent }) =>
  [organisation, team, key, agent].filter((name) => name !== null && name !== undefined).join(" / ");

/** How long a budget lasts. */
export const budgetWindow = ({ window }) => WINDOW_NAMES[window] ?? window;

/** Budgets with their bars, those nearest to their end first. */
export const rankedBudgets = (budgets) =>
  budgets
    .map((budget) => ({ budget, bar: budgetBar(budget), owner: budgetOwner(budget) }))
    .sort((a, b) => (b.bar.used ?? -1) - (a.bar.used ?? -1) || a.owner.localeCompare(b.owner));
