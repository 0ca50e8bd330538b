// What was said, and what happened: two lists in the order of time.
import { element } from "../shared/element.js";
import { put } from "./columns.js";
import { clock } from "./format.js";
import { Keyed } from "./keyed.js";
import { EVENT_SIGNS } from "./lanes.js";
import { UNMEASURED } from "./states.js";

const WHO = { caller: "Caller", agent: "Agent" };
const STATES = { partial: "…", complete: "", cut: "cut off" };
/** So many of a long list are shown, the newest. */
const SHOWN = 300;

/** Brings a list up to date with the newest of `entries`; how many are left out. */
function showNewest(list, entries, update) {
  const wanted = entries.slice(-SHOWN);
  list.show(wanted, (row, entry) => {
    if (row.seq !== entry.seq) update(row, entry);
    row.seq = entry.seq;
  });
  return entries.length - wanted.length;
}

/** The transcript. `onPick(atMs)` is a click at an entry. */
export function drawTranscript(root, onPick) {
  const note = element("p", { class: "help", "data-testid": "transcript-note" });
  const list = element("ol", {
    class: "words-list",
    "data-testid": "transcript",
    "aria-label": "Transcript",
    tabindex: "0",
  });
  root.append(note, list);
  const entries = new Keyed(list, {
    keyOf: ({ item }) => item,
    make(entry) {
      const at = timeButton(entry.at_ms, onPick);
      const text = element("p", { class: "said" });
      const state = element("span", { class: "cut-word" });
      const who = element("b", { text: WHO[entry.who] ?? entry.who });
      return {
        text,
        state,
        node: element(
          "li",
          { class: `who-${entry.who === "agent" ? "agent" : "caller"}` },
          at,
          element("div", {}, who, state, text),
        ),
      };
    },
  });
  return (book, turn) => {
    const hidden = showNewest(entries, book.transcript, ({ text, state }, entry) => {
      put(text, entry.text);
      put(state, STATES[entry.state] ?? "");
    });
    const next = turn && book.turns.find(({ at_ms }) => at_ms > turn.at_ms);
    const before = turn && book.turns.filter(({ at_ms }) => at_ms < turn.at_ms).at(-1);
    const from = before ? before.at_ms + before.mouth_to_ear_ms : 0;
    const isIn = ({ at_ms, who }) => {
      if (!turn) return false;
      if (who === "agent") return at_ms >= turn.at_ms && at_ms < (next?.at_ms ?? Infinity);
      return at_ms <= turn.at_ms && at_ms > from - 1;
    };
    for (const entry of book.transcript)
      entries.get(entry.item)?.node.classList.toggle("picked", isIn(entry));
    const text = noteOf(book, hidden);
    put(note, text);
    note.hidden = text === "";
    list.hidden = book.transcript.length === 0;
  };
}

function noteOf({ measured, recording, transcript, truncated, session }, hidden) {
  if (!measured) return UNMEASURED;
  if (!recording.words) {
    return "No words were kept: nothing allows it for this session. Figures, marks and levels hold nothing that was said.";
  }
  if (!transcript.length)
    return session?.state === "ended" ? "Nothing was said." : "Nothing has been said yet.";
  if (truncated.transcript) return "The oldest words are not kept any more.";
  return hidden > 0 ? `The newest ${SHOWN} of ${transcript.length} are shown; the export has all.` : "";
}

/** What happened. `onPick(event)` is a click. */
export function drawEvents(root, onPick) {
  const note = element("p", { class: "help" });
  const list = element("ol", {
    class: "events-list",
    "data-testid": "events",
    "aria-label": "Events",
    tabindex: "0",
  });
  root.append(note, list);
  const entries = new Keyed(list, {
    keyOf: (event) => event.number ?? event.seq,
    make(event) {
      const at = timeButton(event.at_ms, () => onPick(event));
      const sign = element("span", {
        class: `event-mark severity-${event.severity}`,
        title: event.severity,
        "aria-label": event.severity,
        role: "img",
        text: EVENT_SIGNS[event.severity] ?? "●",
      });
      const kind = element("b", { text: event.kind.replaceAll("_", " ") });
      const detail = element("p", { class: "below", text: detailOf(event.detail) });
      return {
        node: element(
          "li",
          {},
          at,
          sign,
          element("div", {}, kind, " ", element("span", { text: event.text }), detail),
        ),
      };
    },
  });
  return (book) => {
    const hidden = showNewest(entries, book.events, () => {});
    const text = book.truncated.events
      ? "The oldest events are not kept any more."
      : hidden > 0
        ? `The newest ${SHOWN} of ${book.events.length} are shown; the export has all.`
        : book.events.length
          ? ""
          : "Nothing has happened yet.";
    put(note, text);
    note.hidden = text === "";
  };
}

/** The figures behind an event in one line. */
function detailOf(detail) {
  if (detail === null || typeof detail !== "object") return "";
  return Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${figureOf(value)}`)
    .join(" · ");
}

function figureOf(value) {
  if (typeof value === "number") return String(Math.round(value * 10) / 10);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function timeButton(atMs, onPick) {
  const node = element("button", {
    type: "button",
    class: "time-button",
    text: clock(atMs, 1),
    title: "Show on the time axis",
  });
  node.addEventListener("click", () => onPick(atMs));
  return node;
}
