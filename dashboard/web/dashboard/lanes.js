// The lanes of a session that are no charts: turns, both voices, and what happened.
import { element } from "../shared/element.js";
import { formatMs, hopLabel, ownerOf } from "../shared/hops.js";
import { peaks, placeOf, shareOf } from "./axis.js";
import { clock } from "./format.js";
import { Keyed } from "./keyed.js";
import { colours } from "./theme.js";

/** More marks than this in view are too many to tell apart; the newest are shown. */
const MOST_MARKS = 400;
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
    const bars = new Keyed(track, { keyOf: ({ turn }) => turn, make: makeTurn(onPick), isPlaced: true });
    return {
      node: lane("turns", "Turns", track),
      draw({ book, view, width, turn: picked }) {
        const seen = inView(book.turns, view, (turn) => [turn.at_ms, turn.at_ms + turn.mouth_to_ear_ms]);
        bars.show(seen, ({ node }, turn) => showTurn(node, turn, view, width, picked?.turn === turn.turn));
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

function showTurn(node, turn, view, width, isPicked) {
  const { left, width: share } = placeOf(view, turn.at_ms, turn.at_ms + turn.mouth_to_ear_ms);
  const isOver = turn.breaches.some(({ subject }) => subject === "whole");
  const room = (share / 100) * width;
  node.style.left = `${left}%`;
  node.style.width = `${share}%`;
  node.style.height = room > ROOM_PX ? "" : `${columnHeight(turn)}%`;
  node.classList.toggle("picked", isPicked);
  node.classList.toggle("over", isOver);
  node.classList.toggle("wide", room > ROOM_PX);
  const key = `${turn.seq} ${room > ROOM_PX}`;
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  const over = isOver ? ", over budget" : "";
  node.title = `Turn ${turn.turn}: ${formatMs(turn.mouth_to_ear_ms)}${over}`;
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
    const keyOf = (mark) => mark.number ?? `${mark.kind} ${mark.at_ms}`;
    const stretches = new Keyed(marks, { keyOf, make: makeMark, isPlaced: true });
    let paint = null;
    const recolour = () => (paint = null);
    document.addEventListener("themechange", recolour);
    return {
      node: lane("voice", title, track),
      draw({ book, view, width }) {
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
        stretches.show(seen, ({ node }, mark) => showMark(node, mark, view, open, width));
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
  const stop = mark.stop_ms === null ? "" : `; the agent was silent after ${formatMs(mark.stop_ms)}`;
  const text = `${what} ${clock(mark.at_ms, 1)} to ${mark.until_ms === null ? "now" : clock(until, 1)}${stop}`;
  if (node.title !== text) node.title = text;
  const hasRoom = (width / 100) * trackWidth > 44;
  const label = mark.kind === "interruption" && hasRoom ? "cut in" : "";
  if (node.textContent !== label) node.textContent = label;
}

export const EVENT_SIGNS = { info: "●", warning: "▲", error: "✖" };

/** What happened, each as a sign that tells how bad it is. */
export function eventLane(onPick) {
  return () => {
    const track = element("div", { class: "track" });
    const keyOf = (event) => event.number ?? event.seq;
    const signs = new Keyed(track, { keyOf, make: makeEvent(onPick), isPlaced: true });
    return {
      node: lane("events", "Events", track),
      draw({ book, view }) {
        const seen = inView(book.events, view, ({ at_ms }) => [at_ms, at_ms]);
        signs.show(seen, ({ node }, event) => {
          node.style.left = `${100 * shareOf(view, event.at_ms)}%`;
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

function inView(entries, view, reach) {
  const seen = entries.filter((entry) => {
    const [from, to] = reach(entry);
    return to >= view.fromMs && from <= view.toMs;
  });
  return seen.slice(-MOST_MARKS);
}
