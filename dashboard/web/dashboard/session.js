// One session: where the time of its turns went, on one time axis with the network, the voices and what happened.
import { element } from "../shared/element.js";
import { turnOf } from "../shared/hops.js";
import { drawWaterfall, ownerKey } from "../shared/waterfall.js";
import { sentenceOf } from "./api.js";
import { followedView, wholeView } from "./axis.js";
import { drawCallTools } from "./call-tools.js";
import { timeOfDay } from "./format.js";
import { follow } from "./feed.js";
import { eventLane, turnLane, voiceLane } from "./lanes.js";
import { memoryNote } from "./memory.js";
import { networkLanes } from "./network.js";
import { RecordBook, turnAt } from "./record.js";
import { UNMEASURED, empty, failed, loading } from "./states.js";
import { drawSummary, stateWord } from "./summary.js";
import { Timeline } from "./timeline.js";
import { TurnList, turnsLine } from "./turns.js";
import { drawEvents, drawTranscript } from "./words.js";

/** What was said to be over may be written down for a moment longer. */
const PUT_AWAY_ATTEMPTS = 20;
const PUT_AWAY_PAUSE_MS = 500;

/** What comes before a turn when it is listened to: the caller's last words. */
const LEAD_MS = 2000;

export const open = (root, context) => new SessionPage(root, context);

class SessionPage {
  #book = new RecordBook();
  #root;
  #context;
  #feed = null;
  #feedState = { kind: "connecting", since: Date.now(), failure: null };
  #parts = null;
  /** The turn somebody chose; null follows the newest. */
  #chosen;
  #drawnTurn = null;
  #drawnStanding = null;
  /** What changed since it was drawn. */
  #news = new Set();
  #isDue = false;
  #isOver = false;

  constructor(root, context) {
    this.#root = root;
    this.#context = context;
    this.#chosen = turnNumber(context.query);
    context.setTitle(context.params.id);
    root.append(loading("Fetching the record of the session…"));
    this.#feed = follow(context.api, `${this.#path}/live`, {
      onEvent: (name, data, isFirst) => this.#heard(name, data, isFirst),
      onState: (state) => this.#feedIs(state),
    });
    document.addEventListener("keydown", this.#key);
    this.ticking = setInterval(() => this.#schedule(), 1000);
  }

  /** Another turn stands in the address. */
  changed(query) {
    this.#choose(turnNumber(query), { isToldByAddress: true });
  }

  close() {
    this.#isOver = true;
    this.#feed.close();
    this.#parts?.timeline.close();
    this.#parts?.player?.close();
    document.removeEventListener("keydown", this.#key);
    clearInterval(this.ticking);
  }

  get #path() {
    return `/admin/v1/sessions/${encodeURIComponent(this.#context.params.id)}`;
  }

  #heard(name, data, isFirst) {
    if (name !== "record") return;
    const before = this.#book.turns.length;
    const changed = this.#book.heard(data, isFirst);
    for (const name of changed) this.#news.add(name);
    if (!this.#parts) this.#draw();
    if (changed.has("turns") && !isFirst && this.#book.turns.length > before) this.#announce();
    this.#parts.timeline.grown();
    this.#schedule();
  }

  #feedIs(state) {
    this.#feedState = state;
    if (this.#parts) return this.#schedule();
    if (state.kind !== "refused" && state.kind !== "lost") return;
    const { failure } = state;
    const back = element("a", { href: "/dashboard/sessions?state=all", text: "Look at all sessions" });
    const gone = empty(
      "This session is not kept",
      "The address may be mistyped, or it ended long ago or before a restart.",
      memoryNote(this.#context.api),
      back,
    );
    this.#root.replaceChildren(failure?.status === 404 ? gone : failed(failure, () => this.#feed.hurry()));
  }

  #announce() {
    const turn = this.#book.turns.at(-1);
    this.#context.announce(`Turn ${turn.turn} took ${Math.round(turn.mouth_to_ear_ms)} milliseconds.`);
  }

  #draw() {
    const isLive = this.#book.session.state !== "ended";
    const head = this.#drawHead();
    const summary = element("section", { class: "card summary", "aria-label": "Summary" });
    const time = element("section", {
      class: "card time",
      tabindex: "0",
      role: "group",
      "aria-labelledby": "time-title",
      "data-testid": "timeline",
    });
    const turns = section("turns-card", "Turns");
    const turn = section("turn-card", "Where the milliseconds went");
    const words = section("words-card", "What was said");
    const events = section("events-card", "What happened");
    this.#root.replaceChildren(
      head.node,
      summary,
      time,
      element("div", { class: "two two-turns" }, turns.node, turn.node),
      element("div", { class: "two" }, words.node, events.node),
    );
    const tools = drawCallTools(time, {
      timeline: () => this.#parts.timeline,
      fetchSound: () => this.#fetchSound(),
    });
    const timeline = new Timeline(time, this.#book, {
      isLive,
      onPick: (atMs) => this.#pointed(atMs),
      lanes: [
        turnLane((number) => this.#choose(number)),
        voiceLane("caller", "Caller", "--series-2"),
        voiceLane("agent", "Agent", "--series-1"),
        eventLane((event) => this.#reveal(event.at_ms)),
        ...networkLanes(),
      ],
    });
    timeline.onView = (view) => tools.show(view, this.#book);
    timeline.view = isLive ? followedView(this.#book.extentMs) : wholeView(this.#book.extentMs);
    this.#parts = {
      head,
      tools,
      timeline,
      summary: drawSummary(summary),
      turns: new TurnList(turns.body, (number) => this.#choose(number)),
      turnsLine: turns.aside,
      fall: turn.body,
      fallAside: turn.aside,
      transcript: drawTranscript(words.body, (atMs) => this.#reveal(atMs)),
      events: drawEvents(events.body, (event) => this.#reveal(event.at_ms)),
      player: tools.player,
    };
    const chosen = this.#book.turn(this.#chosen);
    if (!chosen) return;
    timeline.reveal(chosen.at_ms - 4000, chosen.at_ms + chosen.mouth_to_ear_ms + 4000);
    this.#listenTo(chosen);
  }

  #drawHead() {
    const mark = element("span", { class: "state-mark", "aria-hidden": "true" });
    const word = element("span", { class: "state-word", "data-testid": "session-state" });
    const save = element("button", {
      type: "button",
      class: "plain",
      "data-testid": "export",
      text: "Export JSON",
    });
    save.addEventListener("click", () => this.#export(save));
    const fault = element("p", { class: "fault", role: "alert" });
    const node = element(
      "div",
      { class: "page-head session-head" },
      element(
        "nav",
        { class: "crumbs", "aria-label": "Where" },
        element("a", { href: "/dashboard/sessions", text: "Sessions" }),
        element("span", { "aria-hidden": "true", text: "/" }),
      ),
      element("h1", { class: "fixed", text: this.#context.params.id }),
      element("span", { class: "state-pill" }, mark, word),
      element("span", { class: "head-end" }, fault, save),
    );
    return { node, mark, word, fault };
  }

  /** The recording. A call that ended this moment is still being put away, and is asked for again. */
  async #fetchSound() {
    for (let attempt = 1; ; attempt++) {
      try {
        return await (await this.#context.api.fetch(`${this.#path}/audio`, { patienceMs: 120_000 })).blob();
      } catch (failure) {
        if (failure.code !== "session_runs" || attempt === PUT_AWAY_ATTEMPTS || this.#isOver) throw failure;
        await new Promise((resolve) => setTimeout(resolve, PUT_AWAY_PAUSE_MS));
      }
    }
  }

  /** A click into the lanes: plays from there if there is sound, and looks at the turn. */
  #pointed(atMs) {
    const turn = turnAt(this.#book.turns, atMs);
    if (turn && atMs <= turn.at_ms + turn.mouth_to_ear_ms) this.#choose(turn.turn);
    this.#parts.player.seek(atMs);
  }

  #reveal(atMs) {
    this.#parts.timeline.reveal(atMs - 3000, atMs + 3000);
    this.#parts.player.seek(atMs);
  }

  /** Looks at a turn everywhere; null goes back to the newest. */
  #choose(number, { isToldByAddress = false } = {}) {
    this.#chosen = number;
    if (!isToldByAddress) this.#context.patchQuery({ turn: number });
    if (!this.#parts) return;
    const turn = this.#book.turn(number);
    if (turn) this.#parts.timeline.reveal(turn.at_ms, turn.at_ms + turn.mouth_to_ear_ms);
    this.#render();
    if (turn) this.#parts.turns.reveal(number);
    if (turn) this.#listenTo(turn);
  }

  /** Plays, or begins to, shortly before a turn. */
  #listenTo(turn) {
    this.#parts.player.show(this.#book.session, this.#book.recording);
    this.#parts.player.seek(turn.at_ms - LEAD_MS);
  }

  #schedule() {
    if (this.#isDue || this.#isOver) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#isOver && this.#parts) this.#render();
    });
  }

  #render() {
    const book = this.#book;
    const parts = this.#parts;
    const newest = book.turns.at(-1) ?? null;
    const turn = (this.#chosen === null ? newest : book.turn(this.#chosen)) ?? null;
    const news = this.#news;
    this.#news = new Set();
    const isPicked = parts.timeline.turn !== turn;
    this.#renderHead(book.session);
    parts.summary(book.session);
    const standing = `${book.session.state} ${book.recording.words} ${book.measured}`;
    const isNewStanding = this.#drawnStanding !== standing;
    this.#drawnStanding = standing;
    if (isPicked) parts.timeline.pick(turn);
    if (isPicked || isNewStanding || news.has("turns")) {
      parts.turns.show(book.turns, turn?.turn ?? null, book.measured);
      parts.turnsLine.textContent = turnsLine(book.turns);
    }
    if (isPicked || isNewStanding || news.has("turns") || news.has("transcript"))
      parts.transcript(book, turn);
    if (news.has("events")) parts.events(book);
    this.#renderFall(turn);
  }

  #renderHead(session) {
    const { mark, word } = this.#parts.head;
    mark.dataset.state = session.state;
    const { kind, since } = this.#feedState;
    const isStale = session.state !== "ended" && (kind === "lost" || kind === "refused");
    word.textContent = isStale ? `Not live since ${timeOfDay(since / 1000)}` : stateWord(session);
    word.classList.toggle("stale", isStale);
  }

  #renderFall(turn) {
    const { fall, fallAside } = this.#parts;
    const { measured } = this.#book;
    const key = turn ? `${turn.turn} ${turn.seq}` : this.#chosen === null ? `none ${measured}` : "missing";
    fallAside.textContent = turn ? asideOf(turn) : "";
    if (this.#drawnTurn === key) return;
    this.#drawnTurn = key;
    const read = turn && turnOf(turn);
    if (read) {
      // The table stays open for whoever reads it, from one turn to the next.
      const wasOpen = fall.querySelector("details")?.open ?? false;
      const hadFocus = fall.contains(document.activeElement);
      drawWaterfall(fall, read);
      fall.querySelector("details").open = wasOpen;
      if (hadFocus) fall.querySelector("summary").focus({ preventScroll: true });
      return;
    }
    const awaited = measured ? "The first turn will appear here, split into its hops." : UNMEASURED;
    const text = this.#chosen === null ? awaited : `Turn ${this.#chosen} is not kept.`;
    fall.replaceChildren(element("div", { class: "empty" }, element("p", { text }), ownerKey()));
  }

  async #export(button) {
    const { fault } = this.#parts.head;
    button.disabled = true;
    fault.textContent = "";
    try {
      const record = await (await this.#context.api.fetch(`${this.#path}/record`)).blob();
      const address = URL.createObjectURL(record);
      element("a", { href: address, download: `${this.#context.params.id}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (failure) {
      fault.textContent = sentenceOf(failure);
    }
    button.disabled = false;
  }

  #key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#parts) return;
    if (event.target.closest?.("input, select, textarea, dialog")) return;
    const { player } = this.#parts;
    if (event.key === " " && player.isOffered && !event.target.closest?.("button, summary, a")) {
      event.preventDefault();
      return player.toggle();
    }
    if (event.key === "," || event.key === ".") return player.step(event.key === "," ? -1 : 1);
    const isScrolling =
      event.key.startsWith("Arrow") && event.target.closest?.(".words-list, .events-list, .turn-scroll");
    if (!isScrolling && this.#parts.timeline.key(event.key)) return event.preventDefault();
    if (event.key === "j" || event.key === "k") this.#step(event.key === "j" ? 1 : -1);
    if (event.key === "Escape" && this.#chosen !== null) this.#choose(null);
  };

  #step(by) {
    const { turns } = this.#book;
    const at =
      this.#chosen === null ? turns.length - 1 : turns.findIndex(({ turn }) => turn === this.#chosen);
    const next = turns[Math.max(0, Math.min(turns.length - 1, at + by))];
    if (next) this.#choose(next.turn);
  }
}

function section(name, title) {
  const aside = element("p", { class: "aside" });
  const body = element("div", { class: "section-body" });
  const id = `${name}-title`;
  const node = element(
    "section",
    { class: `card ${name}`, "aria-labelledby": id },
    element("div", { class: "card-head" }, element("h2", { id, text: title }), aside),
    body,
  );
  return { node, body, aside };
}

function turnNumber(query) {
  const text = query.get("turn") ?? "";
  return /^\d{1,9}$/.test(text) ? Number(text) : null;
}

const asideOf = ({ turn, provider, region, model, interrupted, certainty, error_ms }) =>
  [
    `turn ${turn}`,
    [provider, region].filter(Boolean).join(" "),
    model,
    certainty === "estimated"
      ? `estimated${error_ms > 0 ? ` ± ${Math.round(error_ms)} ms` : ""}`
      : "measured",
    interrupted ? "cut off by the caller" : null,
  ]
    .filter(Boolean)
    .join(" · ");
