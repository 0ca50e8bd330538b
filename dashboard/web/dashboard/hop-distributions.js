// How long each hop takes, turn after turn: a histogram with p50, p95 and p99 for each, on one axis.
import { columns, logAxis } from "./distribution.js";
import { msFigure, plural } from "./format.js";
import { range } from "./heat.js";
import { Keyed } from "./keyed.js";
import { commonBudget } from "./overview-figures.js";
import { element } from "../shared/element.js";
import { groupThousands, hopLabel, hopMeaning, ownerOf } from "../shared/hops.js";
import { marker } from "../shared/waterfall.js";
import { vector } from "./vector.js";

export class HopDistributions {
  #rows;

  /** In `root`. A press on a name hands it to `onPick`. */
  constructor(root, onPick) {
    this.head = element("thead");
    this.body = element("tbody");
    // A name stays the same node however often its figures change, or a press that takes a moment would miss it.
    this.#rows = new Keyed(this.body, { keyOf: ({ subject }) => subject, make: (row) => makeRow(row, onPick) });
    const caption = element("caption", { class: "hidden", text: "Time each hop takes, in milliseconds" });
    root.append(element("table", { class: "hops" }, caption, this.head, this.body));
  }

  /** Shows the distributions of `group`. `picked` is what the heat map shows. */
  show({ group, bounds, latency, picked }) {
    const rows = [
      { subject: "whole", label: "Mouth to ear", owner: null, turns: group.turns, ...group.whole },
      ...group.hops.map((hop) => ({ ...hop, subject: hop.hop, label: hopLabel(hop.hop), owner: hop.owner ?? "other" })),
    ];
    const axis = logAxis(
      rows.flatMap(({ p50_ms, p99_ms }) => [Math.max(1, p50_ms), p99_ms]),
      { least: 1 },
    );
    this.head.replaceChildren(head(axis));
    this.#rows.show(rows, (made, row) => update(made, row, { bounds, axis, latency, picked, turns: group.turns }));
  }
}

function head(axis) {
  const shown = axis.ticks.filter(({ isDecade }) => isDecade);
  const marks = shown.map(({ valueMs, left }) => {
    const mark = element("span", { class: "hop-tick", text: groupThousands(valueMs) });
    mark.style.left = `${left}%`;
    return mark;
  });
  const lane = element(
    "th",
    { scope: "col", class: "hop-lane" },
    element("span", { class: "hidden", text: "Histogram" }),
    ...marks,
  );
  const figures = ["p50", "p95", "p99"].map((text) => element("th", { scope: "col", class: "number", text }));
  const budget = element("th", {
    scope: "col",
    class: "number",
    text: "Budget",
    title: "Where all routes have the same one",
  });
  return element("tr", {}, element("th", { scope: "col", text: "Hop" }), lane, ...figures, budget);
}

function makeRow(row, onPick) {
  const button = element(
    "button",
    {
      type: "button",
      class: "hop-pick",
      "data-subject": row.subject,
      title: `${hopMeaning(row.subject) || "From the caller's last word to the caller's ear"}. Show it over time.`,
    },
    row.owner && marker(row.owner),
    element("span", { text: row.label }),
    row.owner &&
      element("span", { class: "hidden", text: `, ${row.owner === "other" ? "nobody's" : ownerOf(row.owner).label}` }),
  );
  button.addEventListener("click", () => onPick(row.subject));
  const part = element("span", { class: "hop-part" });
  const name = element("th", { scope: "row" }, button, part);
  const kind = row.owner ? `owner-${row.owner}` : "hop-whole";
  return { button, part, name, node: element("tr", { class: kind, "data-hop": row.subject }, name) };
}

function update({ node, name, button, part }, row, { bounds, axis, latency, picked, turns }) {
  const budget = commonBudget(latency, row.subject);
  button.setAttribute("aria-pressed", String(picked === row.subject));
  part.textContent = row.turns < turns ? `in ${plural(row.turns, "turn")}` : "";
  while (name.nextSibling) name.nextSibling.remove();
  node.append(
    element("td", { class: "hop-lane" }, lane(row, { bounds, axis, budget })),
    ...["p50_ms", "p95_ms", "p99_ms"].map((figureName) => figure(row[figureName], budget)),
    element("td", { class: "number soft", text: budget === null ? "" : msFigure(budget) }),
  );
}

function figure(value, budget) {
  const isOver = budget !== null && value > budget;
  const cell = element("td", { class: "number", "data-over": isOver, text: msFigure(value) });
  if (isOver) cell.append(element("span", { class: "hidden", text: " (over budget)" }));
  return cell;
}

function lane(row, { bounds, axis, budget }) {
  const parts = columns(bounds, row.histogram, axis).map((column) =>
    vector(
      "rect",
      { x: column.left, y: 26 - column.height * 0.22, width: column.width, height: column.height * 0.22 },
      vector("title", {}, `${range(column)}: ${plural(column.count, "turn")}`),
    ),
  );
  const grid = axis.ticks
    .filter(({ isDecade }) => isDecade)
    .map(({ left }) => vector("line", { class: "grid", x1: left, x2: left, y1: 0, y2: 26 }));
  const svg = vector(
    "svg",
    { viewBox: "0 0 100 26", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...grid,
    ...parts,
    ...(budget === null
      ? []
      : [vector("line", { class: "budget", x1: axis.place(budget), x2: axis.place(budget), y1: 0, y2: 26 })]),
  );
  const marks = [
    ["p50", row.p50_ms],
    ["p95", row.p95_ms],
    ["p99", row.p99_ms],
  ].map(([name, value]) => {
    const mark = element("i", { class: `quantile quantile-${name}`, title: `${name}: ${msFigure(value)} ms` });
    mark.style.left = `${axis.place(value)}%`;
    return mark;
  });
  return element("div", { class: "lane-box" }, svg, ...marks);
}

/** What the signs mean. */
export const distributionKey = () =>
  element(
    "p",
    { class: "key" },
    ...[
      ["quantile-p50", "p50"],
      ["quantile-p95", "p95"],
      ["quantile-p99", "p99"],
    ].map(([name, text]) =>
      element("span", {}, element("i", { class: `quantile ${name}`, "aria-hidden": "true" }), text),
    ),
    element("span", {}, element("i", { class: "budget-sample", "aria-hidden": "true" }), "budget"),
    element("span", {
      text: "Columns: how many turns. The axis is in milliseconds, each step ten times the one before.",
    }),
  );
