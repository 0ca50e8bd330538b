// How fast the budgets of routes and hops burn, the worst first.
import {
  STATES,
  USUAL,
  adviceText,
  burnMeaning,
  burnPlace,
  burnRows,
  ownerLabel,
  subjectLabel,
  times,
} from "./burn.js";
import { msFigure, plural } from "./format.js";
import { element } from "../shared/element.js";
import { marker } from "../shared/waterfall.js";

/** So many rows are shown, more if more are loud; calm ones beyond them only if somebody wants them. */
const MOST_CALM = 11;

export class BurnCard {
  #isAll = false;

  constructor(root) {
    this.root = root;
  }

  /** Draws the answer of `/latency`; null where this key may not see it. */
  show(latency) {
    if (!latency) {
      const text = "Only keys of the organisation that runs the gateway see how its budgets burn.";
      return this.root.replaceChildren(element("p", { class: "quiet-note", text }));
    }
    this.latency = latency;
    const tolerance = { ...USUAL, ...latency.tolerance };
    const rows = burnRows(latency);
    if (rows.every(({ state }) => state === "idle"))
      return this.root.replaceChildren(headline(rows), meaning(tolerance));
    const loud = rows.filter(({ state }) => state === "alert" || state === "above").length;
    const shown = this.#isAll ? rows : rows.slice(0, Math.max(MOST_CALM, loud));
    this.root.replaceChildren(
      headline(rows),
      ...advice(latency),
      table(shown, tolerance),
      ...this.#more(rows.length - shown.length),
      meaning(tolerance),
    );
  }

  #more(left) {
    if (left === 0 && !this.#isAll) return [];
    const text = this.#isAll
      ? "Show the worst only"
      : `Show ${plural(left, "more budget")} that ${left === 1 ? "is" : "are"} calm`;
    const button = element("button", { type: "button", class: "quiet", text });
    button.addEventListener("click", () => {
      this.#isAll = !this.#isAll;
      this.show(this.latency);
    });
    return [button];
  }
}

const headline = (rows) => element("p", { class: "burn-summary", "data-testid": "burn-summary", text: summary(rows) });

function summary(rows) {
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

function advice({ routes }) {
  const given = routes.flatMap(({ route, advice = [] }) => advice.map((one) => ({ route, ...one })));
  const told = given.filter(({ action }) => action !== "alert");
  if (told.length === 0) return [];
  return [
    element(
      "ul",
      { class: "advice", "aria-label": "Advice" },
      ...told.map((one) => element("li", {}, element("b", { text: one.route }), ` ${adviceText(one)}`)),
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
  const text =
    `1× is the allowance: ${inHundred} of 100 turns over the budget. At ${1000 / allowed}× every turn is. Lines stand at 1×` +
    ` and where something is done: ${fast}× over 5 minutes and the hour, or ${slow}× over the hour and 6 hours, with at least ${turns} turns.`;
  return element("p", { class: "help", text });
}
