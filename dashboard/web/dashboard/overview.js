// The first page: how the gateway does, in a few figures, and where the time goes.
import { BurnCard } from "./burn-card.js";
import { ComparisonCard } from "./comparison-card.js";
import { segments } from "./controls.js";
import { ago, plural, timeOfDay } from "./format.js";
import { HeatMap } from "./heat-map.js";
import { HopDistributions, distributionKey } from "./hop-distributions.js";
import {
  BreachNews,
  SPANS,
  commonBudget,
  everything,
  longer,
  overviewTiles,
  spanOf,
  wishOf,
} from "./overview-figures.js";
import { keepFresh } from "./refresh.js";
import { BreachingSessions, drawSpenders } from "./spenders.js";
import { dayOf, sum } from "./spending.js";
import { sentenceOf } from "./api.js";
import { UNMEASURED, empty, failed, loading } from "./states.js";
import { drawTiles } from "./tiles.js";
import { element } from "../shared/element.js";
import { hopLabel } from "../shared/hops.js";

const TURNS_EVERY_MS = 5_000;
const MONEY_EVERY_MS = 15_000;

export function open(root, context) {
  return new OverviewPage(root, context);
}

class OverviewPage {
  #turns = null;
  #groups = null;
  #latency = null;
  #spend = null;
  #failure = null;
  #news = new BreachNews();
  #stops = [];

  constructor(root, context) {
    this.context = context;
    this.wish = wishOf(context.query);
    this.#draw(root);
    this.turns = keepFresh({
      load: (signal) => this.#loadTurns(signal),
      everyMs: TURNS_EVERY_MS,
      onData: (data) => this.#showTurns(data),
      onFailure: (failure) => this.#showFailure(failure),
    });
    this.money = keepFresh({
      load: (signal) => this.#loadMoney(signal),
      everyMs: MONEY_EVERY_MS,
      onData: (spend) => this.#showMoney(spend),
      onFailure: () => this.#showMoney(null),
    });
    this.#stops.push(this.context.live.listen((name, data, touched) => this.#heard(name, touched)));
    this.#heard("sessions", null);
    const ticking = setInterval(() => this.#tick(), 1000);
    this.#stops.push(
      () => clearInterval(ticking),
      this.turns.close,
      this.money.close,
      () => this.heat.close(),
    );
  }

  changed(query) {
    this.wish = wishOf(query);
    this.#asked();
  }

  close() {
    for (const stop of this.#stops) stop();
  }

  /** Everything that is asked again when a turn was measured. */
  async #loadTurns(signal) {
    const { span, hop, by } = this.wish;
    const ask = (by) => this.context.api.get(`/admin/v1/overview?window=${span}&by=${by}&hop=${hop}`, { signal });
    const [turns, groups, latency] = await Promise.all([ask("none"), ask(by), this.#loadLatency(signal)]);
    return { turns, groups, latency };
  }

  /** Budgets are for whoever runs the gateway; others see the page without them. */
  #loadLatency(signal) {
    return this.context.api.get("/admin/v1/latency", { signal }).catch((failure) => {
      if (failure?.status === 403 || failure?.status === 404) return null;
      throw failure;
    });
  }

  async #loadMoney(signal) {
    const today = dayOf(Date.now());
    const { items } = await this.context.api.get(`/admin/v1/usage?first=${today}&last=${today}`, { signal });
    return sum(items);
  }

  #heard(name, touched) {
    const { live } = this.context;
    if (name === "sessions" && live.hasTold) {
      this.#news.hear(live.book.sessions.values(), Date.now());
      if (touched?.size) this.turns.hurry();
      this.#showSessions();
    }
    if (name === "sessions" || name === "approvals") this.#showTiles();
  }

  #showTurns({ turns, groups, latency }) {
    this.#failure = null;
    [this.#turns, this.#groups, this.#latency] = [turns, groups, latency];
    this.content.hidden = false;
    this.waiting.hidden = true;
    this.#showTiles();
    this.#showCards();
    this.#tick();
  }

  #showMoney(spend) {
    this.#spend = spend;
    this.#showTiles();
  }

  #showFailure(failure) {
    this.#failure = failure;
    if (!this.#turns) this.waiting.replaceChildren(failed(failure, () => this.turns.again()));
    this.#tick();
  }

  #showTiles() {
    const { live } = this.context;
    const tiles = overviewTiles({
      overview: this.#turns,
      latency: this.#latency,
      sessions: live.hasTold ? [...live.book.sessions.values()] : null,
      spend: this.#spend,
      approvals: live.book.approvals,
      span: spanOf(this.wish.span),
    });
    drawTiles(this.tiles, tiles);
  }

  #showCards() {
    const span = spanOf(this.wish.span);
    const all = everything(this.#turns);
    for (const card of this.measured) card.hidden = !all;
    const isMeasuring = this.#turns.measuring !== false;
    this.empty.hidden = Boolean(all) || !isMeasuring;
    this.unmeasured.hidden = Boolean(all) || isMeasuring;
    this.burn.show(this.#latency);
    if (!all) return this.#showEmpty(span);
    const subject = this.wish.hop;
    const bounds = this.#turns.heat.bounds_ms;
    this.heatTitle.textContent = subject === "whole" ? "Mouth to ear over time" : `${hopLabel(subject)} over time`;
    this.whole.hidden = subject === "whole";
    this.heat.show(this.#turns.heat, {
      label: this.heatTitle.textContent.replace(" over time", ""),
      budget: commonBudget(this.#latency, subject),
    });
    drawSpenders(this.spenders, this.#turns, span);
    this.distributions.show({ group: all, bounds, latency: this.#latency, picked: subject });
    this.comparison.show(this.#groups, { ...this.wish, words: span.words });
    this.#showSessions();
  }

  #showEmpty(span) {
    const next = longer(this.wish.span);
    this.emptyTitle.textContent = `No turn was measured in the last ${span.words}`;
    this.look.hidden = !next;
    if (next) this.look.textContent = `Look at the last ${next.words}`;
  }

  #showSessions() {
    if (!this.context.live.hasTold) return;
    const worst = this.#news.worst([...this.context.live.book.sessions.values()]);
    this.breachingList.show(worst, Date.now());
  }

  /** How old the figures are, and why they do not get newer. */
  #tick() {
    if (!this.#turns) return;
    const at = this.#turns.now_at;
    const cut = this.#turns.truncated ? " More turns happened than are kept: the oldest are missing." : "";
    const note = this.#failure
      ? `These figures are of ${timeOfDay(at)}. ${sentenceOf(this.#failure)}`
      : `${plural(this.#turns.turns, "turn")}, as of ${ago(at)}.${cut}`;
    this.note.dataset.tone = this.#failure ? "bad" : "";
    if (this.note.textContent !== note) this.note.textContent = note;
    this.#showSessions();
  }

  /** Somebody chose something: it goes into the address, and its answer is asked for. */
  #ask(patch) {
    Object.assign(this.wish, patch);
    const { span, hop, by, a, b } = this.wish;
    this.context.patchQuery({
      window: span === "1h" ? null : span,
      hop: hop === "whole" ? null : hop,
      by: by === "provider" ? null : by,
      a,
      b,
    });
    this.#asked();
  }

  #asked() {
    this.spans.show(this.wish.span);
    this.turns.again();
  }

  #draw(root) {
    this.spans = segments({
      name: "window",
      label: "How far back",
      choices: SPANS,
      value: this.wish.span,
      onPick: (span) => this.#ask({ span }),
    });
    this.note = element("p", { class: "aside figures-note", "data-testid": "overview-note" });
    this.tiles = element("div", { class: "figure-tiles", "data-testid": "tiles" });
    this.waiting = element("div", {}, loading());
    this.content = element("div", { class: "overview", hidden: true });
    this.#drawCards();
    root.append(
      element("div", { class: "page-head" }, element("h1", { text: "Overview" }), this.note, this.spans.node),
      this.tiles,
      this.waiting,
      this.content,
    );
    this.#showTiles();
  }

  #drawCards() {
    this.hops = element("div", { class: "table-scroll" });
    this.distributions = new HopDistributions(this.hops, (hop) => this.#ask({ hop }));
    this.spenders = element("div");
    this.breaching = element("div", { "data-testid": "breaching" });
    this.breachingList = new BreachingSessions(this.breaching);
    this.heatTitle = element("h2", { id: "heat-title" });
    this.whole = element("button", { type: "button", class: "quiet", text: "Show mouth to ear", hidden: true });
    this.whole.addEventListener("click", () => this.#ask({ hop: "whole" }));
    const heat = element(
      "section",
      { class: "card", "aria-labelledby": "heat-title" },
      element("div", { class: "card-head" }, this.heatTitle, this.whole),
    );
    this.heat = new HeatMap(heat);
    const spent = card(
      "Which hop spent it",
      "Turns over budget, by the worst hop",
      this.spenders,
      element("h3", { text: "Sessions that broke a budget" }),
      this.breaching,
    );
    const hops = card(
      "Where the time of a turn goes",
      "Press a name to see it over time",
      this.hops,
      distributionKey(),
    );
    const burn = element("div");
    this.burn = new BurnCard(burn);
    const compare = element("div");
    this.comparison = new ComparisonCard(compare, { by: this.wish.by, onPick: (choice) => this.#ask(choice) });
    this.#drawEmpty();
    const compareCard = card("Compare", "", compare);
    this.measured = [
      grow(heat, "wide"),
      grow(spent, "narrow"),
      grow(hops, "hops-card"),
      grow(compareCard, "compare-card"),
    ];
    const burnCard = grow(card("Burn of the budgets", "", burn), "burn-card");
    this.unmeasured = empty("No turn is measured here", UNMEASURED);
    this.unmeasured.classList.add("card");
    this.unmeasured.dataset.testid = "unmeasured";
    this.content.append(this.empty, this.unmeasured, heat, spent, hops, burnCard, compareCard);
  }

  #drawEmpty() {
    this.emptyTitle = element("h2");
    this.look = element("button", { type: "button", class: "plain" });
    this.look.addEventListener("click", () => this.#ask({ span: longer(this.wish.span).value }));
    this.empty = element(
      "div",
      { class: "card state state-empty", "data-testid": "empty" },
      this.emptyTitle,
      element("p", {
        text: "A turn is measured when a caller has spoken and hears the answer. Talk to the gateway yourself, or run “voxgate call --wav question.wav” in a terminal: its turn appears here within a second.",
      }),
      element(
        "p",
        { class: "actions" },
        element("a", { class: "button-link", href: "/", text: "Talk to the agent" }),
        this.look,
      ),
    );
  }
}

function card(title, aside, ...children) {
  const name = `card-${title.toLowerCase().replaceAll(" ", "-")}`;
  return element(
    "section",
    { class: "card", "aria-labelledby": name },
    element(
      "div",
      { class: "card-head" },
      element("h2", { id: name, text: title }),
      aside && element("p", { class: "aside", text: aside }),
    ),
    ...children,
  );
}

function grow(node, name) {
  node.classList.add(name);
  return node;
}
