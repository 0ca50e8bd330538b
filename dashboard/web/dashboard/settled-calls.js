// What became of tool calls: those decided while somebody looked, and those of the audit log.
import { put } from "./columns.js";
import { ago, dateAndTime, duration } from "./format.js";
import { Keyed } from "./keyed.js";
import { sessionPath } from "./routes.js";
import { element } from "../shared/element.js";

const OUTCOMES = {
  approved: { sign: "✓", label: "Approved" },
  denied: { sign: "✕", label: "Denied" },
  "ran out": { sign: "◷", label: "Ran out of time" },
  gone: { sign: "–", label: "Waits no more" },
};

/** Those that wait no more, each with what happened in its call. A row stays the same for as long as it is there. */
export class SettledCalls {
  #rows;

  constructor(root) {
    this.#rows = new Keyed(root, { keyOf: ({ held }) => held.id, make: makeSettled });
  }

  show(settled) {
    this.#rows.show(settled, updateSettled);
  }
}

function makeSettled({ held, state, reason, note }) {
  const { sign, label } = OUTCOMES[state] ?? { sign: "–", label: state };
  const when = element("span", { class: "soft" });
  const told = element("ol", { class: "aftermath", "aria-label": "What happened in the call", hidden: true });
  const node = element(
    "li",
    { "data-approval": held.id, "data-state": state },
    element(
      "p",
      { class: "settled-head" },
      element("span", { class: "sign" }, element("i", { "aria-hidden": "true", text: sign }), label),
      element("b", { class: "tool-name", text: held.tool }),
      when,
      element("a", { href: sessionPath(held.session), text: "Look at the call" }),
    ),
    reason ? element("p", { class: "soft", text: `Reason: ${reason}` }) : null,
    note ? element("p", { class: "soft", text: note }) : null,
    told,
  );
  return { node, when, told };
}

function updateSettled({ when, told }, { at, events }) {
  put(when, ago(at / 1000));
  if (told.children.length === events.length) return;
  told.hidden = events.length === 0;
  told.replaceChildren(
    ...events.map(({ afterMs, severity, text }) =>
      element(
        "li",
        { "data-severity": severity },
        element("span", { class: "soft figure", text: `+${duration(afterMs)}` }),
        element("span", { text }),
      ),
    ),
  );
}

/** Decisions of the audit log. */
export function pastTable(past) {
  const rows = past.map(({ at_ms, actor, approved, tool, reason }) =>
    element(
      "tr",
      {},
      element("td", { class: "figure", text: dateAndTime(at_ms / 1000) }),
      element(
        "td",
        {},
        element(
          "span",
          { class: "sign" },
          element("i", { "aria-hidden": "true", text: approved ? "✓" : "✕" }),
          approved ? "Approved" : "Denied",
        ),
      ),
      element("th", { scope: "row", class: "tool-name", text: tool }),
      element("td", { text: actor }),
      element("td", { text: reason || "no reason given" }),
    ),
  );
  const heads = ["When", "Decision", "Tool", "Who", "Why"].map((text) => element("th", { scope: "col", text }));
  return element(
    "table",
    { class: "plain-table" },
    element("caption", { class: "hidden", text: "Decisions about tool calls, the newest first" }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
}
