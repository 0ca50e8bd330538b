// The list of sessions: live, worst first.
import { element } from "../shared/element.js";
import { drawFilters } from "./filters.js";
import { plural } from "./format.js";
import { filterOf, ranked, settle } from "./order.js";
import { Rows } from "./rows.js";
import { sessionPath } from "./routes.js";
import { empty, failed, loading } from "./states.js";

const MOST = 1000;

export function open(root, context) {
  return new SessionList(root, context);
}

class SessionList {
  #past = new Map();
  #order = [];
  #picked = null;
  #isPointed = false;
  #isDue = false;
  #isOver = false;
  #failure = null;
  #wantsFocus = false;
  #refetch = null;

  constructor(root, context) {
    this.context = context;
    this.filter = filterOf(context.query);
    this.#draw(root);
    this.#unlisten = context.live.listen((name, data) => this.#heard(name, data));
    this.ticking = setInterval(() => this.#schedule(), 1000);
    document.addEventListener("keydown", this.#key);
    this.#fetchPast();
    this.#schedule();
  }

  #unlisten = () => {};

  /** The address has another query: somebody went back or followed a link. */
  changed(query) {
    this.filter = filterOf(query);
    this.filters.show(this.filter);
    this.#order = [];
    this.#fetchPast();
    this.#schedule();
  }

  close() {
    this.#isOver = true;
    this.#unlisten();
    clearInterval(this.ticking);
    clearTimeout(this.#refetch);
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
    const wasLive = this.filter.state === "live";
    this.filter = filterOf(new URLSearchParams(location.search));
    this.filters.show(this.filter);
    if (wasLive && this.filter.state !== "live") this.#fetchPast();
    this.#reorder();
    this.scroller.scrollTop = 0;
  }

  #heard(name, data) {
    if (name === "sessions") {
      const hasLost = (data.gone ?? []).length > 0;
      if (hasLost && this.filter.state !== "live") {
        this.#refetch ??= setTimeout(() => {
          this.#refetch = null;
          this.#fetchPast();
        }, 1000);
      }
    }
    if (name === "sessions" || name === "state") this.#schedule();
  }

  /** Those that ended are not told by the feed for long; the list of the past is asked for. */
  async #fetchPast() {
    if (this.filter.state === "live") return;
    try {
      const { items } = await this.context.api.get(
        `/admin/v1/sessions?state=ended&order=begun&limit=${MOST}`,
      );
      this.#past = new Map(items.map((summary) => [summary.id, summary]));
      this.#failure = null;
    } catch (failure) {
      this.#failure = failure;
    }
    this.#schedule();
  }

  #all() {
    return new Map([...this.#past, ...this.context.live.book.sessions]);
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
    const all = this.#all();
    const wanted = ranked(all.values(), this.filter);
    const isHeld = this.#isHeld && this.#order.length > 0;
    const { order, moved } = settle(this.#order, wanted, isHeld, (id) => all.has(id));
    this.#order = order;
    if (!order.includes(this.#picked)) this.#picked = order[0] ?? null;
    this.rows.show(order, (id) => all.get(id), this.#picked, Date.now() / 1000);
    if (this.#wantsFocus) this.rows.focus(this.#picked);
    this.#wantsFocus = false;
    this.held.hidden = !isHeld || moved === 0;
    this.held.textContent = `Order held · ${plural(moved, "row")} would move · put in order`;
    this.filters.offer(all, this.context.live.book);
    this.#showNote(order.length, all.size);
  }

  #showNote(shown, known) {
    const { hasTold, state, book } = this.context.live;
    this.total.textContent =
      shown === known ? plural(shown, "session") : `${shown} of ${plural(known, "session")}`;
    const key = [shown > 0, hasTold, state.kind, this.#failure?.message, this.filter.state, known > 0].join();
    if (this.note.dataset.key === key) return;
    this.note.dataset.key = key;
    this.rows.table.hidden = shown === 0;
    const nothing = () => {
      if (this.#failure) return failed(this.#failure, () => this.#fetchPast());
      if (!hasTold && state.kind === "refused") return failed(state.failure);
      if (!hasTold && state.kind === "lost") return failed(state.failure, () => this.context.live.hurry());
      if (!hasTold) return loading("Asking the gateway for its sessions…");
      return this.#emptyNote(known, book);
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
        "No call has ended yet",
        "The gateway keeps the last thousand calls in memory; a restart forgets them.",
      );
    }
    const talk = element("a", { class: "button-link", href: "/", text: "Talk with the agent" });
    return empty(
      "Nobody is calling right now",
      "A call appears here within a second of its beginning.",
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
    this.#wantsFocus = true;
    this.rows.reveal(this.#picked);
    this.#schedule();
  }
}
