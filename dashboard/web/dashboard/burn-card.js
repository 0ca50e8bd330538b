// How fast the budgets of routes and hops burn, the worst first.
import {
  STATES,
  USUAL,
  adviceText,
  advised,
  burnMeaning,
  burnPlace,
  burnRows,
  noneText,
  ownerLabel,
  passedOver,
  subjectLabel,
  times,
} from "./burn.js";
import { ago, msFigure, plural, timeOfDay } from "./format.js";
import { UNMEASURED } from "./states.js";
import { element } from "../shared/element.js";
import { marker } from "../shared/waterfall.js";

export class BurnCard {
  constructor(root) {
    root.classList.add("burn-body");
    this.root = root;
    this.summary = element("p", { class: "burn-summary", "data-testid": "burn-summary" });
    this.news = element("div");
    // It stays when its table is drawn anew, so that whoever scrolled in it stays where they are.
    this.scroll = element("div", {
      class: "burn-scroll",
      tabindex: "0",
      role: "region",
      "aria-label": "Budgets, the worst first",
    });
    this.meaning = element("p", { class: "help" });
  }

  /** Draws the answer of `/latency`; null where this key may not see it. */
  show(latency) {
    if (!latency) {
      const text = "Only keys of the organisation that runs the gateway see how its budgets burn.";
      return this.root.replaceChildren(element("p", { class: "quiet-note", text }));
    }
    const tolerance = { ...USUAL, ...latency.tolerance };
    const rows = burnRows(latency);
    this.summary.textContent = summary(rows, latency.measuring);
    this.news.replaceChildren(targets(latency), ...advice(latency));
    this.scroll.replaceChildren(table(rows, tolerance));
    this.scroll.hidden = rows.every(({ state }) => state === "idle");
    this.meaning.textContent = meaning(tolerance);
    if (!this.summary.isConnected)
      this.root.replaceChildren(this.summary, this.news, this.scroll, this.meaning);
  }
}

function summary(rows, isMeasuring = true) {
  if (!isMeasuring) return `${UNMEASURED} No budget burns.`;
  const inState = (state) => rows.filter((row) => row.state === state).length;
  const [alerts, above] = [inState("alert"), inState("above")];
  if (alerts)
    return `${plural(alerts, "budget")} ${alerts === 1 ? "burns" : "burn"} so fast that something is done about it.`;
  if (above)
    return `No budget burns fast; ${above === 1 ? "one is" : `${above} are`} above the allowance in some window.`;
  if (rows.every(({ state }) => state === "idle"))
    return "No turn was measured in the last six hours, so no budget burns.";
  return "Every budget is within its allowance.";
}

/** The targets that get no turns because they are too slow. */
function targets(latency) {
  const over = passedOver(latency);
  const lines = over.map((one) =>
    element(
      "li",
      { "data-target": one.target, "data-route": one.route },
      element("span", { class: "burn-sign", "aria-hidden": "true", text: "▲" }),
      element("span", {}, element("b", { text: one.target }), ` of route ${one.route}`, why(one)),
      element("span", { class: "below", text: until(one) }),
    ),
  );
  return element(
    "div",
    { class: "passed-over", "data-testid": "passed-over" },
    element("h3", { text: "Targets passed over for being slow" }),
    lines.length
      ? element("ul", {}, ...lines)
      : element("p", { class: "quiet-note", text: noneText(latency.prefer_another) }),
  );
}

const why = ({ subjects }) => (subjects.length ? `: ${subjects.map(subjectLabel).join(", ")} over budget` : "");

function until({ sinceAt, untilAt }) {
  const since = sinceAt === null ? "Since when is not known" : `Since ${timeOfDay(sinceAt)}, ${ago(sinceAt)}`;
  if (untilAt === null) return `${since}.`;
  return `${since}; tried again at ${timeOfDay(untilAt)} at the earliest.`;
}

function advice(latency) {
  const told = advised(latency);
  if (told.length === 0) return [];
  return [
    element(
      "ul",
      { class: "advice", "aria-label": "Advice" },
      ...told.map((one) => element("li", {}, "Advice for ", element("b", { text: one.place }), `: ${adviceText(one)}`)),
    ),
  ];
}

function table(rows, tolerance) {
  const head = ["State", "Budget", "5 min", "1 h", "6 h"].map((text) => element("th", { scope: "col", text }));
  return element(
    "table",
    { class: "burn", "data-testid": "burn" },
    element("caption", { class: "hidden", text: "How many times the allowance each budget uses, the worst first" }),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map((row) => line(row, tolerance))),
  );
}

function line({ route, subject, owner, budgetMs, windows, state }, tolerance) {
  const { label, sign } = STATES[state];
  return element(
    "tr",
    { "data-state": state, "data-subject": subject, "data-route": route },
    element(
      "td",
      {},
      element(
        "div",
        { class: "burn-state" },
        element("span", { class: "burn-sign", "aria-hidden": "true", text: sign }),
        element("span", { text: label }),
      ),
    ),
    element(
      "th",
      { scope: "row" },
      element(
        "span",
        { class: "burn-name" },
        subject === "whole" ? null : marker(owner ?? "other"),
        subjectLabel(subject),
      ),
      element("span", { class: "below", text: `${route} · ${msFigure(budgetMs)} ms · ${ownerLabel(owner)}` }),
    ),
    ...windows.map((window) => cell(window, tolerance)),
  );
}

function cell(window, tolerance) {
  const bar = element("i");
  bar.style.width = `${burnPlace(window.burn ?? 0, tolerance.allowed)}%`;
  const lines = thresholds(window.name, tolerance).map((times) => {
    const line = element("b");
    line.style.left = `${burnPlace(times, tolerance.allowed)}%`;
    return line;
  });
  return element(
    "td",
    { title: burnMeaning(window, tolerance.allowed), "data-hot": (window.burn ?? 0) >= 1 },
    element("span", { class: "figure", text: times(window.burn) }),
    element("span", { class: "burn-bar", "aria-hidden": "true" }, bar, ...lines),
    element("span", { class: "hidden", text: burnMeaning(window, tolerance.allowed) }),
  );
}

/** Where the lines stand: the allowance, and what has to be reached for something to be done. */
function thresholds(window, { fast, slow }) {
  return { "5m": [1, fast], "1h": [1, slow, fast], "6h": [1, slow] }[window];
}

function meaning({ allowed, fast, slow, turns }) {
  const inHundred = allowed / 10;
  return (
    `1× is the allowance: ${inHundred} of 100 turns over the budget. At ${1000 / allowed}× every turn is. Lines stand at 1×` +
    ` and where something is done: ${fast}× over 5 minutes and the hour, or ${slow}× over the hour and 6 hours, with at least ${turns} turns.`
  );
}
