// What was spent, by whom and on what, and what is left of the budgets.
import { sentenceOf } from "./api.js";
import { drawBudgets } from "./budget-list.js";
import { segments } from "./controls.js";
import { money, plural, share, timeOfDay } from "./format.js";
import { keepFresh } from "./refresh.js";
import { drawDays } from "./spend-days.js";
import { drawRows } from "./spend-rows.js";
import { DIMENSIONS, SPANS, everyDay, rankedBudgets, span, sum } from "./spending.js";
import { failed, loading } from "./states.js";
import { drawTiles } from "./tiles.js";
import { element } from "../shared/element.js";

const EVERY_MS = 10_000;

/** Rows of a report at most, in pages of 200: more is a file, not a page. */
const MOST_PAGES = 5;

export function open(root, context) {
  return new SpendPage(root, context);
}

class SpendPage {
  #shown = null;
  #failure = null;

  constructor(root, context) {
    this.context = context;
    this.wish = wishOf(context.query);
    this.#draw(root);
    this.fresh = keepFresh({
      load: (signal) => this.#load(signal),
      everyMs: EVERY_MS,
      onData: (data) => this.#show(data),
      onFailure: (failure) => this.#showFailure(failure),
    });
  }

  changed(query) {
    this.wish = wishOf(query);
    this.#asked();
  }

  close() {
    this.fresh.close();
  }

  async #load(signal) {
    const { first, last } = span(this.wish.span, Date.now());
    const usage = (by) => this.#pages(`/admin/v1/usage?first=${first}&last=${last}&by=${by}`, signal);
    const [days, rows, budgets] = await Promise.all([
      usage("day"),
      usage(question(this.wish.by)),
      this.#pages("/admin/v1/budgets?", signal),
    ]);
    return { first, last, days, rows, budgets, by: this.wish.by, at: Date.now() };
  }

  async #pages(path, signal) {
    const items = [];
    let after = "";
    for (let page = 0; page < MOST_PAGES; page++) {
      const answer = await this.context.api.get(`${path}&limit=200${after}`.replace("?&", "?"), { signal });
      items.push(...answer.items);
      if (answer.next === null) return { items, isCut: false };
      after = `&after=${encodeURIComponent(answer.next)}`;
    }
    return { items, isCut: true };
  }

  #show(data) {
    this.#failure = null;
    this.#shown = data;
    this.waiting.hidden = true;
    this.content.hidden = false;
    const all = sum(data.days.items);
    const isNothing = all.entries === 0;
    drawTiles(this.tiles, tiles(all, data));
    this.daysCard.hidden = this.rowsCard.hidden = isNothing;
    this.nothing.hidden = !isNothing;
    this.nothingTitle.textContent = `Nothing was spent ${inWords(this.wish.span)}`;
    if (!isNothing) {
      drawDays(this.days, everyDay(data.days.items, data.first, data.last));
      drawRows(this.rows, data);
    }
    drawBudgets(this.budgets, data.budgets);
    this.#tick();
  }

  #showFailure(failure) {
    this.#failure = failure;
    if (!this.#shown) this.waiting.replaceChildren(failed(failure, () => this.fresh.again()));
    this.#tick();
  }

  #tick() {
    if (!this.#shown) return;
    const { first, last, at } = this.#shown;
    const days = first === last ? `On ${last}` : `From ${first} to ${last}`;
    const text = this.#failure
      ? `These figures are of ${timeOfDay(at / 1000)}. ${sentenceOf(this.#failure)}`
      : `${days}, days in UTC. Estimates are confirmed when the provider’s invoice comes.`;
    this.note.dataset.tone = this.#failure ? "bad" : "";
    this.note.textContent = text;
  }

  #ask(patch) {
    Object.assign(this.wish, patch);
    const { span, by } = this.wish;
    this.context.patchQuery({ span: span === "month" ? null : span, by: by === "model" ? null : by });
    this.#asked();
  }

  #asked() {
    this.spans.show(this.wish.span);
    this.by.show(this.wish.by);
    this.fresh.again();
  }

  /** The report as a file. The key travels in a header, so a plain link cannot fetch it. */
  async #save() {
    const { first, last } = span(this.wish.span, Date.now());
    const by = question(this.wish.by);
    try {
      const response = await this.context.api.fetch(
        `/admin/v1/usage?first=${first}&last=${last}&by=${by}&form=csv&limit=200`,
      );
      const address = URL.createObjectURL(await response.blob());
      const link = element("a", {
        href: address,
        download: `voxgate-usage-${by.replaceAll(",", "-")}-${first}-${last}.csv`,
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      const isCut = response.headers.get("voxgate-next") !== null;
      this.context.announce(isCut ? "The first 200 rows are saved." : "The report is saved.");
    } catch (failure) {
      this.#showFailure(failure);
    }
  }

  #draw(root) {
    const choices = (list) => list.map(({ name, by, label }) => ({ value: name ?? by, label }));
    this.spans = segments({
      name: "span",
      label: "Which days",
      choices: choices(SPANS),
      value: this.wish.span,
      onPick: (span) => this.#ask({ span }),
    });
    this.by = segments({
      name: "by",
      label: "Added up by",
      choices: choices(DIMENSIONS.filter(({ by }) => by !== "day")),
      value: this.wish.by,
      onPick: (by) => this.#ask({ by }),
    });
    this.note = element("p", { class: "aside figures-note", "data-testid": "spend-note" });
    this.tiles = element("div", { class: "figure-tiles of-four", "data-testid": "tiles" });
    this.days = element("div", { "data-testid": "days" });
    this.rows = element("div", { class: "table-scroll", "data-testid": "rows" });
    this.budgets = element("div", { "data-testid": "budgets" });
    const save = element("button", { type: "button", class: "quiet", text: "Save as CSV", "data-testid": "save" });
    save.addEventListener("click", () => this.#save());
    this.daysCard = card("Day by day", "spend-days", [], this.days);
    this.rowsCard = card("By whom and on what", "spend-rows", [save], this.by.node, this.rows);
    this.nothingTitle = element("h2");
    this.nothing = element(
      "section",
      { class: "card state state-empty", "data-testid": "empty" },
      this.nothingTitle,
      element("p", {
        text: "Spending is counted when a provider is used that has a price. The built-in local voice costs nothing; prices stand in the configuration.",
      }),
      element("a", { class: "button-link", href: "/", text: "Talk to the agent" }),
    );
    this.waiting = element("div", {}, loading());
    this.content = element(
      "div",
      { class: "spend", hidden: true },
      this.nothing,
      this.daysCard,
      this.rowsCard,
      card("Budgets", "spend-budgets", [], this.budgets),
    );
    root.append(
      element("div", { class: "page-head" }, element("h1", { text: "Spend" }), this.note, this.spans.node),
      this.tiles,
      this.waiting,
      this.content,
    );
  }
}

function wishOf(query) {
  const [by, name] = [query.get("by"), query.get("span")];
  return {
    by: DIMENSIONS.some((dimension) => dimension.by === by && by !== "day") ? by : "model",
    span: SPANS.some((span) => span.name === name) ? name : "month",
  };
}

/** A team or a key is told from others of its name by what it belongs to. */
const question = (by) => ({ team: "organisation,team", key: "organisation,team,key" })[by] ?? by;

const inWords = (span) =>
  ({ today: "today", "7d": "in the last 7 days", "30d": "in the last 30 days" })[span] ?? "this month";

function tiles(all, { first, last, budgets }) {
  const days = everyDay([], first, last).length;
  const near = rankedBudgets(budgets.items).find(({ bar }) => bar.used !== null);
  const tight = near && (near.bar.state === "out" ? "bad" : near.bar.state === "soft" ? "warn" : null);
  return [
    {
      name: "spent",
      label: "Spent",
      figure: money(all.spent),
      note: days > 1 ? `${money(all.spent / days)} a day` : plural(all.entries, "ledger entry", "ledger entries"),
    },
    {
      name: "estimated",
      label: "Not confirmed yet",
      figure: money(all.estimated),
      note: all.estimated > 0 ? `${share(all.estimated / all.spent)} of it` : "nothing is estimated",
    },
    {
      name: "unheard",
      label: "For audio nobody heard",
      figure: money(all.unheard),
      note: "answers that were interrupted",
    },
    {
      name: "tightest",
      label: "Tightest budget",
      figure: near ? share(near.bar.used).replace(" %", "") : "–",
      unit: near ? " %" : "",
      note: near ? near.owner : "no budget is set",
      tone: tight ?? null,
    },
  ];
}

function card(title, name, actions, ...children) {
  return element(
    "section",
    { class: "card", "aria-labelledby": name },
    element("div", { class: "card-head" }, element("h2", { id: name, text: title }), ...actions),
    ...children,
  );
}
