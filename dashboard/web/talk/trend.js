// The last turns side by side: a trend to read at a glance and the way to look at an earlier turn.
import { element } from "../shared/element.js";
import { OWNERS, formatMs, groupThousands, medianTotal, ownerShares } from "../shared/hops.js";

export const SHOWN_TURNS = 12;

/** Draws `turns` (oldest first) into `list`; a click hands the turn's number to `onPick`. */
export function drawTrend(list, turns, pickedTurn, onPick) {
  const shown = turns.slice(-SHOWN_TURNS);
  const tallestMs = Math.max(...shown.map((turn) => turn.totalMs), 1);
  const focused = document.activeElement?.dataset?.turn;
  list.replaceChildren(
    ...shown.map((turn) => element("li", {}, column(turn, tallestMs, turn.turn === pickedTurn, onPick))),
  );
  if (focused) list.querySelector(`[data-turn="${focused}"]`)?.focus();
}

/** One line about all turns so far. */
export function trendLine(turns) {
  if (turns.length === 0) return "";
  if (turns.length === 1) return "One turn so far.";
  const fastest = Math.min(...turns.map((turn) => turn.totalMs));
  return `${turns.length} turns, median ${formatMs(medianTotal(turns))}, fastest ${formatMs(fastest)}.`;
}

// The same order in every column, or their parts could not be compared.
const ORDER = Object.keys(OWNERS);
const byOwner = (a, b) => ORDER.indexOf(a.owner) - ORDER.indexOf(b.owner);

function column(turn, tallestMs, isPicked, onPick) {
  const stack = element("span", { class: "stack" });
  stack.style.height = `${(100 * turn.totalMs) / tallestMs}%`;
  for (const { owner, share } of ownerShares(turn).sort(byOwner)) {
    const part = element("span", { class: `bar owner-${owner}` });
    part.style.height = `${100 * share}%`;
    stack.append(part);
  }
  const button = element(
    "button",
    {
      type: "button",
      class: "trend-turn",
      "data-turn": turn.turn,
      "aria-pressed": String(isPicked),
      "aria-label": `Turn ${turn.turn}, ${formatMs(turn.totalMs)}`,
    },
    element("span", { class: "trend-total", text: groupThousands(Math.round(turn.totalMs)) }),
    element("span", { class: "trend-room" }, stack),
    element("span", { class: "trend-number", text: `#${turn.turn}` }),
  );
  button.addEventListener("click", () => onPick(turn.turn));
  return button;
}
