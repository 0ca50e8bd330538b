// What carries the calls: this node, its relays, and the targets it calls.
import { sentenceOf } from "./api.js";
import { passedOver } from "./burn.js";
import { ago, count, duration, ms, msFigure, timeOfDay } from "./format.js";
import {
  NodeHistory,
  dropped,
  nodeLine,
  nodeTiles,
  relayState,
  targetState,
  troubles,
  worstFirst,
} from "./fleet-figures.js";
import { drawPlot } from "./plot.js";
import { keepFresh } from "./refresh.js";
import { failed, loading } from "./states.js";
import { drawTiles } from "./tiles.js";
import { element } from "../shared/element.js";

const EVERY_MS = 2_000;

/** Steps of an axis that counts: there are no half sessions. */
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

export function open(root, context) {
  return new FleetPage(root, context);
}

class FleetPage {
  #fleet = null;
  #first = null;
  #failure = null;
  #history = new NodeHistory(["sessions", "cpu_percent", "pacing_p99_ms"]);
  #plots = [];

  constructor(root, context) {
    this.context = context;
    this.#draw(root);
    this.fresh = keepFresh({
      load: (signal) => this.#load(signal),
      everyMs: EVERY_MS,
      onData: (fleet) => this.#show(fleet),
      onFailure: (failure) => this.#showFailure(failure),
    });
    this.ticking = setInterval(() => this.#tick(), 1000);
  }

  close() {
    this.fresh.close();
    clearInterval(this.ticking);
    for (const plot of this.#plots) plot.close();
  }

  async #load(signal) {
    const get = (path) => this.context.api.get(`/admin/v1/${path}`, { signal });
    // The page is worth seeing without knowing who is slow.
    const [fleet, latency] = await Promise.all([get("fleet"), get("latency").catch(() => ({ routes: [] }))]);
    return { ...fleet, over: passedOver(latency) };
  }

  #show(fleet) {
    const now = Date.now();
    this.#failure = null;
    this.#fleet = { ...fleet, at: now };
    this.#first ??= { node: fleet.node, at: now };
    this.waiting.hidden = true;
    this.content.hidden = false;
    const { node, relays = [], providers = [] } = fleet;
    const agoMs = now - this.#first.at;
    drawTiles(this.tiles, nodeTiles(node, agoMs > 0 ? { node: this.#first.node, agoMs } : null));
    this.#showTroubles(troubles(fleet));
    this.#showLines(node, now);
    this.relays.replaceChildren(
      relays.length
        ? relayTable(relays)
        : nothing("No relay of its own is known to this node: it takes callers without one."),
    );
    this.targets.replaceChildren(
      providers.length ? targetTable(providers, fleet.over) : nothing("No provider is configured."),
    );
    this.#tick();
  }

  #showFailure(failure) {
    this.#failure = failure;
    if (!this.#fleet) this.waiting.replaceChildren(failed(failure, () => this.fresh.again()));
    this.#tick();
  }

  #showTroubles(sentences) {
    this.troubles.hidden = sentences.length === 0;
    const texts = [...this.troubles.children].map(({ textContent }) => textContent);
    if (texts.join("\n") === sentences.join("\n")) return;
    this.troubles.replaceChildren(...sentences.map((text) => element("li", { text })));
  }

  #showLines(node, now) {
    this.#history.add(now / 1000, {
      ...node,
      cpu_percent: Number.isFinite(node.cpu_ratio) ? 100 * node.cpu_ratio : null,
    });
    if (this.#plots.length === 0) this.#drawLines();
    for (const plot of this.#plots) {
      const columns = this.#history.columns(plot.column);
      plot.set(fromAMinute(columns));
      plot.describe(lineText(plot.title, columns[1], plot.format));
    }
  }

  #drawLines() {
    const lines = [
      ["Sessions", "sessions", "--series-1", (value) => count(value), [0, 4]],
      ["Processor, % of all cores", "cpu_percent", "--series-4", (value) => `${Number(value.toFixed(1))} %`, [0, 1]],
      ["Pacing p99, ms behind", "pacing_p99_ms", "--series-3", (value) => msFigure(value), [0, 0.1]],
    ];
    for (const [title, column, colour, format, [least, span]] of lines) {
      const box = element("figure", { class: "fleet-line" }, element("figcaption", { text: title }));
      this.lines.append(box);
      const range = (_, low, high) => [least, Math.max(least + span, (high ?? 0) * 1.15)];
      const plot = drawPlot(box, {
        label: `${title} since this page was opened`,
        height: 120,
        series: [{ label: title, colour, fill: 0.12, dash: [] }],
        options: {
          cursor: { show: false },
          // A line of one moment has no length: the axis is a minute long at least.
          scales: { x: { range: (_, first, last) => [Math.min(first, last - 60), last] }, y: { range } },
          axes: [
            { values: (_, times) => times.map((at) => timeOfDay(at)), space: 70, size: 28 },
            { values: (_, values) => values.map(format), size: 48, ...(column === "sessions" ? { incrs: WHOLE } : {}) },
          ],
        },
        data: fromAMinute(this.#history.columns(column)),
      });
      this.#plots.push(Object.assign(plot, { column, title, format }));
    }
  }

  #tick() {
    if (!this.#fleet) return;
    const { text, draining } = nodeLine(this.#fleet.node);
    const age = this.#failure
      ? `These figures are of ${timeOfDay(this.#fleet.at / 1000)}. ${sentenceOf(this.#failure)}`
      : `${text}${draining ? " · draining" : ""}, as of ${ago(this.#fleet.at / 1000)}`;
    this.note.dataset.tone = this.#failure ? "bad" : "";
    if (this.note.textContent !== age) this.note.textContent = age;
  }

  #draw(root) {
    this.note = element("p", { class: "aside figures-note", "data-testid": "fleet-note" });
    this.tiles = element("div", { class: "figure-tiles", "data-testid": "tiles" });
    this.troubles = element("ul", { class: "troubles", "data-testid": "troubles", hidden: true });
    // There from the beginning, so that what comes into it is read out.
    const told = element("div", { class: "whole-row", role: "status" }, this.troubles);
    this.lines = element("div", { class: "fleet-lines" });
    this.relays = element("div", { class: "table-scroll", "data-testid": "relays" });
    this.targets = element("div", { class: "table-scroll", "data-testid": "targets" });
    this.waiting = element("div", {}, loading());
    this.content = element(
      "div",
      { class: "fleet", hidden: true },
      told,
      card("Since this page was opened", "fleet-lines", this.lines, "whole-row"),
      card("Relays", "fleet-relays", this.relays),
      card("Targets", "fleet-targets", this.targets),
    );
    root.append(
      element("div", { class: "page-head" }, element("h1", { text: "Fleet" }), this.note),
      this.tiles,
      this.waiting,
      this.content,
    );
  }
}

/** A single moment has no scale of its own: it stands at the end of a minute of which nothing is known. */
const fromAMinute = ([times, values]) =>
  times.length === 1
    ? [
        [times[0] - 60, times[0]],
        [null, values[0]],
      ]
    : [times, values];

/** A line in words, for who does not see it. */
function lineText(title, values, format) {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return `${title} since this page was opened: not known.`;
  const [least, most] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
  return `${title} since this page was opened: now ${format(known.at(-1))}, between ${format(least)} and ${format(most)}.`;
}

const nothing = (text) => element("p", { class: "quiet-note", text });

function card(title, name, child, more = "") {
  return element(
    "section",
    { class: `card ${more}`, "aria-labelledby": name },
    element("div", { class: "card-head" }, element("h2", { id: name, text: title })),
    child,
  );
}

const sign = ({ label, sign, tone }) =>
  element("span", { class: "sign", "data-tone": tone }, element("i", { "aria-hidden": "true", text: sign }), label);

function table(caption, heads, rows) {
  const head = heads.map(([text, isNumber]) =>
    element("th", { scope: "col", class: isNumber ? "number" : null, text }),
  );
  return element(
    "table",
    { class: "plain-table" },
    element("caption", { class: "hidden", text: caption }),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows),
  );
}

function drops({ packets, reasons }) {
  const below = reasons && element("span", { class: "below", text: reasons });
  return element("td", { class: "number" }, count(packets), below || null);
}

const number = (text) => element("td", { class: "number", text });

function relayTable(relays) {
  const rows = worstFirst(relays, relayState, ({ id }) => id).map((relay) =>
    element(
      "tr",
      { "data-relay": relay.id },
      element("th", { scope: "row", text: String(relay.id) }),
      element("td", {}, sign(relayState(relay))),
      number(count(relay.sessions)),
      number(ms(relay.round_trip_ms)),
      drops(dropped(relay)),
    ),
  );
  const heads = [["Relay"], ["State"], ["Sessions", true], ["Round trip", true], ["Packets dropped", true]];
  return table("Relays, those with trouble first", heads, rows);
}

function targetTable(targets, over) {
  const stateOf = (target) => targetState(target, over);
  const rows = worstFirst(targets, stateOf, ({ target }) => target).map((target) =>
    element(
      "tr",
      { "data-target": target.target },
      element("th", { scope: "row", text: target.target }),
      element("td", {}, sign(stateOf(target)), until(target)),
      number(ms(target.first_audio_ms)),
      number(count(target.sessions)),
    ),
  );
  const heads = [["Target"], ["State"], ["First audio, usually", true], ["Sessions", true]];
  return table("Targets of the routes, those with trouble first", heads, rows);
}

/** When it is tried again, if the gateway says so. */
function until({ retry_in_ms }) {
  if (!Number.isFinite(retry_in_ms)) return null;
  return element("span", { class: "below", text: `tried again in ${duration(retry_in_ms)}` });
}
