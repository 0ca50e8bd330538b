// The turns of a session below each other: total, budget, owners, cost. A click looks at one.
import { element } from "../shared/element.js";
import { OWNERS, breachText, formatMs, ownerShares, turnOf } from "../shared/hops.js";
import { put } from "./columns.js";
import { clock, money, plural } from "./format.js";
import { Keyed } from "./keyed.js";
import { UNMEASURED } from "./states.js";

/** So many are shown until somebody asks for all. */
const SHOWN = 60;
const ORDER = Object.keys(OWNERS);
const HEADS = [
  { text: "Turn", order: "turn" },
  { text: "At" },
  { text: "Mouth to ear against its budget" },
  { text: "Total", order: "total" },
  { text: "Cost", order: "cost" },
];
/** The greatest first. */
const ORDERS = {
  turn: (a, b) => b.turn - a.turn,
  total: (a, b) => b.mouth_to_ear_ms - a.mouth_to_ear_ms || b.turn - a.turn,
  cost: (a, b) => (b.cost_nano_dollars ?? -1) - (a.cost_nano_dollars ?? -1) || b.turn - a.turn,
};

export class TurnList {
  #rows;
  #shows = SHOWN;
  #turns = [];
  #order = "turn";

  constructor(root, onPick) {
    this.onPick = onPick;
    this.body = element("tbody");
    this.#rows = new Keyed(this.body, { keyOf: ({ turn }) => turn, make: makeRow });
    this.more = element("button", { type: "button", class: "plain", hidden: true });
    this.more.addEventListener("click", () => {
      this.#shows = Infinity;
      this.show(this.#turns, this.picked);
    });
    this.none = element("p", { class: "help" });
    this.scroller = element(
      "div",
      { class: "turn-scroll" },
      element(
        "table",
        { class: "turns", "data-testid": "turns" },
        element("caption", {
          class: "hidden",
          text: "Turns; the heads Turn, Total and Cost put them in order",
        }),
        element("thead", {}, element("tr", {}, ...HEADS.map((head) => this.#head(head)))),
        this.body,
      ),
      this.none,
      this.more,
    );
    root.append(this.scroller);
    this.body.addEventListener("click", (event) => {
      const number = event.target.closest("tr")?.dataset.turn;
      if (number) onPick(Number(number));
    });
  }

  /** In the order that was chosen, at first the newest first; `picked` is the number of the one that is looked at. */
  show(turns, picked, isMeasured = true) {
    this.#turns = turns;
    this.none.textContent = isMeasured
      ? "No turn yet. A turn is measured when the caller hears the answer."
      : UNMEASURED;
    this.picked = picked;
    const wanted = [...turns].sort(ORDERS[this.#order]).slice(0, this.#shows);
    const scale = turns.reduce((most, turn) => Math.max(most, turn.mouth_to_ear_ms, turn.budget_ms ?? 0), 1);
    this.#rows.show(wanted, (row, turn) => update(row, turn, scale, turn.turn === picked));
    this.none.hidden = turns.length > 0;
    this.more.hidden = turns.length <= this.#shows;
    this.more.textContent = `Show all ${turns.length}`;
  }

  #head({ text, order }) {
    const cell = element("th", { scope: "col" });
    if (!order) {
      cell.textContent = text;
      return cell;
    }
    const button = element("button", { type: "button", class: "order-button", text });
    button.addEventListener("click", () => {
      this.#order = order;
      for (const other of cell.parentNode.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", "descending");
      this.show(this.#turns, this.picked);
      this.scroller.scrollTop = 0;
    });
    if (order === this.#order) cell.setAttribute("aria-sort", "descending");
    cell.append(button);
    return cell;
  }

  /** Scrolls the list, and only the list, to a turn. */
  reveal(number) {
    const row = this.#rows.get(number)?.node;
    if (!row) return;
    const { top, bottom } = row.getBoundingClientRect();
    const room = this.scroller.getBoundingClientRect();
    const head = row.closest("table").tHead.offsetHeight;
    if (top < room.top + head) this.scroller.scrollTop -= room.top + head - top;
    else if (bottom > room.bottom) this.scroller.scrollTop += bottom - room.bottom;
  }
}

function makeRow({ turn: number }) {
  const pick = element("button", { type: "button", class: "turn-number", text: `#${number}` });
  const at = element("td", { class: "figure" });
  const stack = element("span", { class: "turn-stack" });
  const budget = element("span", { class: "turn-budget", "aria-hidden": "true" });
  const total = element("td", { class: "number" });
  const cost = element("td", { class: "number" });
  const tr = element(
    "tr",
    { "data-turn": number },
    element("th", { scope: "row" }, pick),
    at,
    element("td", { class: "turn-room" }, element("span", { class: "turn-track" }, budget, stack)),
    total,
    cost,
  );
  return { node: tr, pick, at, stack, budget, total, cost };
}

function update(row, turn, scale, isPicked) {
  const pressed = String(isPicked);
  if (row.pick.getAttribute("aria-pressed") !== pressed) row.pick.setAttribute("aria-pressed", pressed);
  row.node.classList.toggle("picked", isPicked);
  const key = `${turn.seq} ${scale}`;
  if (row.key === key) return;
  row.key = key;
  const read = turnOf(turn);
  const whole = read?.breaches.find(isWhole);
  put(row.at, clock(turn.at_ms));
  const sign = whole ? "▲ " : read?.breaches.length ? "△ " : "";
  put(row.total, `${sign}${formatMs(turn.mouth_to_ear_ms)}`);
  row.total.dataset.tone = whole ? "bad" : "none";
  row.total.title = read?.breaches.length ? `Over budget: ${read.breaches.map(breachText).join("; ")}` : "";
  put(row.cost, money(turn.cost_nano_dollars));
  row.budget.style.width = `${(100 * (turn.budget_ms ?? 0)) / scale}%`;
  row.stack.style.width = `${(100 * turn.mouth_to_ear_ms) / scale}%`;
  const shares = read
    ? ownerShares(read).sort((a, b) => ORDER.indexOf(a.owner) - ORDER.indexOf(b.owner))
    : [];
  row.stack.title = shares
    .map(({ owner, durationMs }) => `${OWNERS[owner]?.label ?? "Other"} ${formatMs(durationMs)}`)
    .join(", ");
  row.stack.replaceChildren(
    ...shares.map(({ owner, share }) => {
      const part = element("i", { class: `bar owner-${owner}` });
      part.style.width = `${100 * share}%`;
      return part;
    }),
  );
}

const isWhole = ({ subject }) => subject === "whole";

/** One line about all turns. */
export function turnsLine(turns) {
  if (!turns.length) return "";
  const broken = turns.filter(({ breaches }) => breaches.some(isWhole)).length;
  const inParts = turns.filter(({ breaches }) => breaches.length && !breaches.some(isWhole)).length;
  const parts = [broken && `▲ ${broken} over budget`, inParts && `△ ${inParts} only in a hop`].filter(
    Boolean,
  );
  return `${plural(turns.length, "turn")}, ${parts.length ? parts.join(", ") : "all within budget"}`;
}
