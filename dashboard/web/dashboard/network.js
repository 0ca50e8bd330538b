// The way of the packets in charts on the time axis of the session: delays, loss before and after repair, and how it sounded.
import { element } from "../shared/element.js";
import { mos, ms, share } from "./format.js";
import { GUTTER, drawPlot, uPlot } from "./plot.js";
import { lossOf, nearest, newsOf } from "./record.js";

const CHARTS = [
  {
    name: "delay",
    title: "Delay, ms",
    height: 118,
    format: ms,
    series: [
      { label: "Round trip", colour: "--series-1", read: (one) => one.round_trip_ms },
      { label: "Caller’s jitter", colour: "--series-2", read: (one) => one.uplink?.jitter_ms },
      { label: "Agent’s jitter", colour: "--series-4", read: (one) => one.downlink?.jitter_ms },
      { label: "Gateway’s buffer", colour: "--series-3", read: (one) => one.uplink?.buffer_ms },
      { label: "Caller’s buffer", colour: "--series-5", read: (one) => one.downlink?.buffer_ms },
    ],
    least: 50,
  },
  {
    name: "loss",
    title: "Packets lost",
    overWebSocket: "over WebSocket none can be: what TCP sends again is late instead",
    height: 84,
    format: share,
    series: [
      {
        label: "Caller’s, before repair",
        colour: "--series-2",
        fill: 0.25,
        bars: true,
        read: (one) => lossOf(one).before,
      },
      {
        label: "after repair",
        colour: "--series-4",
        fill: 0.95,
        bars: true,
        read: (one) => lossOf(one).after,
      },
      { label: "Agent’s", colour: "--series-1", read: (one) => lossOf(one).agent },
    ],
    least: 0.05,
  },
  {
    name: "mos",
    title: "MOS",
    overWebSocket: "not known over WebSocket: no client tells how long it buffers",
    height: 66,
    format: mos,
    series: [{ label: "How it sounded, 1 to 4.5", colour: "--series-3", fill: 0.12, read: (one) => one.mos }],
    range: [1, 4.6],
    splits: [1, 2, 3, 4],
  },
];

/** The lanes, one for each chart. */
export const networkLanes = () => CHARTS.map((chart) => () => new NetworkLane(chart));

class NetworkLane {
  #chart;
  #plot = null;
  #isNews = newsOf("network");
  /** What is known, and what of it was drawn. */
  #network = [];
  #drawn = null;

  constructor(chart) {
    this.#chart = chart;
    this.values = chart.series.map(() => element("b", {}));
    const legend = chart.series.map(({ label, colour, bars }, index) => {
      const sample = element("span", {
        class: `sample sample-${bars ? "bar" : "line"} dash-${index}`,
        "aria-hidden": "true",
      });
      sample.style.setProperty("--line-colour", `var(${colour})`);
      return element("li", {}, sample, label, " ", this.values[index]);
    });
    this.note = element("span", { class: "chart-note", hidden: true, text: chart.overWebSocket ?? "" });
    this.place = element("div", { class: "chart-place" });
    this.node = element(
      "div",
      { class: `lane-row lane-chart lane-${chart.name}` },
      element(
        "div",
        { class: "chart-head" },
        element("b", { text: chart.title }),
        this.note,
        element("ul", { class: "samples" }, ...legend),
      ),
      this.place,
    );
  }

  draw({ book, view, width }) {
    const { network, session } = book;
    this.#network = network;
    if (!this.#isNews(book, view, width)) return;
    this.note.hidden = !this.#chart.overWebSocket || session?.transport !== "websocket";
    this.#plot ??= drawPlot(this.place, this.#options());
    if (this.#drawn !== network) {
      this.#drawn = network;
      this.#plot.set(
        [
          network.map(({ at_ms }) => at_ms),
          // A bar of nothing is no bar, not a line at the bottom.
          ...this.#chart.series.map(({ read, bars }) =>
            network.map((one) => (bars ? read(one) || null : (read(one) ?? null))),
          ),
        ],
        false,
      );
      this.#describe(network);
    }
    this.#plot.plot().setScale("x", { min: view.fromMs, max: view.toMs });
  }

  /** Shows the figures of a moment, of the last one without a pointer. */
  point(atMs) {
    const network = this.#network;
    const one = atMs === null ? network.at(-1) : nearest(network, atMs, 1500);
    this.#chart.series.forEach(({ read }, index) => {
      const text = one ? this.#chart.format(read(one) ?? null) : "–";
      if (this.values[index].textContent !== text) this.values[index].textContent = text;
    });
  }

  close() {
    this.#plot?.close();
  }

  #describe(network) {
    const parts = this.#chart.series.map(({ label, read }) => {
      const known = network.map(read).filter((value) => Number.isFinite(value));
      if (!known.length) return `${label}: not known`;
      const greatest = known.reduce((a, b) => Math.max(a, b));
      return `${label}: last ${this.#chart.format(known.at(-1))}, at most ${this.#chart.format(greatest)}`;
    });
    this.#plot.describe(`${this.#chart.title}. ${parts.join("; ")}.`);
  }

  #options() {
    const { title, height, series, range, least, splits, format } = this.#chart;
    const bars = uPlot.paths.bars({ size: [0.8, 24] });
    return {
      label: title,
      height,
      data: [[], ...series.map(() => [])],
      series: series.map(({ label, colour, fill, bars: isBars }, index) => ({
        label,
        colour,
        fill,
        ...(isBars ? { paths: bars, dash: [] } : {}),
        ...(index > 0 || isBars ? {} : { width: 2 }),
      })),
      options: {
        cursor: { show: false },
        select: { show: false },
        scales: {
          x: { time: false, auto: false, range: (_, min, max) => [min, max] },
          y: { range: range ? () => range : (_, __, max) => [0, Math.max(least, (max ?? 0) * 1.1)] },
        },
        axes: [
          { show: false },
          {
            size: GUTTER,
            gap: 4,
            splits: splits && (() => splits),
            values: (_, ticks) =>
              ticks.map((tick) => (format === share ? share(tick) : `${Math.round(tick * 100) / 100}`)),
          },
        ],
        padding: [6, 0, 4, 0],
      },
    };
  }
}
