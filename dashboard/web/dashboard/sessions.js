// The list of sessions: live, worst first.
import { element } from "../shared/element.js";
import { drawFilters } from "./filters.js";
import { count, plural } from "./format.js";
import { memoryNote } from "./memory.js";
import { filterOf, ranked, settle } from "./order.js";
import { Rows } from "./rows.js";
import { sessionPath } from "./routes.js";
import { empty, failed, loading } from "./states.js";

export function open(root, context) {
  return new SessionList(root, context);
}

class SessionList {
  #order = [];
  #picked = null;
  #isPointed = false;
  #isDue = false;
  #isOver = false;

  constructor(root, context) {
    this.context = context;
    this.filter = filterOf(context.query);
    this.#draw(root);
    this.#unlisten = context.live.listen((name) => {
      if (name === "sessions" || name === "state") this.#schedule();
    });
    this.ticking = setInterval(() => this.#schedule(), 1000);
    document.addEventListener("keydown", this.#key);
    this.#schedule();
  }

  #unlisten = () => {};

  /** The address has another query: somebody went back or followed a link. */
  changed(query) {
    this.filter = filterOf(query);
    this.filters.show(this.filter);
    this.#order = [];
    this.#schedule();
  }

  close() {
    this.#isOver = true;
    this.#unlisten();
    clearInterval(this.ticking);
    document.removeEventListener("keydown", this.#key);
  }

  #draw(root) {
    this.filters = drawFilters((patch) => this.#change(patch));
    this.filters.show(this.filter);
    this.held = element("button", {
      type: "button",
      class: "held",
      "data-testid": "held",
      title: "Rows stay where they are while you point at them (o)",
      hidden: true,
    });
    this.held.addEventListener("click", () => this.#reorder());
    this.total = element("p", { class: "aside", "data-testid": "total" });
    const scroller = element("div", {
      class: "list-scroll",
      tabindex: "0",
      role: "region",
      "aria-label": "Sessions",
      "data-testid": "sessions",
    });
    this.rows = new Rows(scroller, {
      caption: "Sessions with their latency, quality, cost and provider",
      onOpen: (id) => this.context.go(sessionPath(id)),
      onScroll: () => this.#schedule(),
    });
    const { body } = this.rows;
    body.addEventListener("pointerenter", () => (this.#isPointed = true));
    body.addEventListener("pointerleave", () => {
      this.#isPointed = false;
      this.#schedule();
    });
    body.addEventListener("focusin", (event) => {
      this.#picked = event.target.closest("tr")?.dataset.id ?? this.#picked;
    });
    body.addEventListener("focusout", () => this.#schedule());
    this.note = element("div", { class: "list-note" });
    this.resized = new ResizeObserver(() => this.#schedule());
    this.resized.observe(scroller);
    root.append(
      element("div", { class: "page-head" }, element("h1", { text: "Sessions" }), this.total, this.held),
      this.filters.node,
      element("div", { class: "card list" }, scroller, this.note),
    );
    this.scroller = scroller;
  }

  #change(patch) {
    this.context.patchQuery(patch);
    this.filter = filterOf(new URLSearchParams(location.search));
    this.filters.show(this.filter);
    this.#reorder();
    this.scroller.scrollTop = 0;
  }

  #reorder() {
    this.#order = [];
    this.#schedule();
  }

  get #isHeld() {
    return this.#isPointed || this.rows.body.contains(document.activeElement);
  }

  #schedule() {
    if (this.#isDue || this.#isOver) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#isOver) this.#render();
    });
  }

  #render() {
    const all = this.context.live.book.sessions;
    const wanted = ranked(all.values(), this.filter);
    const isHeld = this.#isHeld && this.#order.length > 0;
    const { order, moved } = settle(this.#order, wanted, isHeld, (id) => all.has(id));
    this.#order = order;
    if (!order.includes(this.#picked)) this.#picked = order[0] ?? null;
    this.rows.show(order, (id) => all.get(id), this.#picked, Date.now() / 1000);
    this.held.hidden = !isHeld || moved === 0;
    this.held.textContent = "Order held while you are in the list · put in order";
    this.filters.offer(all, this.context.live);
    this.#showNote(order.length, all.size);
  }

  #showNote(shown, known) {
    const { hasTold, state } = this.context.live;
    const all = plural(known, "session");
    this.total.textContent = known === 0 ? "" : shown === known ? all : `${count(shown)} of ${all}`;
    const key = [shown > 0, hasTold, state.kind, this.filter.state, known > 0].join();
    if (this.note.dataset.key === key) return;
    this.note.dataset.key = key;
    this.rows.table.hidden = shown === 0;
    const nothing = () => {
      if (!hasTold && state.kind === "refused") return failed(state.failure);
      if (!hasTold && state.kind === "lost") return failed(state.failure, () => this.context.live.hurry());
      if (!hasTold) return loading("Asking the gateway for its sessions…");
      return this.#emptyNote(known);
    };
    this.note.replaceChildren(...(shown ? [] : [nothing()]));
  }

  #emptyNote(known) {
    if (known > 0 && this.filters.isNarrow) {
      const button = element("button", { type: "button", class: "plain", text: "Take the filters away" });
      button.addEventListener("click", () => this.#change(this.filters.nothing));
      return empty("No session passes these filters", "There are others that do not.", button);
    }
    if (this.filter.state === "ended") {
      return empty(
        "No call has ended since this gateway began",
        "Calls that ran before a restart are not here: nothing is read back from disk.",
        memoryNote(this.context.api),
      );
    }
    const talk = element("a", { class: "button-link", href: "/", text: "Talk with the agent" });
    return empty(
      "Nobody is calling right now",
      "A call appears here within a second of its beginning.",
      ...(this.filter.state === "all" ? [memoryNote(this.context.api)] : []),
      talk,
    );
  }

  #key = (event) => {
    const inField = event.target.closest?.("input, select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && (inField || this.rows.body.contains(event.target))) {
      event.target.blur();
      return;
    }
    if (inField) {
      if (event.key === "ArrowDown" && event.target.type === "search") this.#step(event, 0);
      return;
    }
    const steps = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (event.key in steps) return this.#step(event, steps[event.key]);
    if (event.key === "/") {
      event.preventDefault();
      this.filters.focus();
    }
    if (event.key === "o") this.#reorder();
    if (event.key === "Enter" && event.target === this.scroller && this.#picked) {
      this.context.go(sessionPath(this.#picked));
    }
  };

  #step(event, by) {
    event.preventDefault();
    const { length } = this.#order;
    if (!length) return;
    const isInList =
      this.rows.body.contains(document.activeElement) || document.activeElement === this.scroller;
    const at = this.#order.indexOf(this.#picked);
    const next = isInList ? Math.max(0, Math.min(length - 1, at + by)) : Math.max(0, at);
    this.#picked = this.#order[next];
    this.rows.reveal(this.#picked);
    // At once: the next key may be pressed before the next frame.
    this.#render();
    this.rows.focus(this.#picked);
  }
}
