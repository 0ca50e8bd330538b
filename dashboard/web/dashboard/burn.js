// How fast routes use up the slow turns they may have: which budget burns worst, and what that means in words. Pure.
import { share } from "./format.js";
import { hopLabel, ownerOf } from "../shared/hops.js";

export const WINDOWS = ["5m", "1h", "6h"];
export const WINDOW_NAMES = { "5m": "5 minutes", "1h": "1 hour", "6h": "6 hours" };

/** What a gateway that does not say otherwise tolerates (`latency:` of the configuration). */
export const USUAL = { allowed: 50, fast: 6, slow: 3, turns: 10 };

/**
 * A row for every budget of every route, the worst first: those that burn in both windows of an alert, then those above
 * what they are allotted in any window, then the rest; equals in the order they come.
 */
export function burnRows({ routes, tolerance }) {
  const tolerated = { ...USUAL, ...tolerance };
  return routes
    .flatMap((route) => route.burn.map((burn) => row(route, burn, tolerated)))
    .map((row, index) => ({ row, index }))
    .sort((one, other) => other.row.heat - one.row.heat || one.index - other.index)
    .map(({ row }) => row);
}

function row(route, burn, tolerance) {
  const windows = WINDOWS.map((name) => ({ name, burn: finite(burn[name]), turns: finite(route.turns?.[name]) }));
  const [five, hour, six] = windows.map((window) => window.burn ?? 0);
  const enough = (window) => (window.turns ?? Infinity) >= tolerance.turns;
  // The two ways to an alert; at 1 it is raised.
  const fast = enough(windows[0]) ? Math.min(five, hour) / tolerance.fast : 0;
  const slow = enough(windows[1]) ? Math.min(hour, six) / tolerance.slow : 0;
  const alert = Math.max(fast, slow);
  const highest = Math.max(five, hour, six);
  const isIdle = windows.every((window) => window.turns === 0);
  const state = isIdle ? "idle" : alert >= 1 ? "alert" : highest >= 1 ? "above" : "within";
  return {
    route: route.route,
    subject: burn.subject,
    owner: burn.owner ?? null,
    budgetMs: finite(route.budgets?.[burn.subject]),
    windows,
    state,
    heat: { alert: 200, above: 100, within: 0, idle: -100 }[state] + (state === "alert" ? alert : highest),
  };
}

const finite = (value) => (Number.isFinite(value) ? value : null);

/** What a state means, in a few words. */
export const STATES = {
  alert: { label: "Burning", sign: "▲" },
  above: { label: "Above allowance", sign: "△" },
  within: { label: "Within allowance", sign: "✓" },
  idle: { label: "No turns", sign: "–" },
};

/** The name of what a budget is for. */
export const subjectLabel = (subject) => (subject === "whole" ? "Mouth to ear" : hopLabel(subject));

/** Whoever can make it shorter, in words; the whole belongs to everybody. */
export const ownerLabel = (owner) => (owner ? ownerOf(owner).label : "all hops");

/** The multiple, short: `0×`, `0.4×`, `6×`. */
export function times(burn) {
  if (burn === null) return "–";
  if (burn > 0 && burn < 0.05) return "<0.1×";
  return `${burn < 9.95 ? Number(burn.toFixed(1)) : Math.round(burn)}×`;
}

/** What a multiple says about the turns. */
export function burnMeaning({ burn, turns, name }, allowed = USUAL.allowed) {
  if (burn === null) return `Nothing is known of the last ${WINDOW_NAMES[name]}.`;
  if (turns === 0) return `No turn in the last ${WINDOW_NAMES[name]}.`;
  const over = Math.min(1, (burn * allowed) / 1000);
  const of = turns === null ? "the turns" : turns === 1 ? "1 turn" : `${turns} turns`;
  return `${share(over)} of ${of} in the last ${WINDOW_NAMES[name]} were over the budget.`;
}

/** Where a multiple stands on a bar, in percent: by its square root, so that 1× and 6× can both be told from nothing. */
export function burnPlace(burn, allowed = USUAL.allowed) {
  const most = 1000 / allowed;
  return 100 * Math.sqrt(Math.min(1, Math.max(0, burn) / most));
}

/** What an advice asks for, as a sentence. */
export function adviceText({ action, subject }) {
  const what = subject === "whole" ? "the whole turn" : subjectLabel(subject).toLowerCase();
  const sentences = {
    alert: `Tell a person: the budget of ${what} burns.`,
    prefer_another: `Prefer another target from the next turn on: ${what} is too slow.`,
    shed_optional: `Leave out optional checks from the next turn on: ${what} takes too long.`,
  };
  return sentences[action] ?? `${action.replaceAll("_", " ")}: ${what}.`;
}
