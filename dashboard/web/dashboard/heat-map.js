// Latency over time: a canvas of cells, darker the more turns. It is read with the pointer, with the keyboard, or as a table.
import { element } from "../shared/element.js";
import { groupThousands } from "../shared/hops.js";
import { plural } from "./format.js";
import { SHADES, cellAt, height, moved, readCell, readHeat, shade, shadeSteps, tableRows, timeTicks } from "./heat.js";
import { colours } from "./theme.js";

// Rows share this, but none is lower or higher than can be told apart and taken in.
const ROWS_PX = 290;
const [LOWEST_PX, HIGHEST_PX] = [17, 36];
const LEFT_PX = 64;
const BELOW_PX = 24;
const ABOVE_PX = 6;
const HEATS = Array.from({ length: SHADES }, (_, index) => `--heat-${index + 1}`);

export class HeatMap {
  #grid = null;
  #budget = null;
  #cursor = null;
  #isTableOpen = false;

  constructor(root) {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.place = element(
      "div",
      {
        class: "heat-place",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "heat map",
        "aria-describedby": "heat-help",
        "data-testid": "heat",
      },
      this.canvas,
    );
    this.readout = element("p", { class: "heat-readout", role: "status", "data-testid": "heat-readout" });
    this.key = element("div", { class: "key heat-key" });
    this.tableBody = element("tbody");
    const heads = ["Time", "Turns", "p50 within", "p95 within"].map((text) =>
      element("th", { scope: "col", class: text === "Turns" ? "number" : null, text }),
    );
    this.table = element(
      "details",
      { class: "as-table" },
      element("summary", { text: "Show as a table" }),
      element(
        "div",
        { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Latency over time as a table" },
        element("table", {}, element("thead", {}, element("tr", {}, ...heads)), this.tableBody),
      ),
    );
    this.table.addEventListener("toggle", () => {
      this.#isTableOpen = this.table.open;
      if (this.table.open) this.#fillTable();
    });
    root.append(this.place, this.readout, this.key, this.table);
    this.#listen();
  }

  #listen() {
    this.draw = () => this.#draw();
    this.resized = new ResizeObserver(this.draw);
    this.resized.observe(this.place);
    document.addEventListener("themechange", this.draw);
    this.place.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.#grid?.columns.length) return;
      if (event.key === "Escape" && this.#cursor) return this.#point(null);
      const next = moved(this.#grid, this.#cursor, event.key);
      if (!next) return;
      event.preventDefault();
      this.#point(next);
    });
    this.canvas.addEventListener("pointermove", (event) => this.#point(this.#under(event)));
    this.canvas.addEventListener("pointerleave", () => this.#point(null));
  }

  /** Shows the `heat` part of an overview; `label` names what it is of, `budget` in milliseconds is drawn if there is one. */
  show(heat, { label, budget }) {
    const grid = readHeat(heat);
    // The same moment stays under the cursor while time passes.
    const moment = this.#cursor && this.#grid?.columns[this.#cursor.column]?.fromAt;
    const bucket = this.#cursor && this.#grid?.rows[this.#cursor.row]?.index;
    this.#grid = grid;
    this.#budget = budget;
    const column = grid.columns.findIndex(({ fromAt }) => fromAt === moment);
    const row = grid.rows.findIndex(({ index }) => index === bucket);
    this.#cursor = column >= 0 && row >= 0 ? { column, row } : null;
    this.place.setAttribute("aria-label", `${label} over time, ${plural(grid.turns, "turn")}`);
    this.#drawKey();
    this.#fillTable();
    this.#draw();
    this.#read();
  }

  #under(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const x = (event.clientX - left - LEFT_PX) / (width - LEFT_PX);
    const y = 1 - (event.clientY - top - ABOVE_PX) / (height - ABOVE_PX - BELOW_PX);
    const isInside = x >= 0 && x <= 1 && y >= 0 && y <= 1;
    return isInside && this.#grid?.columns.length ? cellAt(this.#grid, x, y) : null;
  }

  #point(cursor) {
    const isSame = cursor?.column === this.#cursor?.column && cursor?.row === this.#cursor?.row;
    if (isSame) return;
    this.#cursor = cursor;
    this.#draw();
    this.#read();
  }

  #read() {
    const help = "Point at a cell, or use the arrow keys here, to read it.";
    const text = this.#cursor ? readCell(this.#grid, this.#cursor) : help;
    if (this.readout.textContent !== text) this.readout.textContent = text;
    this.readout.id = "heat-help";
  }

  #draw() {
    if (!this.#grid) return;
    const { columns, rows } = this.#grid;
    const width = Math.max(240, Math.floor(this.place.clientWidth));
    const rowHigh = Math.min(HIGHEST_PX, Math.max(LOWEST_PX, Math.floor(ROWS_PX / rows.length)));
    const heightPx = rows.length * rowHigh + ABOVE_PX + BELOW_PX;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(heightPx * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${heightPx}px`;
    const brush = this.canvas.getContext("2d");
    brush.scale(ratio, ratio);
    brush.font = '11px system-ui, "Segoe UI", Roboto, sans-serif';
    const frame = {
      brush,
      found: colours([...HEATS, "--ink", "--soft", "--line", "--card", "--sunk", "--accent"]),
      left: LEFT_PX,
      top: ABOVE_PX,
      wide: width - LEFT_PX,
      high: rows.length * rowHigh,
      rowHigh,
      cellWide: (width - LEFT_PX) / Math.max(1, columns.length),
    };
    this.#drawCells(frame);
    this.#drawAxes(frame);
    this.#drawLines(frame);
    this.#drawBudget(frame);
    this.#drawCursor(frame);
  }

  #drawCells({ brush, found, left, top, high, wide, cellWide, rowHigh }) {
    const { columns, rows, most } = this.#grid;
    brush.fillStyle = found["--sunk"];
    brush.fillRect(left, top, wide, high);
    for (const [x, { counts }] of columns.entries()) {
      for (const [y, { index }] of rows.entries()) {
        const level = shade(counts[index], most);
        if (level === 0) continue;
        brush.fillStyle = found[HEATS[level - 1]];
        const gap = cellWide > 5 ? 1 : 0;
        brush.fillRect(left + x * cellWide, top + high - (y + 1) * rowHigh, cellWide - gap, rowHigh - 1);
      }
    }
  }

  #drawAxes({ brush, found, left, top, high, wide, rowHigh }) {
    const { rows } = this.#grid;
    brush.fillStyle = found["--soft"];
    brush.textAlign = "right";
    brush.textBaseline = "middle";
    for (const [y, { toMs, fromMs }] of rows.entries()) {
      const edge = top + high - (y + 1) * rowHigh;
      if (toMs === Infinity) brush.fillText(`> ${groupThousands(fromMs)}`, left - 8, edge + rowHigh / 2);
      else if (y < rows.length - 1 || rows.length === 1)
        brush.fillText(groupThousands(toMs) + (y === rows.length - 2 ? " ms" : ""), left - 8, edge);
    }
    brush.textBaseline = "top";
    brush.textAlign = "center";
    brush.strokeStyle = found["--line"];
    for (const { left: place, text } of timeTicks(this.#grid, 70 / wide)) {
      const x = left + place * wide;
      if (x + 24 > left + wide) continue;
      brush.fillText(text, x, top + high + 8);
      brush.fillRect(x, top + high + 1, 1, 4);
    }
  }

  /** The buckets of p50 and p95 of each column, as steps: the picture can be read without its shades. */
  #drawLines(frame) {
    this.#drawSteps(frame, "middle", []);
    this.#drawSteps(frame, "tail", [4, 3]);
  }

  #drawSteps({ brush, found, left, top, high, cellWide, rowHigh }, name, dash) {
    const { columns, rows } = this.#grid;
    const path = new Path2D();
    let isDrawing = false;
    for (const [x, column] of columns.entries()) {
      const row = rows.findIndex(({ index }) => index === column[name]);
      if (column[name] === null || row < 0) {
        isDrawing = false;
        continue;
      }
      const y = top + high - (row + 0.5) * rowHigh;
      if (isDrawing) path.lineTo(left + x * cellWide, y);
      else path.moveTo(left + x * cellWide, y);
      path.lineTo(left + (x + 1) * cellWide, y);
      isDrawing = true;
    }
    brush.lineJoin = "round";
    brush.setLineDash([]);
    brush.strokeStyle = found["--card"];
    brush.lineWidth = 3.5;
    brush.stroke(path);
    brush.setLineDash(dash);
    brush.strokeStyle = found["--ink"];
    brush.lineWidth = 1.5;
    brush.stroke(path);
    brush.setLineDash([]);
  }

  #drawBudget({ brush, found, left, top, high, wide }) {
    const place = this.#budget === null ? null : height(this.#grid, this.#budget);
    if (place === null) return;
    const y = Math.round(top + high - place * high) - 0.5;
    brush.strokeStyle = found["--accent"];
    brush.lineWidth = 1.5;
    brush.beginPath();
    brush.moveTo(left, y);
    brush.lineTo(left + wide, y);
    brush.stroke();
    const text = `budget ${groupThousands(this.#budget)} ms`;
    const textWide = brush.measureText(text).width;
    brush.fillStyle = found["--card"];
    brush.fillRect(left + wide - textWide - 10, y - 15, textWide + 8, 14);
    brush.fillStyle = found["--accent"];
    brush.textAlign = "right";
    brush.textBaseline = "bottom";
    brush.fillText(text, left + wide - 6, y - 2);
  }

  #drawCursor({ brush, found, left, top, high, cellWide, rowHigh }) {
    if (!this.#cursor) return;
    const { column, row } = this.#cursor;
    const [x, y] = [left + column * cellWide, top + high - (row + 1) * rowHigh];
    brush.lineWidth = 2;
    brush.strokeStyle = found["--card"];
    brush.strokeRect(x - 1.5, y - 1.5, Math.max(cellWide, 3) + 2, rowHigh + 2);
    brush.strokeStyle = found["--ink"];
    brush.strokeRect(x - 0.5, y - 0.5, Math.max(cellWide, 3), rowHigh);
  }

  #drawKey() {
    const steps = shadeSteps(this.#grid.most).map(({ level, from, to }) =>
      element(
        "span",
        {},
        element("i", { class: `heat-sample heat-${level}`, "aria-hidden": "true" }),
        from === to ? groupThousands(from) : `${groupThousands(from)}–${groupThousands(to)}`,
      ),
    );
    this.key.replaceChildren(
      element("span", { text: "Turns in a cell:" }),
      ...steps,
      element("span", {}, element("i", { class: "line-sample", "aria-hidden": "true" }), "p50"),
      element(
        "span",
        {},
        element("i", { class: "line-sample is-dashed", "aria-hidden": "true" }),
        "p95 of each column",
      ),
    );
  }

  #fillTable() {
    if (!this.#isTableOpen) return;
    const rows = tableRows(this.#grid).map(({ when, turns, middle, tail }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row", text: when }),
        element("td", { class: "number", text: String(turns) }),
        element("td", { text: middle }),
        element("td", { text: tail }),
      ),
    );
    this.tableBody.replaceChildren(...rows);
  }

  close() {
    this.resized.disconnect();
    document.removeEventListener("themechange", this.draw);
  }
}
