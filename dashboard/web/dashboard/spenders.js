// Which hop spent the time of turns that were over their budget, and in which sessions that happened.
import { ago, count, msFigure, plural, share } from "./format.js";
import { spenderRows } from "./overview-figures.js";
import { put } from "./columns.js";
import { Keyed } from "./keyed.js";
import { sessionPath } from "./routes.js";
import { element } from "../shared/element.js";
import { hopLabel, hopMeaning, ownerOf } from "../shared/hops.js";
import { marker } from "../shared/waterfall.js";

/** Bars by hop and owner, the worst first. */
export function drawSpenders(root, overview, { words }) {
  const rows = spenderRows(overview);
  if (rows.length === 0) {
    const text = overview.turns
      ? `None of the ${plural(overview.turns, "turn")} of the last ${words} was over the budget of the whole.`
      : `No turn was measured in the last ${words}.`;
    root.replaceChildren(element("p", { class: "quiet-note", text }));
    return;
  }
  root.replaceChildren(element("ol", { class: "spenders" }, ...rows.map((row) => element("li", {}, ...spender(row)))));
}

function spender({ hop, owner, breaches, ofAll, ofMost }) {
  const who = owner ?? "other";
  const bar = element("span", { class: `bar owner-${who}`, "aria-hidden": "true" });
  bar.style.width = `${100 * ofMost}%`;
  return [
    element(
      "span",
      { class: "spender-name", title: hopMeaning(hop) },
      marker(who),
      element("b", { text: hopLabel(hop) }),
      element("span", { class: "soft", text: owner ? ownerOf(owner).label : "nobody’s" }),
    ),
    element("span", { class: "spender-figure figure", text: `${count(breaches)} · ${share(ofAll)}` }),
    element("span", { class: "spender-track" }, bar),
  ];
}

/** Sessions over budget, the latest news first. Each is the same link for as long as it stands there. */
export class BreachingSessions {
  #rows;

  constructor(root) {
    this.none = element("p", { class: "quiet-note", text: "No session that is known broke a budget." });
    this.list = element("ol", { class: "breaching" });
    this.#rows = new Keyed(this.list, { keyOf: ({ session }) => session.id, make: makeRow });
    root.append(this.none, this.list);
  }

  /** `now` in milliseconds since 1970. */
  show(worst, now) {
    this.none.hidden = worst.length > 0;
    this.#rows.show(worst, (row, entry) => update(row, entry, now));
  }
}

function makeRow({ session: { id } }) {
  const parts = {
    count: element("span", { class: "breaching-count figure" }),
    where: element("span", { class: "soft" }),
    when: element("span", { class: "soft figure" }),
  };
  const link = element(
    "a",
    { class: "breaching-row", href: sessionPath(id), "data-session": id },
    element("span", { class: "session-name", text: id }),
    ...Object.values(parts),
  );
  return { ...parts, node: element("li", {}, link) };
}

function update(row, { session, newsAt }, now) {
  const { breaches, turns, worst_hop, mouth_to_ear_p95_ms, provider, state } = session;
  const spent = worst_hop ? `mostly ${hopLabel(worst_hop).toLowerCase()}` : null;
  put(row.count, `${count(breaches)} of ${plural(turns, "turn")}`);
  put(row.where, [spent, provider, state === "ended" ? "ended" : null].filter(Boolean).join(" · "));
  put(row.when, newsAt === null ? `p95 ${msFigure(mouth_to_ear_p95_ms)} ms` : ago(newsAt / 1000, now / 1000));
}
