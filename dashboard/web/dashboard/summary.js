// A session in a few figures, and who it belongs to.
import { element } from "../shared/element.js";
import { hopLabel } from "../shared/hops.js";
import { put } from "./columns.js";
import { count, dateAndTime, duration, money, mos, ms, plural, share } from "./format.js";

const STATES = { connecting: "Connecting", open: "Live", ending: "Ending", ended: "Ended" };
const SOUNDS = [
  [4.0, "Good"],
  [3.6, "Fair"],
  [3.1, "Poor"],
  [0, "Bad"],
];

/** Figures: a name, what it is now, and what that means. */
const FIGURES = [
  [
    "p50",
    "Mouth to ear, median",
    (session) => [ms(session.mouth_to_ear_p50_ms), plural(session.turns ?? 0, "turn")],
  ],
  ["p95", "95th percentile", (session) => [ms(session.mouth_to_ear_p95_ms), "from last word to ear"]],
  ["breaches", "Over budget", (session) => over(session)],
  ["mos", "How it sounds", (session) => [mos(session.mos), sound(session.mos)]],
  ["loss", "Packets lost", (session) => [share(session.loss_ratio), "repaired ones too"]],
  ["interruptions", "Cut in", (session) => [count(session.interruptions), "by the caller"]],
  ["cost", "Cost", (session) => [money(session.cost_nano_dollars), perTurn(session)]],
  ["duration", "Lasts", (session, now) => [duration(lasted(session, now)), ended(session)]],
];

const FACTS = [
  ["Whose", ({ organisation, team, agent }) => [organisation, team, agent].filter(Boolean).join(" / ")],
  ["Served by", ({ provider, region, model }) => [provider, region, model].filter(Boolean).join(" · ")],
  ["Way", ({ transport, relay }) => [transport, relay].filter(Boolean).join(" · ")],
  ["Began", ({ began_at }) => dateAndTime(began_at)],
  ["Key", ({ key }) => key],
  ["Call", ({ call }) => call],
  [
    "Configuration",
    ({ revision_number, revision_hash }) =>
      `revision ${revision_number} (${String(revision_hash ?? "").slice(0, 8)})`,
  ],
  ["Trace", ({ trace_id }) => trace_id],
];

/** Draws the figures into `root`; `show(session)` brings them up to date. */
export function drawSummary(root) {
  const figures = FIGURES.map(([name, title, read]) => {
    const value = element("dd", { "data-testid": `figure-${name}` });
    const below = element("dd", { class: "below" });
    return {
      read,
      value,
      below,
      node: element("div", { class: `tile tile-${name}` }, element("dt", { text: title }), value, below),
    };
  });
  const facts = FACTS.map(([title, read]) => {
    const value = element("dd");
    return { read, value, node: element("div", {}, element("dt", { text: title }), value) };
  });
  const tiles = element("dl", { class: "tiles" }, ...figures.map(({ node }) => node));
  root.append(tiles, element("dl", { class: "facts" }, ...facts.map(({ node }) => node)));
  return (session, now = Date.now() / 1000) => {
    for (const { read, value, below, node } of figures) {
      const [text, meaning, tone] = read(session, now);
      put(value, text);
      put(below, meaning ?? "");
      node.dataset.tone = tone ?? "none";
    }
    for (const { read, value, node } of facts) {
      const text = read(session) || "–";
      put(value, text);
      node.hidden = text === "–";
    }
  };
}

export const stateWord = ({ state }) => STATES[state] ?? state;

const over = ({ breaches, worst_hop, turns }) => {
  if (!(breaches > 0)) return [count(breaches), turns > 0 ? "every turn within" : ""];
  return [`▲ ${count(breaches)}`, worst_hop ? `mostly ${hopLabel(worst_hop).toLowerCase()}` : "", "bad"];
};

function sound(value) {
  if (typeof value !== "number") return "not known";
  return SOUNDS.find(([from]) => value >= from)[1];
}

const perTurn = ({ cost_nano_dollars, turns }) =>
  cost_nano_dollars > 0 && turns > 0 ? `${money(cost_nano_dollars / turns)} a turn` : "";

const lasted = (session, now) =>
  session.state === "ended"
    ? session.duration_ms
    : Math.max(session.duration_ms, (now - session.began_at) * 1000);

const ended = ({ state, end_reason }) =>
  state === "ended" ? (end_reason ?? "ended").replaceAll("_", " ") : (STATES[state] ?? state);
