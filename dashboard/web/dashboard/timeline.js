// All lanes of a session on one time axis: looking closer, moving along, and the moment under the pointer are the same for all.
import { element } from "../shared/element.js";
import {
  between,
  followedView,
  momentAt,
  onward,
  panned,
  placeOf,
  shareOf,
  showing,
  timeTicks,
  wholeView,
  zoomed,
} from "./axis.js";
import { clock } from "./format.js";
import { GUTTER } from "./plot.js";

const CLOSER = 0.6;
const STEP = 0.15;
/** A shorter drag is a click. */
const DRAG_PX = 5;

export class Timeline {
  #book;
  #lanes = [];
  #pinned = null;
  #hover = null;
  #drag = null;
  #isDue = false;

  /**
   * `lanes` are made by `make(timeline)`: `{ node, draw({ book, view, width, turn }), point?(atMs) }`. `onPick(atMs)` is a click
   * at a moment.
   */
  constructor(root, book, { lanes, onPick, isLive }) {
    this.#book = book;
    this.onPick = onPick;
    this.isFollowing = isLive;
    this.view = wholeView(0);
    this.turn = null;
    this.playedMs = null;
    this.#draw(root);
    this.#lanes = lanes.map((make) => make(this));
    this.grid.after(...this.#lanes.map(({ node }) => node));
    this.#listen();
    this.resized = new ResizeObserver(() => this.schedule());
    this.resized.observe(this.tracks);
    this.recoloured = () => this.schedule();
    document.addEventListener("themechange", this.recoloured);
    this.schedule();
  }

  close() {
    this.resized.disconnect();
    document.removeEventListener("themechange", this.recoloured);
    for (const lane of this.#lanes) lane.close?.();
    this.#lanes = [];
  }

  /** The record grew. */
  grown() {
    if (this.isFollowing) this.#follow();
    this.schedule();
  }

  pick(turn) {
    this.turn = turn;
    this.schedule();
  }

  /** Brings a stretch into view. */
  reveal(fromMs, toMs) {
    const next = showing(this.view, fromMs, toMs, this.#extent);
    if (next !== this.view) this.look(next);
  }

  /** Looks at another stretch; that ends following. */
  look(view) {
    this.view = view;
    this.isFollowing = false;
    this.schedule();
  }

  whole() {
    this.look(wholeView(this.#extent));
  }

  follow() {
    this.isFollowing = true;
    this.#follow();
    this.schedule();
  }

  closer(factor = CLOSER) {
    this.look(
      zoomed(this.view, this.#pinned ?? (this.view.fromMs + this.view.toMs) / 2, factor, this.#extent),
    );
  }

  move(by) {
    this.look(panned(this.view, by * (this.view.toMs - this.view.fromMs), this.#extent));
  }

  /** The moment that plays, or null. Where it leaves the view by playing on, the view goes on with it. */
  played(atMs, isPlaying = false) {
    const { fromMs, toMs } = this.view;
    const wasSeen = this.playedMs !== null && this.playedMs >= fromMs && this.playedMs <= toMs;
    this.playedMs = atMs;
    if (isPlaying && wasSeen && atMs > toMs && !this.#drag) this.look(onward(this.view, atMs, this.#extent));
    this.schedule();
  }

  schedule() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#render();
    });
  }

  get #extent() {
    return this.#book.extentMs;
  }

  #follow() {
    const length = this.view.toMs - this.view.fromMs;
    this.view = followedView(this.#extent, length > 1000 ? Math.max(length, 5000) : undefined);
    if (this.#extent < this.view.toMs - this.view.fromMs) this.view = followedView(this.#extent);
  }

  #draw(root) {
    this.cursor = element("span", { class: "cursor", hidden: true }, element("span", {}));
    this.playhead = element("span", { class: "playhead", hidden: true });
    this.band = element("span", { class: "turn-band", hidden: true });
    this.selection = element("span", { class: "selection", hidden: true });
    this.grid = element("div", { class: "time-axis", "aria-hidden": "true" });
    this.overlay = element(
      "div",
      { class: "overlay" },
      this.band,
      this.selection,
      this.playhead,
      this.cursor,
    );
    this.tracks = element("div", { class: "tracks" }, this.grid, this.overlay);
    this.tracks.style.setProperty("--gutter", `${GUTTER}px`);
    root.append(this.tracks);
  }

  #listen() {
    const { tracks } = this;
    tracks.addEventListener("pointermove", (event) => this.#pointed(event));
    tracks.addEventListener("pointerleave", () => this.#left());
    tracks.addEventListener("pointerdown", (event) => this.#pressed(event));
    tracks.addEventListener("pointerup", (event) => this.#released(event));
    tracks.addEventListener("pointercancel", () => this.#cancelled());
    tracks.addEventListener("dblclick", () => this.whole());
    tracks.addEventListener("wheel", (event) => this.#wheeled(event), { passive: false });
  }

  #shareAt(event) {
    const { left, width } = this.tracks.getBoundingClientRect();
    return (event.clientX - left - GUTTER) / Math.max(1, width - GUTTER);
  }

  #momentOf(event) {
    return momentAt(this.view, Math.max(0, Math.min(1, this.#shareAt(event))));
  }

  #pointed(event) {
    this.#hover = this.#shareAt(event) < 0 ? null : this.#momentOf(event);
    this.#pinned = this.#hover;
    const drag = this.#drag;
    if (drag) {
      drag.isMoved ||= Math.abs(event.clientX - drag.x) >= DRAG_PX;
      if (drag.isMoved && drag.pans) {
        const by = drag.share - this.#shareAt(event);
        this.look(panned(drag.view, by * (drag.view.toMs - drag.view.fromMs), this.#extent));
      }
    }
    this.schedule();
  }

  #left() {
    if (this.#drag) return;
    this.#hover = this.#pinned = null;
    this.schedule();
  }

  #pressed(event) {
    if (event.button !== 0 || event.target.closest("button, a") || this.#shareAt(event) < 0) return;
    this.#drag = {
      x: event.clientX,
      share: this.#shareAt(event),
      atMs: this.#momentOf(event),
      view: this.view,
      pans: event.shiftKey,
      isMoved: false,
    };
    this.tracks.setPointerCapture(event.pointerId);
  }

  #released(event) {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag) return;
    if (!drag.isMoved) this.onPick(drag.atMs);
    else if (!drag.pans) this.look(between(drag.atMs, this.#momentOf(event), this.#extent));
    this.schedule();
  }

  #cancelled() {
    this.#drag = null;
    this.schedule();
  }

  /** Sideways moves along; with Ctrl, or a pinch, it looks closer. Up and down alone stays the page's. */
  #wheeled(event) {
    const sideways =
      Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      event.preventDefault();
      this.look(zoomed(this.view, this.#momentOf(event), Math.exp(event.deltaY / 300), this.#extent));
    } else if (sideways) {
      event.preventDefault();
      const width = this.tracks.clientWidth - GUTTER;
      this.look(panned(this.view, (sideways / width) * (this.view.toMs - this.view.fromMs), this.#extent));
    }
  }

  #render() {
    const width = this.tracks.clientWidth - GUTTER;
    if (width <= 0) return;
    const { view } = this;
    const scene = { book: this.#book, view, width, turn: this.turn };
    for (const lane of this.#lanes) lane.draw(scene);
    this.#renderAxis(width);
    this.#renderOverlay();
    for (const lane of this.#lanes) lane.point?.(this.#hover);
    this.onView?.(this);
  }

  #renderAxis(width) {
    const { moments, digits } = timeTicks(this.view, width);
    while (this.grid.children.length > moments.length) this.grid.lastChild.remove();
    moments.forEach((atMs, index) => {
      const tick =
        this.grid.children[index] ?? this.grid.appendChild(element("span", {}, element("span", {})));
      const share = shareOf(this.view, atMs);
      tick.style.left = `${100 * share}%`;
      tick.className = share > 0.97 ? "tick-end" : "";
      tick.firstChild.textContent = clock(atMs, digits);
    });
  }

  #renderOverlay() {
    place(
      this.band,
      this.turn && placeOf(this.view, this.turn.at_ms, this.turn.at_ms + this.turn.mouth_to_ear_ms),
    );
    const drag = this.#drag?.isMoved && !this.#drag.pans ? this.#drag : null;
    const [a, b] = drag ? [drag.atMs, this.#hover ?? drag.atMs].sort((x, y) => x - y) : [0, 0];
    place(this.selection, drag && placeOf(this.view, a, b));
    at(this.playhead, this.playedMs === null ? null : shareOf(this.view, this.playedMs));
    const share = this.#hover === null ? null : shareOf(this.view, this.#hover);
    at(this.cursor, share);
    if (share === null) return;
    this.cursor.firstChild.textContent = clock(
      this.#hover,
      this.view.toMs - this.view.fromMs < 20_000 ? 2 : 1,
    );
    this.cursor.classList.toggle("cursor-end", share > 0.9);
  }

  /** A key was pressed; true if it means something here. */
  key(key) {
    const acts = {
      ArrowLeft: () => this.move(-STEP),
      ArrowRight: () => this.move(STEP),
      "+": () => this.closer(),
      "=": () => this.closer(),
      "-": () => this.closer(1 / CLOSER),
      0: () => this.whole(),
      f: () => this.follow(),
    };
    if (!Object.hasOwn(acts, key)) return false;
    acts[key]();
    return true;
  }
}

function place(node, where) {
  node.hidden = !where;
  if (!where) return;
  node.style.left = `${where.left}%`;
  node.style.width = `${where.width}%`;
}

function at(node, share) {
  node.hidden = share === null || share < 0 || share > 1;
  if (!node.hidden) node.style.left = `${100 * share}%`;
}
