// What stands in the columns of the list of sessions.
import { element } from "../shared/element.js";
import { hopLabel } from "../shared/hops.js";
import { count, duration, money, mos, msFigure, share } from "./format.js";
import { sessionPath } from "./routes.js";

/** The end of the scale on which answers are drawn; slower ones are cut off and marked so. */
const SCALE_MS = 2000;

/** Below these a call sounds fair and poor (G.107 annex B, as the E-model's rating maps to opinions). */
const FAIR_MOS = 3.6;
const POOR_MOS = 3.1;
const HIGH_LOSS = 0.03;

const STATES = { connecting: "Connecting", open: "Live", ending: "Ending", ended: "Ended" };

/** `make` builds the content of a cell once, `show(parts, summary, now)` brings it up to date. */
export const COLUMNS = [
  { name: "session", title: "Session", make: makeSession, show: showSession },
  {
    name: "answer",
    title: "Mouth to ear, ms",
    hint: "From the caller’s last word to hearing the answer: median and 95th percentile",
    number: true,
    make: makeAnswer,
    show: showAnswer,
  },
  {
    name: "breaches",
    title: "Over budget",
    hint: "Turns over one of their budgets, and the hop that spent most",
    make: makeTwo,
    show: showBreaches,
  },
  {
    name: "turns",
    title: "Turns",
    number: true,
    make: makeOne,
    show: (parts, { turns }) => put(parts.text, count(turns)),
  },
  {
    name: "mos",
    title: "MOS",
    hint: "Mean opinion score by the E-model, 1 to 4.5",
    number: true,
    make: makeOne,
    show: showMos,
  },
  { name: "loss", title: "Loss", hint: "Packets lost", number: true, make: makeOne, show: showLoss },
  {
    name: "interruptions",
    title: "Cut in",
    hint: "How often the caller interrupted",
    number: true,
    make: makeOne,
    show: (parts, { interruptions }) => put(parts.text, count(interruptions)),
  },
  {
    name: "cost",
    title: "Cost",
    number: true,
    make: makeOne,
    show: (parts, { cost_nano_dollars }) => put(parts.text, money(cost_nano_dollars)),
  },
  { name: "provider", title: "Served by", make: makeTwo, show: showProvider },
  { name: "relay", title: "Relay", make: makeOne, show: (parts, { relay }) => put(parts.text, relay ?? "–") },
  {
    name: "age",
    title: "Lasts",
    hint: "How long it has lasted, and how it ended",
    make: makeTwo,
    show: showAge,
  },
];

/** Sets a text if it is another one. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

function makeOne(cell) {
  const text = element("span", { class: "figure" });
  cell.append(text);
  return { text, cell };
}

function makeTwo(cell) {
  const text = element("span", { class: "main-line" });
  const below = element("span", { class: "below" });
  cell.append(text, below);
  return { text, below, cell };
}

function makeSession(cell) {
  const state = element("span", { class: "state-mark", "aria-hidden": "true" });
  const link = element("a", { class: "session-link", tabindex: "-1" });
  const word = element("span", { class: "hidden" });
  const below = element("span", { class: "below" });
  cell.append(state, link, word, below);
  return { state, link, word, below };
}

function showSession({ state, link, word, below }, summary) {
  mark(state, "state", summary.state);
  put(link, summary.id);
  const path = sessionPath(summary.id);
  if (link.getAttribute("href") !== path) link.href = path;
  put(word, `, ${STATES[summary.state] ?? summary.state}`);
  put(below, [summary.organisation, summary.team, summary.agent].filter(Boolean).join(" / "));
}

function makeAnswer(cell) {
  const p50 = element("span", { class: "p50" });
  const p95 = element("span", { class: "p95" });
  const bar = element("span", { class: "answer-bar", "aria-hidden": "true" }, element("i"), element("b"));
  cell.append(
    element("span", { class: "hidden", text: "median " }),
    p50,
    element("span", { class: "hidden", text: ", 95th percentile " }),
    p95,
    bar,
  );
  return { p50, p95, bar };
}

function showAnswer({ p50, p95, bar }, { mouth_to_ear_p50_ms, mouth_to_ear_p95_ms }) {
  put(p50, msFigure(mouth_to_ear_p50_ms));
  put(p95, msFigure(mouth_to_ear_p95_ms));
  const part = (value) => `${Math.min(100, (100 * (value ?? 0)) / SCALE_MS).toFixed(1)}%`;
  bar.style.setProperty("--p50", part(mouth_to_ear_p50_ms));
  bar.style.setProperty("--p95", part(mouth_to_ear_p95_ms));
  mark(bar, "beyond", String(mouth_to_ear_p95_ms > SCALE_MS));
}

function showBreaches({ text, below, cell }, { breaches, worst_hop }) {
  const has = breaches > 0;
  mark(cell, "tone", has ? "bad" : "none");
  put(text, breaches === null || breaches === undefined ? "–" : has ? `▲ ${count(breaches)}` : "0");
  put(below, has && worst_hop ? hopLabel(worst_hop) : "");
}

function showMos({ text, cell }, summary) {
  const tone =
    summary.mos === null ? "none" : summary.mos < POOR_MOS ? "bad" : summary.mos < FAIR_MOS ? "warn" : "none";
  mark(cell, "tone", tone);
  put(text, `${{ bad: "▼ ", warn: "▽ " }[tone] ?? ""}${mos(summary.mos)}`);
}

function showLoss({ text, cell }, { loss_ratio }) {
  const isHigh = loss_ratio >= HIGH_LOSS;
  mark(cell, "tone", isHigh ? "warn" : "none");
  put(text, `${isHigh ? "▲ " : ""}${share(loss_ratio)}`);
}

function showProvider({ text, below }, { provider, region, model }) {
  put(text, [provider ?? "–", region].filter(Boolean).join(" · "));
  put(below, model ?? "");
}

function showAge({ text, below, cell }, summary, now) {
  const isOver = summary.state === "ended";
  const lasted = isOver ? summary.duration_ms : Math.max(0, (now - summary.began_at) * 1000);
  put(text, lasted >= 1000 || isOver ? duration(lasted) : "0 s");
  mark(cell, "state", summary.state);
  put(below, isOver ? words(summary.end_reason) : (STATES[summary.state] ?? summary.state));
}

const words = (reason) => (reason ? reason.replaceAll("_", " ") : "Ended");
