// The conversation as a chat. Entries are patched in place, so that screen readers and selections survive
// deltas.
import { element } from "../shared/element.js";

const SPEAKERS = { user: "You", agent: "Agent", tool: "Tool" };

// Speech runs at about this rate. The server tells how long an answer was heard, not which words.
const CHARACTERS_PER_SECOND = 15;

/** The part of a cut answer that was probably heard and the rest, parted between words. */
export function splitHeard({ text, heardMs }) {
  if (heardMs === undefined) return [text, ""];
  const reach = Math.round((heardMs / 1000) * CHARACTERS_PER_SECOND);
  if (reach >= text.length) return [text, ""];
  const cut = text.lastIndexOf(" ", reach);
  return cut <= 0 ? ["", text] : [text.slice(0, cut + 1), text.slice(cut + 1)];
}

/** One line about a cut answer, or "". */
export function interruptionNote({ interrupted, heardMs }) {
  if (!interrupted) return "";
  if (interrupted === "loss") return "Cut off by the lost connection";
  const by = interrupted === "stop" ? "Stopped" : "Interrupted";
  return heardMs === undefined ? by : `${by} after ${(heardMs / 1000).toFixed(1)} s`;
}

/** Draws transcripts into `list`, keeping the newest line in view unless the reader scrolled up. */
export class TranscriptView {
  #list;
  #scroller;
  #rows = new Map();

  constructor(list, scroller) {
    this.#list = list;
    this.#scroller = scroller;
  }

  render(entries) {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const follows = scrollHeight - scrollTop - clientHeight < 48;
    const ids = new Set(entries.map((entry) => entry.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    for (const entry of entries) this.#draw(entry);
    if (follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #draw(entry) {
    const known = this.#rows.get(entry.id);
    if (known?.entry === entry) return;
    const node = known?.node ?? this.#list.appendChild(element("li", { "data-testid": "entry" }));
    node.className = `entry entry-${entry.role}`;
    node.dataset.role = entry.role;
    node.dataset.interrupted = entry.interrupted ?? "";
    // Read out once complete, not syllable by syllable.
    node.setAttribute("aria-busy", String(!entry.final));
    node.replaceChildren(...content(entry));
    this.#rows.set(entry.id, { node, entry });
  }
}

function content(entry) {
  const speaker = element("span", { class: "speaker", text: SPEAKERS[entry.role] });
  const note = interruptionNote(entry);
  return [
    speaker,
    element("p", { class: "words" }, ...words(entry)),
    note ? element("span", { class: "cut-note", text: note }) : null,
  ].filter(Boolean);
}

function words(entry) {
  if (!entry.text) {
    if (entry.failure) return [element("em", { text: entry.failure })];
    if (entry.interrupted) return [element("em", { text: "cut off before a word was heard" })];
    if (entry.final) return [element("em", { text: "no words" })];
    return [
      element(
        "span",
        { class: "typing", role: "img", "aria-label": "waiting for words" },
        dot(),
        dot(),
        dot(),
      ),
    ];
  }
  if (!entry.interrupted) return [entry.text];
  const [heard, unheard] = splitHeard(entry);
  const title = "Probably not heard: estimated from how long the answer played";
  return [heard, unheard ? element("s", { class: "unheard", title, text: unheard }) : null].filter(Boolean);
}

const dot = () => element("i", {});
