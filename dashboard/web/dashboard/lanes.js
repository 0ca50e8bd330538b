// The lanes of a session that are no charts: turns, both voices, and what happened.
import { element } from "../shared/element.js";
import { formatMs, hopLabel, ownerOf } from "../shared/hops.js";
import { peaks, placeOf, shareOf } from "./axis.js";
import { apartMs, joined, thinned } from "./crowd.js";
import { clock } from "./format.js";
import { Keyed } from "./keyed.js";
import { newsOf } from "./record.js";
import { colours } from "./theme.js";

/** From here on a turn has room for its hops. */
const ROOM_PX = 40;

const lane = (name, title, track) =>
  element(
    "div",
    { class: `lane-row lane-${name}` },
    element("span", { class: "lane-name", text: title }),
    track,
  );

/** A turn is a bar from the caller's last word to the caller's ear, with its hops where there is room. */
export function turnLane(onPick) {
  return () => {
    const track = element(
      "div",
      { class: "track" },
      element("span", { class: "budget-line", title: "The budget" }),
    );
    const keyOf = ({ entry }) => entry.turn;
    const make = makeTurn(onPick);
    const bars = new Keyed(track, { keyOf, make: ({ entry }) => make(entry), isPlaced: true });
    const isNews = newsOf("turns");
    return {
      node: lane("turns", "Turns", track),
      draw({ book, view, width, turn: picked }) {
        if (!isNews(book, view, width, picked?.turn)) return;
        const seen = inView(book.turns, view, (turn) => [turn.at_ms, turn.at_ms + turn.mouth_to_ear_ms]);
        // The one that is looked at is there whatever else happened in its place.
        const weight = (turn) => (picked?.turn === turn.turn ? Infinity : turn.mouth_to_ear_ms / (turn.budget_ms || 1500));
        bars.show(thinned(seen, apartMs(view, width), weight), ({ node }, { entry, count }) =>
          showTurn(node, { turn: entry, count }, view, width, picked?.turn === entry.turn),
        );
      },
    };
  };
}

const makeTurn = (onPick) => (turn) => {
  const node = element("button", {
    type: "button",
    class: "turn-bar",
    tabindex: "-1",
    "data-turn": turn.turn,
  });
  node.addEventListener("click", () => onPick(turn.turn));
  return { node };
};

function showTurn(node, { turn, count }, view, width, isPicked) {
  const { left, width: share } = placeOf(view, turn.at_ms, turn.at_ms + turn.mouth_to_ear_ms);
  const isOver = turn.breaches.some(({ subject }) => subject === "whole");
  const room = (share / 100) * width;
  node.style.left = `${left}%`;
  node.style.width = `${share}%`;
  node.style.height = room > ROOM_PX ? "" : `${columnHeight(turn)}%`;
  node.classList.toggle("picked", isPicked);
  node.classList.toggle("over", isOver);
  node.classList.toggle("wide", room > ROOM_PX);
  const key = `${turn.seq} ${room > ROOM_PX} ${count}`;
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  const over = isOver ? ", over budget" : "";
  const among = count > 1 ? `, the slowest of ${count} here` : "";
  node.title = `Turn ${turn.turn}: ${formatMs(turn.mouth_to_ear_ms)}${over}${among}`;
  node.setAttribute("aria-label", node.title);
  node.replaceChildren(
    ...(room > ROOM_PX ? segments(turn) : []),
    element("b", { text: `${isOver ? "▲" : ""}${turn.turn}` }),
  );
}

/** Where there is no room for its hops, a turn is a column against its budget, which is at two thirds of the height. */
const columnHeight = ({ mouth_to_ear_ms, budget_ms }) =>
  Math.max(8, Math.min(100, (100 * mouth_to_ear_ms) / (1.5 * (budget_ms ?? 1500))));

function segments({ hops, mouth_to_ear_ms }) {
  return hops
    .filter(({ duration_ms }) => duration_ms > 0)
    .map(({ hop, owner, duration_ms, certainty }) => {
      const estimated = certainty === "estimated" ? " estimated" : "";
      const title = `${hopLabel(hop)}: ${formatMs(duration_ms)}, ${ownerOf(owner).label}`;
      const part = element("i", { class: `bar owner-${owner}${estimated}`, title });
      part.style.width = `${(100 * duration_ms) / Math.max(1, mouth_to_ear_ms)}%`;
      return part;
    });
}

/** A voice: how loud it was, when it spoke, and where it was cut off. */
export function voiceLane(name, title, colour) {
  return () => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const marks = element("div", { class: "marks" });
    const track = element("div", { class: "track" }, canvas, marks);
    const keyOf = ({ first }) => first.number ?? `${first.kind} ${first.at_ms}`;
    const stretches = new Keyed(marks, { keyOf, make: makeMark, isPlaced: true });
    const isNews = newsOf("levels", "marks");
    let paint = null;
    const recolour = () => (paint = null);
    document.addEventListener("themechange", recolour);
    return {
      node: lane("voice", title, track),
      draw({ book, view, width }) {
        if (!isNews(book, view, width, paint)) return;
        paint ??= colours([colour])[colour];
        drawLevels(
          canvas,
          width,
          track.clientHeight,
          peaks(book.levels[name], book.levels, view, Math.round(width / 2)),
          paint,
        );
        const open = book.extentMs;
        const own = book.marks.filter((mark) => mark.lane === name);
        const seen = inView(own, view, (mark) => [mark.at_ms, mark.until_ms ?? open]);
        stretches.show(joined(seen, apartMs(view, width), open), ({ node }, mark) =>
          showMark(node, mark, view, open, width),
        );
      },
      close: () => document.removeEventListener("themechange", recolour),
    };
  };
}

function drawLevels(canvas, width, height, levels, colour) {
  const scale = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, w, h);
  context.fillStyle = colour;
  const step = w / levels.length;
  const middle = h / 2;
  levels.forEach((level, column) => {
    if (level === null) return;
    const reach = Math.max(scale / 2, (level / 100) * (middle - scale));
    context.fillRect(column * step, middle - reach, Math.max(1, step * 0.7), 2 * reach);
  });
}

const makeMark = (mark) => ({ node: element("span", { class: `mark mark-${mark.kind}` }) });

function showMark(node, mark, view, openMs, trackWidth) {
  const until = mark.until_ms ?? openMs;
  const { left, width } = placeOf(view, mark.at_ms, until);
  node.style.left = `${left}%`;
  node.style.width = `${width}%`;
  const what = mark.kind === "interruption" ? "Cut in" : "Speech";
  const { stop_ms } = mark.first;
  const stop = mark.count > 1 || stop_ms === null ? "" : `; the agent was silent after ${formatMs(stop_ms)}`;
  const often = mark.count > 1 ? `, ${mark.count} times` : "";
  const text = `${what} ${clock(mark.at_ms, 1)} to ${mark.until_ms === null ? "now" : clock(until, 1)}${often}${stop}`;
  if (node.title !== text) node.title = text;
  const hasRoom = (width / 100) * trackWidth > 44;
  const label = mark.kind === "interruption" && hasRoom ? "cut in" : "";
  if (node.textContent !== label) node.textContent = label;
}

const SEVERITIES = ["info", "warning", "error"];
export const EVENT_SIGNS = { info: "●", warning: "▲", error: "✖" };

/** What happened, each as a sign that tells how bad it is. */
export function eventLane(onPick) {
  return () => {
    const track = element("div", { class: "track" });
    const keyOf = ({ entry }) => entry.number ?? entry.seq;
    const make = makeEvent(onPick);
    const signs = new Keyed(track, { keyOf, make: ({ entry }) => make(entry), isPlaced: true });
    const isNews = newsOf("events");
    return {
      node: lane("events", "Events", track),
      draw({ book, view, width }) {
        if (!isNews(book, view, width)) return;
        const seen = inView(book.events, view, ({ at_ms }) => [at_ms, at_ms]);
        const weight = ({ severity }) => SEVERITIES.indexOf(severity);
        signs.show(thinned(seen, apartMs(view, width), weight), ({ node }, { entry }) => {
          node.style.left = `${100 * shareOf(view, entry.at_ms)}%`;
        });
      },
    };
  };
}

const makeEvent = (onPick) => (event) => {
  const title = `${clock(event.at_ms, 1)} ${event.kind.replaceAll("_", " ")}: ${event.text}`;
  const node = element("button", {
    type: "button",
    class: `event-sign severity-${event.severity}`,
    tabindex: "-1",
    title,
    "aria-label": title,
    text: EVENT_SIGNS[event.severity] ?? "●",
  });
  node.addEventListener("click", () => onPick(event));
  return { node };
};

const inView = (entries, view, reach) =>
  entries.filter((entry) => {
    const [from, to] = reach(entry);
    return to >= view.fromMs && from <= view.toMs;
  });
