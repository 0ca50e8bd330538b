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
  above: { label: "Above", sign: "△" },
  within: { label: "Within", sign: "✓" },
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

/**
 * The targets that are passed over at present because they are too slow, those that were first first: of which route, what of
 * them is slow, since when and until when at least in seconds since 1970. Null is what the gateway does not say.
 */
export function passedOver({ routes }) {
  return routes
    .flatMap(({ route, advice = [], passed_over = [] }) =>
      passed_over.map((target) => {
        const why = advice.filter((one) => one.action === "prefer_another" && one.target === target);
        const known = (name) => why.map((one) => finite(one[name])).filter((at) => at !== null);
        return {
          route,
          target,
          subjects: why.map(({ subject }) => subject),
          sinceAt: known("since_at").length ? Math.min(...known("since_at")) : null,
          untilAt: known("until_at").length ? Math.max(...known("until_at")) : null,
        };
      }),
    )
    .sort((one, other) => (one.sinceAt ?? Infinity) - (other.sinceAt ?? Infinity));
}

/** Why nothing is passed over, in words: nothing is slow, or nobody wants it. A gateway that does not say which is not guessed at. */
export function noneText(preferAnother) {
  if (!preferAnother) return "None.";
  if (preferAnother === "never") return "None, however slow: latency.actions.prefer_another is “never”.";
  return "None: no target was too slow lately.";
}

/**
 * What is advised beside telling a person, by route or target and act, with all subjects it is for: `{ place, action, subjects }`. That a target be
 * passed over is left out where it is.
 */
export function advised({ routes }) {
  const found = new Map();
  for (const { route, advice = [], passed_over = [] } of routes)
    for (const { action, subject, target } of advice) {
      if (action === "alert" || passed_over.includes(target)) continue;
      const place = target ?? route;
      const key = JSON.stringify([route, place, action]);
      if (!found.has(key)) found.set(key, { place, action, subjects: [] });
      found.get(key).subjects.push(subject);
    }
  return [...found.values()];
}

/** What an advice asks for, as a sentence. */
export function adviceText({ action, subjects }) {
  const sentences = {
    prefer_another: "prefer another target from the next turn on",
    shed_optional: "leave out optional checks from the next turn on",
  };
  const slow = subjects.map((subject) => (subject === "whole" ? "the whole turn" : subjectLabel(subject).toLowerCase()));
  return `${sentences[action] ?? action.replaceAll("_", " ")}. Too slow: ${slow.join(", ")}.`;
}
