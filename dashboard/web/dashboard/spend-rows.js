// What was spent, by whom or on what: the dearest first.
import { count, money, share } from "./format.js";
import { DIMENSIONS, ranked } from "./spending.js";
import { element } from "../shared/element.js";

/** Draws a report that was added up `by` one dimension. */
export function drawRows(root, { rows, by }) {
  const lines = ranked(rows.items, by).map(({ row, name, spent, ofLargest, ofAll, confirmedShare }) => {
    const bar = element("span", { class: "spend-bar", "aria-hidden": "true" }, element("i"), element("b"));
    bar.querySelector("b").style.width = `${100 * ofLargest * confirmedShare}%`;
    bar.querySelector("i").style.width = `${100 * ofLargest}%`;
    return element(
      "tr",
      { "data-name": name },
      element("th", { scope: "row", text: name }),
      element("td", { class: "spend-lane" }, bar),
      ...[
        money(spent),
        ofAll === null ? "–" : share(ofAll),
        money(row.estimated_nano_dollars),
        money(row.unheard_nano_dollars),
      ].map((text) => element("td", { class: "number", text })),
      element("td", {
        class: "number",
        text: row.unpriced ? `${count(row.unpriced)} of ${count(row.entries)}` : "none",
      }),
    );
  });
  const label = DIMENSIONS.find((dimension) => dimension.by === by).label;
  const bars = element("span", { class: "hidden", text: "As a bar" });
  const heads = [label, bars, "Spent", "Share", "Of it estimated", "Unheard", "Entries without a price"].map(
    (head, index) => element("th", { scope: "col", class: index > 1 ? "number" : null }, head),
  );
  root.replaceChildren(
    element(
      "table",
      { class: "plain-table spend-table" },
      element("caption", { class: "hidden", text: `Spending by ${label.toLowerCase()}, the dearest first` }),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...lines),
    ),
    ...(rows.isCut
      ? [
          element("p", {
            class: "quiet-note",
            text: "Only the first 1 000 rows are shown: save the report for all of them.",
          }),
        ]
      : []),
  );
}
