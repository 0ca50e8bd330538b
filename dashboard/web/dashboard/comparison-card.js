// Two providers, regions, models, routes or configurations side by side.
import { SIDES, choices, conclude, differences, groupKey, groupName, pickPair, signedMs } from "./comparison.js";
import { list, segments } from "./controls.js";
import { count, money, msFigure, plural, share } from "./format.js";
import { element } from "../shared/element.js";
import { hopLabel } from "../shared/hops.js";
import { marker } from "../shared/waterfall.js";

/** The card. `onPick({ by, a, b })` hears every choice; `show(overview, wish)` draws an answer that is grouped by `wish.by`. */
export class ComparisonCard {
  constructor(root, { by, onPick }) {
    this.onPick = onPick;
    this.by = segments({
      name: "compare-by",
      label: "Compare by",
      choices: SIDES.map(({ by, label }) => ({ value: by, label })),
      value: by,
      onPick: (by) => onPick({ by, a: null, b: null }),
    });
    this.a = list({ name: "compare-a", label: "One side", onPick: (a) => this.#pick({ a }) });
    this.b = list({ name: "compare-b", label: "The other side", onPick: (b) => this.#pick({ b }) });
    this.pair = element(
      "div",
      { class: "pair" },
      this.a.node,
      element("span", { class: "soft", text: "and" }),
      this.b.node,
    );
    this.body = element("div");
    root.append(element("div", { class: "compare-choice" }, this.by.node, this.pair), this.body);
  }

  #pick(patch) {
    const { by, pair } = this.shown;
    const [a, b] = pair.map(groupKey);
    const next = { a, b, ...patch };
    // Whoever picks what is on the other side gets them exchanged.
    if (next.a === next.b) [next.a, next.b] = [b, a];
    this.onPick({ by, ...next });
  }

  show(overview, { by, a, b, words }) {
    this.by.show(by);
    const groups = overview.groups;
    const pair = pickPair(groups, [a, b]);
    this.pair.hidden = !pair;
    this.shown = { by, pair };
    if (!pair) return this.body.replaceChildren(alone(groups, by, words));
    const offered = choices(groups).map((group) => ({
      value: groupKey(group),
      label: `${groupName(group, by)} · ${plural(group.turns, "turn")}`,
    }));
    this.a.offer(offered, groupKey(pair[0]));
    this.b.offer(offered, groupKey(pair[1]));
    const names = pair.map((group) => groupName(group, by));
    this.body.replaceChildren(verdict(pair, names), table(pair, names), ...leftOut(overview));
  }
}

function alone(groups, by, words) {
  const side = SIDES.find((side) => side.by === by).label.toLowerCase();
  const text = groups.length
    ? `All turns of the last ${words} were of one ${side}, ${groupName(groups[0], by)}: there is nothing to compare it with. Choose another kind, or a longer time.`
    : `No turn was measured in the last ${words}, so there is nothing to compare.`;
  return element("p", { class: "quiet-note", text });
}

const SIGNS = { few: "…", chance: "≈", faster: "▶" };

function verdict(pair, names) {
  const { kind, sentence } = conclude(...pair, names);
  return element(
    "p",
    { class: "verdict-line", "data-kind": kind, "data-testid": "compare-verdict" },
    element("span", { class: "verdict-sign", "aria-hidden": "true", text: SIGNS[kind] }),
    sentence,
  );
}

function table(pair, names) {
  const { hops, whole } = differences(...pair);
  const { tail } = conclude(...pair, names);
  const rows = [
    { hop: "whole", label: "Mouth to ear", ...whole },
    ...hops.map((hop) => ({ ...hop, label: hopLabel(hop.hop) })),
  ];
  const most = Math.max(...rows.map(({ p50, p95 }) => Math.max(Math.abs(p50 ?? 0), Math.abs(p95 ?? 0))), 1);
  return element(
    "div",
    { class: "table-scroll" },
    element(
      "table",
      { class: "comparison", "data-testid": "comparison" },
      element("caption", { class: "hidden", text: `Hops of ${names[0]} and ${names[1]}, in milliseconds` }),
      element("thead", {}, ...heads(names)),
      element("tbody", {}, ...rows.map((row) => line(row, most, tail))),
      element("tfoot", {}, ...feet(pair)),
    ),
  );
}

function heads([a, b]) {
  const group = (text, title) => element("th", { scope: "colgroup", colspan: "3", class: "group", text, title });
  const column = (text, name = "number") => element("th", { scope: "col", class: name, text });
  return [
    element("tr", {}, element("td", {}), group("p50, half of the turns"), group("p95, 19 of 20 turns")),
    element(
      "tr",
      {},
      column("Hop", ""),
      ...[0, 1].flatMap(() => [column(a, "number name"), column(b, "number name"), column("Difference", "difference")]),
    ),
  ];
}

function line({ hop, label, owner, a, b, p50, p95 }, most, tail) {
  const name = element("th", { scope: "row" }, hop !== "whole" && marker(owner ?? "other"), label);
  if (hop === "whole") name.replaceChildren(label);
  return element(
    "tr",
    { class: hop === "whole" ? "hop-whole" : null, "data-hop": hop },
    name,
    element("td", { class: "number", text: msFigure(a?.p50_ms) }),
    element("td", { class: "number", text: msFigure(b?.p50_ms) }),
    difference(p50, most),
    element("td", { class: "number", "data-weak": !tail, text: msFigure(a?.p95_ms) }),
    element("td", { class: "number", "data-weak": !tail, text: msFigure(b?.p95_ms) }),
    difference(p95, most, !tail),
  );
}

function difference(ms, most, isWeak = false) {
  const bar = element("i", { class: ms > 0 ? "more" : "less" });
  const wide = (50 * Math.abs(ms ?? 0)) / most;
  bar.style.width = `${wide}%`;
  bar.style.left = `${ms > 0 ? 50 : 50 - wide}%`;
  return element(
    "td",
    { class: "difference", "data-weak": isWeak },
    element("span", { class: "diverging", "aria-hidden": "true" }, bar),
    element("span", { class: "figure", text: signedMs(ms) }),
  );
}

function feet(pair) {
  const both = (name, read) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: name }),
      ...pair.map((group) => element("td", { class: "number", text: read(group) })),
      element("td", { colspan: "4" }),
    );
  return [
    both("Turns", ({ turns }) => count(turns)),
    both("Over budget", ({ breaches, turns }) => `${count(breaches)} (${share(breaches / turns)})`),
    both("Cost of a turn", ({ mean_cost_nano_dollars }) => money(mean_cost_nano_dollars)),
  ];
}

function leftOut({ groups_left_out: number }) {
  if (!number) return [];
  return [element("p", { class: "quiet-note", text: `${count(number)} more with fewer turns are not offered.` })];
}
