// What was spent, by whom and on what, and what is left of the budgets.
import { sentenceOf } from "./api.js";
import { BUDGET_STATES, DIMENSIONS, SPANS, budgetWindow, everyDay, ranked, rankedBudgets, span, sum } from "./spending.js";
import { segments } from "./controls.js";
import { count, money, plural, share, timeOfDay } from "./format.js";
import { keepFresh } from "./refresh.js";
import { empty, failed, loading } from "./states.js";
import { drawTiles } from "./tiles.js";
import { vector } from "./vector.js";
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
    const [days, rows, budgets] = await Promise.all([usage("day"), usage(question(this.wish.by)), this.#pages("/admin/v1/budgets?", signal)]);
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
      const response = await this.context.api.fetch(`/admin/v1/usage?first=${first}&last=${last}&by=${by}&form=csv&limit=200`);
      const address = URL.createObjectURL(await response.blob());
      const link = element("a", { href: address, download: `voxgate-usage-${by.replaceAll(",", "-")}-${first}-${last}.csv` });
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
    this.spans = segments({ name: "span", label: "Which days", choices: choices(SPANS), value: this.wish.span, onPick: (span) => this.#ask({ span }) });
    this.by = segments({ name: "by", label: "Added up by", choices: choices(DIMENSIONS.filter(({ by }) => by !== "day")), value: this.wish.by, onPick: (by) => this.#ask({ by }) });
    this.note = element("p", { class: "aside figures-note", "data-testid": "spend-note" });
    this.tiles = element("div", { class: "tiles of-four", "data-testid": "tiles" });
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
      element("p", { text: "Spending is counted when a provider is used that has a price. The built-in local voice costs nothing; prices stand in the configuration." }),
      element("a", { class: "button-link", href: "/", text: "Talk to the agent" }),
    );
    this.waiting = element("div", {}, loading());
    this.content = element("div", { class: "spend", hidden: true }, this.nothing, this.daysCard, this.rowsCard, card("Budgets", "spend-budgets", [], this.budgets));
    root.append(element("div", { class: "page-head" }, element("h1", { text: "Spend" }), this.note, this.spans.node), this.tiles, this.waiting, this.content);
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

const inWords = (span) => ({ today: "today", "7d": "in the last 7 days", "30d": "in the last 30 days" })[span] ?? "this month";

function tiles(all, { first, last, budgets }) {
  const days = everyDay([], first, last).length;
  const near = rankedBudgets(budgets.items).find(({ bar }) => bar.used !== null);
  const tight = near && (near.bar.state === "out" ? "bad" : near.bar.state === "soft" ? "warn" : null);
  return [
    { name: "spent", label: "Spent", figure: money(all.spent), note: days > 1 ? `${money(all.spent / days)} a day` : plural(all.entries, "ledger entry", "ledger entries") },
    { name: "estimated", label: "Not confirmed yet", figure: money(all.estimated), note: all.spent > 0 ? `${share(all.estimated / all.spent)} of it` : "" },
    { name: "unheard", label: "For audio nobody heard", figure: money(all.unheard), note: "answers that were interrupted" },
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

/** Columns of days; what is not confirmed yet is paler. */
function drawDays(root, days) {
  const most = Math.max(...days.map(({ spent }) => spent), 1);
  const wide = 100 / days.length;
  const bars = days.map(({ day, spent, confirmed }, index) => {
    const [all, sure] = [(100 * spent) / most, (100 * Math.min(spent, confirmed)) / most];
    const at = { x: index * wide + wide * 0.12, width: wide * 0.76 };
    return vector(
      "g",
      {},
      vector("title", {}, `${day}: ${money(spent)}${spent > confirmed ? `, ${money(spent - confirmed)} of it estimated` : ""}`),
      vector("rect", { class: "day-room", x: index * wide, y: 0, width: wide, height: 100 }),
      vector("rect", { class: "day-estimated", ...at, y: 100 - all, height: Math.max(0, all - sure) }),
      vector("rect", { class: "day-confirmed", ...at, y: 100 - sure, height: sure }),
    );
  });
  const label = `${plural(days.length, "day")}, at most ${money(most)} a day. The table below has the same figures.`;
  const step = Math.max(1, Math.ceil(days.length / 10));
  const names = days.map(({ day }, index) => element("span", { text: index % step === 0 ? day.slice(5) : "" }));
  root.replaceChildren(
    element(
      "div",
      { class: "days" },
      element("span", { class: "days-most figure", text: money(most) }),
      vector("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars),
      element("div", { class: "days-names", "aria-hidden": "true" }, ...names),
    ),
    element("p", { class: "key" }, element("span", {}, element("i", { class: "swatch", "aria-hidden": "true" }), "confirmed"), element("span", {}, element("i", { class: "swatch is-estimated", "aria-hidden": "true" }), "estimated")),
    dayTable(days, root.querySelector("details")?.open ?? false),
  );
}

function dayTable(days, isOpen) {
  const rows = [...days].reverse().map(({ day, spent, confirmed }) =>
    element("tr", {}, element("th", { scope: "row", text: day }), element("td", { class: "number", text: money(spent) }), element("td", { class: "number", text: money(spent - confirmed) })),
  );
  const heads = ["Day", "Spent", "Of it estimated"].map((text, index) => element("th", { scope: "col", class: index ? "number" : null, text }));
  return element(
    "details",
    { class: "as-table", open: isOpen },
    element("summary", { text: "Show as a table" }),
    element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Spending by day" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))),
  );
}

function drawRows(root, { rows, by }) {
  const lines = ranked(rows.items, by).map(({ row, name, spent, ofLargest, ofAll, confirmedShare }) => {
    const bar = element("span", { class: "spend-bar", "aria-hidden": "true" }, element("i"), element("b"));
    bar.querySelector("b").style.width = `${100 * ofLargest * confirmedShare}%`;
    bar.querySelector("i").style.width = `${100 * ofLargest}%`;
    return element(
      "tr",
      { "data-name": name },
      element("th", { scope: "row", text: name }),
      element("td", { class: "spend-lane" }, bar),
      ...[money(spent), ofAll === null ? "–" : share(ofAll), money(row.estimated_nano_dollars), money(row.unheard_nano_dollars)].map((text) => element("td", { class: "number", text })),
      element("td", { class: "number", text: row.unpriced ? `${count(row.unpriced)} of ${count(row.entries)}` : "none" }),
    );
  });
  const label = DIMENSIONS.find((dimension) => dimension.by === by).label;
  const heads = [label, "", "Spent", "Share", "Of it estimated", "Unheard", "Entries without a price"].map((text, index) => element("th", { scope: "col", class: index > 1 ? "number" : null, text }));
  root.replaceChildren(
    element("table", { class: "plain-table spend-table" }, element("caption", { class: "hidden", text: `Spending by ${label.toLowerCase()}, the dearest first` }), element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines)),
    ...(rows.isCut ? [element("p", { class: "quiet-note", text: "Only the first 1 000 rows are shown: save the report for all of them." })] : []),
  );
}

function drawBudgets(root, { items, isCut }) {
  if (items.length === 0) {
    const command = element("code", { class: "command", text: "voxgate budgets set --organisation default --window day --hard 20" });
    const text = "A budget ends sessions when its money is used up. Set one in the configuration, or from a terminal:";
    root.replaceChildren(empty("No budget is set", text, command));
    return;
  }
  root.replaceChildren(
    element("ol", { class: "budgets" }, ...rankedBudgets(items).map((ranked) => element("li", { "data-state": ranked.bar.state }, ...budget(ranked)))),
    element(
      "p",
      { class: "key" },
      ...[["is-spent", "spent"], ["is-drawn", "drawn by sessions that run, not spent yet"], ["is-left", "left"]].map(([name, text]) => element("span", {}, element("i", { class: `swatch ${name}`, "aria-hidden": "true" }), text)),
      element("span", {}, element("i", { class: "soft-sample", "aria-hidden": "true" }), "soft limit: somebody is told"),
    ),
    ...(isCut ? [element("p", { class: "quiet-note", text: "Only the first 1 000 budgets are shown." })] : []),
  );
}

function budget({ budget, bar, owner }) {
  const { label, sign } = BUDGET_STATES[bar.state];
  const track = element("div", { class: "budget-track", "aria-hidden": "true" }, element("i", { class: "is-spent" }), element("i", { class: "is-drawn" }));
  track.children[0].style.width = `${bar.spent}%`;
  track.children[1].style.width = `${bar.drawn}%`;
  for (const [place, name] of [[bar.soft, "at-soft"], [bar.state === "out" && bar.hard < 100 ? bar.hard : null, "at-hard"]]) {
    if (place === null) continue;
    const mark = element("b", { class: name });
    mark.style.left = `${place}%`;
    track.append(mark);
  }
  const left = budget.left_nano_dollars;
  const amounts = [
    `${money(budget.spent_nano_dollars)} spent`,
    budget.leased_nano_dollars > 0 && `${money(budget.leased_nano_dollars)} drawn`,
    left === null ? "no hard limit" : `${money(left)} left of ${money(budget.hard_nano_dollars)}`,
    budget.soft_nano_dollars !== null && `soft limit ${money(budget.soft_nano_dollars)}`,
  ];
  return [
    element("p", { class: "budget-name" }, element("b", { text: owner }), element("span", { class: "soft", text: `${budgetWindow(budget)} · ${budget.source === "configuration" ? "from the configuration" : "set while running"}` })),
    element("p", { class: "budget-state" }, element("i", { "aria-hidden": "true", text: sign }), label, bar.used === null ? "" : `, ${share(bar.used)}`),
    track,
    element("p", { class: "budget-amounts figure soft", text: amounts.filter(Boolean).join(" · ") }),
  ];
}

function card(title, name, actions, ...children) {
  return element("section", { class: "card", "aria-labelledby": name }, element("div", { class: "card-head" }, element("h2", { id: name, text: title }), ...actions), ...children);
}

