// Server-sent events out of the pieces of a response (WHATWG HTML, section 9.2.6). Pure.

/** Longest event, in UTF-16 units: the first one of a thousand sessions is about a million, that of a long call ten. */
export const LONGEST_EVENT = 64 * 1024 * 1024;

export class EventReader {
  /** A line so far. It may come in hundreds of pieces, so none is looked at twice. */
  #pieces = [];
  #length = 0;
  /** A carriage return at the end of a piece: it may be half of a line end. */
  #held = "";
  #name = "";
  #data = [];
  #size = 0;
  #isFirst = true;

  /** The events that `text` completes, in order, as `{ name, data }`. Comments come as `{ name: null }`. */
  read(text) {
    if (this.#isFirst && text) {
      this.#isFirst = false;
      text = text.replace(/^\uFEFF/, "");
    }
    const lines = (this.#held + text).split(/\r\n|\n|\r(?!$)/);
    let rest = lines.pop();
    this.#held = rest.endsWith("\r") ? "\r" : "";
    if (this.#held) rest = rest.slice(0, -1);
    const events = [];
    for (const line of lines) {
      this.#keep(line);
      this.#take(this.#line(), events);
    }
    this.#keep(rest);
    if (this.#length + this.#size > LONGEST_EVENT) throw new Error("An event of the stream is too long.");
    return events;
  }

  #keep(piece) {
    if (!piece) return;
    this.#pieces.push(piece);
    this.#length += piece.length;
  }

  #line() {
    const line = this.#pieces.join("");
    this.#pieces = [];
    this.#length = 0;
    return line;
  }

  #take(line, events) {
    if (line === "") {
      if (this.#data.length) events.push({ name: this.#name || "message", data: this.#data.join("\n") });
      this.#name = "";
      this.#data = [];
      this.#size = 0;
      return;
    }
    if (line.startsWith(":")) {
      events.push({ name: null });
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "event") this.#name = value;
    if (field === "data") {
      this.#data.push(value);
      this.#size += value.length + 1;
    }
  }
}
