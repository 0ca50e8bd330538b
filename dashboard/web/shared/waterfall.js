// Draws where the milliseconds of a turn went.
import { element } from "./element.js";
import {
  OWNERS,
  breachText,
  formatMs,
  groupThousands,
  hopLabel,
  hopMeaning,
  layoutTurn,
  ownerOf,
  unknownText,
  verdict,
} from "./hops.js";

/** Replaces the content of `root` by the waterfall of `turn`. */
export function drawWaterfall(root, turn) {
  const layout = layoutTurn(turn);
  root.dataset.turn = turn.turn;
  root.replaceChildren(
    headline(turn),
    ...(turn.breaches.length ? [overBudget(turn)] : []),
    summaryBar(layout),
    legend(layout),
    figure(turn, layout),
    ...(layout.bars.some((bar) => bar.estimated) ? [hatchKey()] : []),
    ...(layout.bars.some((bar) => bar.ghosts.length) ? [besideKey()] : []),
    ...(layout.bars.some((bar) => bar.allowed) ? [budgetKey()] : []),
    ...(unknownText(turn) ? [element("p", { class: "hatch-key unknown-hops", text: unknownText(turn) })] : []),
    ...(Math.abs(layout.gapMs) > 1 ? [contradiction(turn, layout)] : []),
    table(turn, layout),
  );
}

function headline(turn) {
  return element(
    "div",
    { class: "headline" },
    element(
      "p",
      { class: "total", "data-testid": "turn-total" },
      element("strong", { text: groupThousands(Math.round(turn.totalMs)) }),
      element("span", { text: " ms" }),
    ),
    element(
      "p",
      { class: "total-meaning" },
      element("span", { text: `Turn ${turn.turn}: from the caller’s last word to hearing the answer.` }),
      " ",
      element("span", { class: "verdict", text: verdict(turn) }),
    ),
  );
}

function overBudget({ breaches }) {
  return element("p", { class: "over-budget", text: `Over budget: ${breaches.map(breachText).join("; ")}.` });
}

function summaryBar({ bars }) {
  const segments = bars.map((bar) => {
    const segment = element("span", { class: barClass(bar), title: tooltip(bar) });
    segment.style.width = `${bar.width}%`;
    return segment;
  });
  return element("div", { class: "summary-bar", "aria-hidden": "true" }, ...segments);
}

function legend({ owners }) {
  const items = owners.map(({ owner, durationMs, share }) =>
    element(
      "li",
      {},
      marker(owner),
      element("span", { text: ownerOf(owner).label }),
      element("b", { text: formatMs(durationMs) }),
      element("span", { class: "share", text: `${Math.round(share * 100)} %` }),
    ),
  );
  return element("ul", { class: "legend", "aria-label": "Time by owner" }, ...items);
}

function figure(turn, layout) {
  const rows = layout.bars.map((bar) => row(bar));
  const label = `Waterfall of turn ${turn.turn}, ${formatMs(turn.totalMs)}. The table below has the same figures.`;
  return element("div", { class: "falls", role: "img", "aria-label": label }, axis(layout, turn), ...rows);
}

function axis({ ticks, budgetLeft }, { budgetMs }) {
  const marks = ticks.map(({ valueMs, left }, index) => {
    const mark = element(
      "span",
      { class: "tick" },
      element("span", { text: tickText(valueMs, index, ticks) }),
    );
    if (left > 94) mark.classList.add("tick-end");
    mark.style.left = `${left}%`;
    return mark;
  });
  if (budgetLeft === null) return element("div", { class: "axis" }, ...marks);
  const limit = element(
    "span",
    { class: "limit" },
    element("span", { text: `budget ${formatMs(budgetMs)}` }),
  );
  limit.style.left = `${budgetLeft}%`;
  if (budgetLeft > 85) limit.classList.add("limit-end");
  return element("div", { class: "axis" }, ...marks, limit);
}

const tickText = (valueMs, index, ticks) =>
  index === ticks.length - 1 ? `${groupThousands(valueMs)} ms` : groupThousands(valueMs);

function row(bar) {
  const drawn = placed("span", barClass(bar), bar);
  const ghosts = bar.ghosts.map((ghost) => placed("span", `bar beside owner-${bar.owner}`, ghost));
  const time = element("span", { class: bar.over ? "bar-time over" : "bar-time" }, timeText(bar));
  if (bar.aheadMs > 0) time.append(element("small", { text: ` ${formatMs(bar.aheadMs)} ahead` }));
  placeTime(time, bar);
  return element(
    "div",
    { class: bar.durationMs < 1 ? "fall fall-small" : "fall", title: tooltip(bar), "data-hop": bar.hop },
    element("span", { class: "hop-name" }, marker(bar.owner), hopLabel(bar.hop)),
    element(
      "span",
      { class: "lane" },
      bar.allowed && placed("span", "allowed", bar.allowed),
      ...ghosts,
      drawn,
      bar.whisker && placed("span", "whisker", bar.whisker),
      time,
    ),
  );
}

const timeText = ({ over, durationMs }) => `${over ? "▲ " : ""}${formatMs(durationMs)}`;

function placed(tag, name, { left, width }) {
  const node = element(tag, { class: name });
  node.style.left = `${left}%`;
  node.style.width = `${width}%`;
  return node;
}

/** Beside the bar on the side that has room, on the bar if it leaves none. */
function placeTime(time, { left, width, whisker, aheadMs }) {
  const end = whisker ? Math.max(left + width, whisker.left + whisker.width) : left + width;
  // What was done ahead is told behind the time, and takes as much room again.
  if (end < (aheadMs > 0 ? 60 : 80)) time.style.left = `${end}%`;
  else if (left > (aheadMs > 0 ? 40 : 20)) time.style.right = `${100 - left}%`;
  else {
    time.classList.add("on-bar");
    time.style.left = `${left}%`;
  }
}

function hatchKey() {
  return element(
    "p",
    { class: "hatch-key" },
    element("span", { class: "bar estimated hatch-sample", "aria-hidden": "true" }),
    "Hatched: estimated from a round trip or a browser report. Solid: measured.",
  );
}

function besideKey() {
  return element(
    "p",
    { class: "hatch-key" },
    element("span", { class: "bar beside hatch-sample", "aria-hidden": "true" }),
    "Outlined: at work while another hop was waited for. No part of the sum.",
  );
}

function budgetKey() {
  return element(
    "p",
    { class: "hatch-key" },
    element("span", { class: "allowed hatch-sample", "aria-hidden": "true" }),
    "Pale: what the hop may take. ▲ took more. A line across the end of a bar: how wrong an estimate may be.",
  );
}

function contradiction(turn, { sumMs }) {
  const text = `The hops sum to ${formatMs(sumMs)}, the turn is stated as ${formatMs(turn.totalMs)}.`;
  return element("p", { class: "contradiction", text });
}

/** Columns that stand there if a hop has something for them. */
const EXTRAS = [
  ["Budget, ms", (bar) => bar.budgetMs],
  ["Beside others, ms", (bar) => bar.overlappedMs],
  ["Ahead, ms", (bar) => bar.aheadMs],
  ["May be wrong by, ms", (bar) => bar.errorMs],
];
const figureOf = (value) => (value === null ? "–" : value.toFixed(1));

function table(turn, { bars }) {
  const extras = EXTRAS.filter(
    ([title, read]) => title.startsWith("Beside") || bars.some((bar) => read(bar) > 0),
  );
  const lines = bars.map((bar) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: hopLabel(bar.hop), title: hopMeaning(bar.hop) }),
      element("td", { text: ownerOf(bar.owner).label }),
      element("td", { text: bar.estimated ? "estimated" : "measured" }),
      element("td", { class: "number", text: bar.startMs.toFixed(1) }),
      element("td", { class: "number", text: bar.durationMs.toFixed(1) }),
      ...extras.map(([, read]) => element("td", { class: "number", text: figureOf(read(bar)) })),
    ),
  );
  const titles = ["Hop", "Owner", "Known by", "Starts, ms", "Takes, ms", ...extras.map(([title]) => title)];
  const heads = titles.map((text) =>
    element("th", { scope: "col", text, class: text.endsWith("ms") ? "number" : null }),
  );
  const total = element(
    "tr",
    { class: "total-row" },
    element("th", { scope: "row", colspan: "4", text: "Mouth to ear" }),
    element("td", { class: "number", text: turn.totalMs.toFixed(1) }),
    ...extras.map(() => element("td", {})),
  );
  return element(
    "details",
    { class: "as-table" },
    element("summary", { text: "Show as a table" }),
    element(
      "table",
      {},
      element("caption", { text: `Hops of turn ${turn.turn} in the order of time` }),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...lines),
      element("tfoot", {}, total),
    ),
  );
}

function tooltip(bar) {
  const meaning = hopMeaning(bar.hop);
  const known = bar.estimated ? "estimated" : "measured";
  const beside = bar.overlappedMs > 0 ? `, and ${formatMs(bar.overlappedMs)} beside others` : "";
  const allowed = bar.budgetMs === null ? "" : ` of ${formatMs(bar.budgetMs)}`;
  const wrong = bar.errorMs > 0 ? ` ± ${formatMs(bar.errorMs)}` : "";
  const ahead = bar.aheadMs > 0 ? `, and ${formatMs(bar.aheadMs)} before the caller’s last word` : "";
  const took = `${formatMs(bar.durationMs)}${wrong}${allowed}${beside}${ahead}`;
  return `${hopLabel(bar.hop)}: ${took}, ${known}, ${ownerOf(bar.owner).label}. ${meaning}`.trim();
}

export const marker = (owner) =>
  element("span", { class: `marker owner-${owner} shape-${ownerOf(owner).shape}`, "aria-hidden": "true" });

const barClass = (bar) => `bar owner-${bar.owner}${bar.estimated ? " estimated" : ""}`;

/** The colours and shapes before there is a turn to explain them. */
export const ownerKey = () =>
  element(
    "ul",
    { class: "legend" },
    ...Object.entries(OWNERS).map(([owner, { label }]) =>
      element("li", {}, marker(owner), element("span", { text: label })),
    ),
  );
