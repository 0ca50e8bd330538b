// Charts: uPlot with the colours of the page, the width of its place, and words for who does not see it.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { element } from "../shared/element.js";
import { colours } from "./theme.js";

export { uPlot };

/** Space left of every plot for its figures, so that plots below each other share their time axis. */
export const GUTTER = 56;

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4], [12, 4]];

/**
 * Draws a chart into `root` and keeps it as wide as `root`. `label` says in words what it shows. Each of `series` is
 * `{ label, colour: "--series-1", format, fill, dash, width, scale, ...uPlot's own }`; lines without `dash` get one each, so that
 * colour is never all that tells them apart. `options` are uPlot's own and win. `set(data)` replaces the columns, `plot()` is
 * the uPlot of this moment (the colours changing makes a new one), `close()` takes it away.
 */
export function drawPlot(root, { label, height = 140, series, options = {}, data = [[]] }) {
  const place = element("div", { class: "plot", role: "img", "aria-label": label });
  root.append(place);
  let plot = null;
  let columns = data;

  const width = () => Math.max(120, Math.floor(place.clientWidth));
  const draw = () => {
    const scales = plot ? keptScales(plot, options) : {};
    plot?.destroy();
    plot = new uPlot(configure({ width: width(), height, series, options }), columns, place);
    for (const [name, range] of Object.entries(scales)) plot.setScale(name, range);
  };
  const resized = new ResizeObserver(() => {
    if (plot && plot.width !== width()) plot.setSize({ width: width(), height });
  });
  document.addEventListener("themechange", draw);
  draw();
  resized.observe(place);
  return {
    plot: () => plot,
    set(next, resetScales = true) {
      columns = next;
      plot.setData(next, resetScales);
    },
    describe: (text) => place.setAttribute("aria-label", text),
    close() {
      document.removeEventListener("themechange", draw);
      resized.disconnect();
      plot.destroy();
      place.remove();
    },
  };
}

/** Ranges somebody zoomed to; those that follow the data are found again. */
function keptScales(plot, options) {
  const x = plot.scales.x;
  return options.scales?.x?.auto === false && x.min !== null ? { x: { min: x.min, max: x.max } } : {};
}

function configure({ width, height, series, options }) {
  const named = series.map(({ colour }) => colour).filter(Boolean);
  const found = colours(["--soft", "--line", "--card", ...named]);
  const axis = (own = {}) => ({
    stroke: found["--soft"],
    font: '11px system-ui, "Segoe UI", Roboto, sans-serif',
    grid: { stroke: found["--line"], width: 1 },
    ticks: { stroke: found["--line"], width: 1, size: 4 },
    ...own,
  });
  const { axes = [{}, {}], ...rest } = options;
  return {
    width,
    height,
    legend: { show: false },
    // Half a label of the last tick hangs over on the right.
    padding: [8, 26, 0, 0],
    ...rest,
    axes: axes.map((own, index) => axis(index === 1 ? { size: GUTTER, ...own } : own)),
    series: [{}, ...series.map((one, index) => line(one, index, found))],
  };
}

function line({ colour = "--soft", fill, dash, ...own }, index, found) {
  const stroke = found[colour];
  return {
    stroke,
    width: 1.5,
    dash: dash ?? DASHES[index % DASHES.length],
    points: { show: false },
    ...(fill ? { fill: stroke.replace("rgb(", "rgba(").replace(")", `, ${fill})`) } : {}),
    ...own,
  };
}
