// The rows of a long table: only those in view exist, each belongs to one id for as long as it is there.
import { element } from "../shared/element.js";
import { COLUMNS } from "./columns.js";
import { Keyed } from "./keyed.js";
import { rowsInView } from "./order.js";

export const ROW_HEIGHT = 46;

export class Rows {
  #rows;
  #order = [];
  #above = spacer();
  #below = spacer();

  /** Draws the table into `scroller`, which scrolls. `onOpen(id)` is a click into a row. */
  constructor(scroller, { caption, onOpen, onScroll }) {
    this.scroller = scroller;
    this.body = element("tbody");
    this.#rows = new Keyed(this.body, {
      keyOf: (id) => id,
      make: makeRow,
      // What has the focus goes; the list keeps it, so that the next key goes on from there.
      leave: ({ node }) => node.contains(document.activeElement) && scroller.focus({ preventScroll: true }),
    });
    this.table = element(
      "table",
      { class: "sessions" },
      element("caption", { class: "hidden", text: caption }),
      element("colgroup", {}, ...COLUMNS.map(({ name }) => element("col", { class: `col-${name}` }))),
      element("thead", {}, element("tr", { "aria-rowindex": "1" }, ...COLUMNS.map(head))),
      this.#above.body,
      this.body,
      this.#below.body,
    );
    scroller.replaceChildren(this.table);
    scroller.addEventListener("scroll", onScroll, { passive: true });
    this.body.addEventListener("click", (event) => {
      const hasSelected = String(getSelection() ?? "") !== "";
      const row = event.target.closest("tr");
      if (row && !hasSelected && !event.target.closest("a")) onOpen(row.dataset.id);
    });
  }

  /** Brings the table up to date: `order` are ids, `read(id)` gives their summaries, `picked` is where the keyboard is. */
  show(order, read, picked, now) {
    this.#order = order;
    const head = this.table.tHead.offsetHeight;
    const { scrollTop, clientHeight } = this.scroller;
    const view = { top: scrollTop, height: clientHeight - head, rowHeight: ROW_HEIGHT, count: order.length };
    const { from, to } = rowsInView(view);
    this.#rows.show(order.slice(from, to), (row, id, index) =>
      update(row, read(id), from + index, id === picked, now),
    );
    this.#above.size(from * ROW_HEIGHT);
    this.#below.size((order.length - to) * ROW_HEIGHT);
    this.table.setAttribute("aria-rowcount", String(order.length + 1));
  }

  /** Scrolls a row into view; the next `show` gives it to `focus`. */
  reveal(id) {
    const index = this.#order.indexOf(id);
    if (index < 0) return;
    const head = this.table.tHead.offsetHeight;
    const room = this.scroller.clientHeight - head;
    const top = index * ROW_HEIGHT;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW_HEIGHT > this.scroller.scrollTop + room)
      this.scroller.scrollTop = top + ROW_HEIGHT - room;
  }

  focus(id) {
    this.#rows.get(id)?.cells[0].link.focus({ preventScroll: true });
  }
}

function makeRow(id) {
  const cells = [];
  const node = element("tr", { "data-id": id });
  for (const { name, number, make } of COLUMNS) {
    const cell = element(name === "session" ? "th" : "td", {
      class: `col-${name}${number ? " number" : ""}`,
      scope: name === "session" ? "row" : null,
    });
    cells.push(make(cell));
    node.append(cell);
  }
  return { node, cells };
}

function update(row, summary, index, isPicked, now) {
  const position = String(index + 2);
  if (row.node.getAttribute("aria-rowindex") !== position) row.node.setAttribute("aria-rowindex", position);
  const tab = isPicked ? "0" : "-1";
  const { link } = row.cells[0];
  if (link.getAttribute("tabindex") !== tab) link.setAttribute("tabindex", tab);
  if (!summary) return;
  row.node.dataset.state = summary.state;
  COLUMNS.forEach(({ show }, column) => show(row.cells[column], summary, now));
}

const head = ({ name, title, hint, number }) =>
  element("th", { scope: "col", class: `col-${name}${number ? " number" : ""}`, title: hint, text: title });

function spacer() {
  const row = element("tr");
  const body = element("tbody", { class: "spacer", "aria-hidden": "true" }, row);
  let height = -1;
  return {
    body,
    size(next) {
      if (next === height) return;
      height = next;
      row.style.height = `${next}px`;
      body.hidden = next === 0;
    },
  };
}
