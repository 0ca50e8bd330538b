// Server-sent events out of the pieces of a response (WHATWG HTML, section 9.2.6). Pure.

/** Longest event, in UTF-16 units: the first one of a thousand sessions is about a million. */
export const LONGEST_EVENT = 64 * 1024 * 1024;

export class EventReader {
  #rest = "";
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
    // A carriage return at the very end may be half of a line end.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines) this.#take(line, events);
    if (this.#rest.length + this.#size > LONGEST_EVENT)
      throw new Error("An event of the stream is too long.");
    return events;
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
    const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (field === "event") this.#name = value;
    if (field === "data") {
      this.#data.push(value);
      this.#size += value.length + 1;
    }
  }
}
