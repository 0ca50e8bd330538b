// Tool calls that wait for a person: look, decide, and see what became of it.
import { sentenceOf } from "./api.js";
import { aftermath, decisions, riskOf, urgentFirst, waiting } from "./approval.js";
import { DecisionDialog } from "./decision-dialog.js";
import { heldCard, showTime } from "./held-card.js";
import { RecordBook } from "./record.js";
import { keepFresh } from "./refresh.js";
import { SettledCalls, pastTable } from "./settled-calls.js";
import { failed, loading } from "./states.js";
import { element } from "../shared/element.js";

const EVERY_MS = 5_000;

/** A decided call is followed this long: a tool that answers later is told of on the page of its session. */
const FOLLOWED_MS = 60_000;
const FOLLOW_EVERY_MS = 1_000;
const MOST_SETTLED = 20;

export function open(root, context) {
  return new ApprovalsPage(root, context);
}

class ApprovalsPage {
  #held = null;
  #cards = new Map();
  #settled = [];
  #aheadMs = 0;
  #failure = null;

  constructor(root, context) {
    this.context = context;
    this.dialog = new DecisionDialog(context.api, (held, outcome) => this.#decided(held, outcome));
    this.#draw(root);
    this.fresh = keepFresh({
      load: (signal) => this.#load(signal),
      everyMs: EVERY_MS,
      onData: (held) => this.#show(held),
      onFailure: (failure) => this.#showFailure(failure),
    });
    this.past = keepFresh({
      load: (signal) => context.api.get("/admin/v1/audit?limit=200", { signal }),
      everyMs: 30_000,
      onData: ({ items }) => this.#showPast(decisions(items)),
      onFailure: () => this.#showPast(null),
    });
    this.unlisten = context.live.listen((name) => name === "approvals" && this.fresh.hurry());
    this.ticking = setInterval(() => this.#tick(), 250);
    this.following = setInterval(() => this.#follow(), FOLLOW_EVERY_MS);
  }

  close() {
    this.unlisten();
    clearInterval(this.ticking);
    clearInterval(this.following);
    this.fresh.close();
    this.past.close();
    this.dialog.close();
  }

  async #load(signal) {
    const response = await this.context.api.fetch("/admin/v1/approvals?limit=200", { signal });
    // Time runs out by the gateway's clock, which its answers tell to the second.
    const ahead = Date.parse(response.headers.get("Date")) - Date.now();
    this.#aheadMs = Math.abs(ahead) > 2_000 ? ahead : 0;
    const { items } = await response.json();
    return items;
  }

  #now() {
    return Date.now() + this.#aheadMs;
  }

  #show(held) {
    const before = this.#held;
    this.#failure = null;
    this.#held = urgentFirst(held);
    this.waiting.hidden = true;
    const ids = new Set(held.map(({ id }) => id));
    for (const gone of (before ?? []).filter(({ id }) => !ids.has(id))) this.#vanished(gone);
    if (before) {
      for (const fresh of held.filter(({ id }) => !before.some((known) => known.id === id))) {
        this.context.announce(
          `A tool call waits for a person: ${fresh.tool}, ${riskOf(fresh.risk).label.toLowerCase()}.`,
        );
      }
    }
    this.#drawCards();
    this.#tick();
  }

  #showFailure(failure) {
    this.#failure = failure;
    if (!this.#held) this.waiting.replaceChildren(failed(failure, () => this.fresh.again()));
    this.#tick();
  }

  /** Cards that stay are not drawn anew: somebody may be reading or about to press. */
  #drawCards() {
    for (const [id, card] of this.#cards) {
      if (this.#held.some((held) => held.id === id)) continue;
      card.remove();
      this.#cards.delete(id);
    }
    for (const [index, held] of this.#held.entries()) {
      const card = this.#cards.get(held.id) ?? heldCard(held, (verdict) => this.dialog.ask(held, verdict));
      this.#cards.set(held.id, card);
      if (this.list.children[index] !== card) this.list.insertBefore(card, this.list.children[index] ?? null);
    }
    this.empty.hidden = this.#held.length > 0;
    this.list.hidden = this.#held.length === 0;
  }

  #tick() {
    if (!this.#held) return;
    const note = this.#failure ? `Not up to date: ${sentenceOf(this.#failure)}` : waiting(this.#held);
    this.note.dataset.tone = this.#failure ? "bad" : "";
    if (this.note.textContent !== note) this.note.textContent = note;
    for (const held of this.#held) {
      showTime(this.#cards.get(held.id), held, this.#now());
    }
  }

  #decided(held, { state, reason, note }) {
    this.#settle(held, { state, reason, note });
    this.#held = (this.#held ?? []).filter(({ id }) => id !== held.id);
    this.#drawCards();
    this.#tick();
    this.fresh.hurry();
    this.past.hurry();
    this.context.announce(`${held.tool}: ${state}.`);
    (this.list.querySelector("button") ?? this.heading).focus();
  }

  /** It does not wait any more, and it was not decided here. */
  #vanished(held) {
    if (this.#settled.some((settled) => settled.held.id === held.id)) return;
    const isLate = held.deadline_ms <= this.#now();
    const note = isLate ? "Its time ran out, so it counted as denied." : "It was decided elsewhere, or its call ended.";
    this.#settle(held, { state: isLate ? "ran out" : "gone", reason: "", note });
  }

  #settle(held, outcome) {
    this.#settled.unshift({ held, ...outcome, at: Date.now(), book: new RecordBook(), events: [], isOver: false });
    this.#settled.length = Math.min(this.#settled.length, MOST_SETTLED);
    this.#drawSettled();
  }

  /** Asks the sessions of what was decided a short while ago what happened next. */
  async #follow() {
    if (document.visibilityState !== "visible" || this.isFollowing) return;
    const followed = this.#settled.filter(({ at, isOver }) => !isOver && Date.now() - at < FOLLOWED_MS);
    if (followed.length === 0) return;
    this.isFollowing = true;
    try {
      await Promise.all(followed.map((settled) => this.#followOne(settled)));
    } finally {
      this.isFollowing = false;
    }
    this.#drawSettled();
  }

  async #followOne(settled) {
    try {
      const { held, book } = settled;
      const path = `/admin/v1/sessions/${encodeURIComponent(held.session)}/record`;
      book.heard(await this.context.api.get(`${path}?since=${book.revision}`));
      // A call is held a moment before it is asked about.
      const sinceMs = held.asked_at_ms - 1000 * book.session.began_at - 1_000;
      settled.events = aftermath(book.events, held, sinceMs);
      settled.isOver = book.session.state === "ended";
    } catch (failure) {
      if (failure?.status === 404) settled.isOver = true;
    }
  }

  #drawSettled() {
    this.settledCard.hidden = this.#settled.length === 0;
    this.settledCalls.show(this.#settled);
  }

  #showPast(past) {
    this.pastCard.hidden = !past;
    if (!past) return;
    this.pastList.replaceChildren(
      past.length
        ? pastTable(past)
        : element("p", { class: "quiet-note", text: "Nobody has decided about a tool call yet." }),
    );
  }

  #draw(root) {
    this.heading = element("h1", { text: "Approvals", tabindex: "-1" });
    this.note = element("p", { class: "aside figures-note", role: "status", "data-testid": "approvals-note" });
    this.list = element("ol", { class: "held-list", "data-testid": "held-list", hidden: true });
    this.waiting = element("div", {}, loading());
    this.empty = element(
      "section",
      { class: "card state state-empty", "data-testid": "empty", hidden: true },
      element("h2", { text: "Nothing waits for a person" }),
      element("p", {
        text: "A tool call waits here when the agent’s tool is marked as dangerous, or when a policy asks for a person’s approval. The caller is told that somebody looks at it; a call nobody decides about counts as denied.",
      }),
    );
    this.settled = element("ol", { class: "settled", "data-testid": "settled" });
    this.settledCalls = new SettledCalls(this.settled);
    this.settledCard = card("What became of them", "settled-title", this.settled);
    this.settledCard.hidden = true;
    this.pastList = element("div", { class: "table-scroll", "data-testid": "past" });
    this.pastCard = card("Decisions in the audit log", "past-title", this.pastList);
    this.pastCard.hidden = true;
    root.append(
      element("div", { class: "page-head" }, this.heading, this.note),
      this.waiting,
      this.empty,
      this.list,
      this.settledCard,
      this.pastCard,
      this.dialog.node,
    );
  }
}

const card = (title, name, child) =>
  element(
    "section",
    { class: "card", "aria-labelledby": name },
    element("div", { class: "card-head" }, element("h2", { id: name, text: title })),
    child,
  );
