// What was spent on each day, as columns and as a table.
import { money, plural } from "./format.js";
import { element } from "../shared/element.js";
import { vector } from "./vector.js";

/** Columns of `everyDay`; what is not confirmed yet is paler. */
export function drawDays(root, days) {
  const most = Math.max(...days.map(({ spent }) => spent), 1);
  const wide = 100 / days.length;
  const bars = days.map(({ day, spent, confirmed }, index) => {
    const [all, sure] = [(100 * spent) / most, (100 * Math.min(spent, confirmed)) / most];
    const at = { x: index * wide + wide * 0.12, width: wide * 0.76 };
    return vector(
      "g",
      {},
      vector(
        "title",
        {},
        `${day}: ${money(spent)}${spent > confirmed ? `, ${money(spent - confirmed)} of it estimated` : ""}`,
      ),
      vector("rect", { class: "day-room", x: index * wide, y: 0, width: wide, height: 100 }),
      vector("rect", { class: "day-estimated", ...at, y: 100 - all, height: Math.max(0, all - sure) }),
      vector("rect", { class: "day-confirmed", ...at, y: 100 - sure, height: sure }),
    );
  });
  const label = `${plural(days.length, "day")}, at most ${money(most)} a day. The table below has the same figures.`;
  const step = Math.max(1, Math.ceil(days.length / 10));
  const names = days.map(({ day }, index) => element("span", { text: index % step === 0 ? day.slice(5) : "" }));
  const chart = element(
    "div",
    { class: "days" },
    element("span", { class: "days-most figure", text: money(most) }),
    vector("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars),
    element("div", { class: "days-names", "aria-hidden": "true" }, ...names),
  );
  // The table stays: somebody may be reading it.
  const table = root.querySelector("details");
  if (table) root.firstChild.replaceWith(chart);
  else root.append(chart, key(), dayTable());
  root.querySelector("tbody").replaceChildren(...dayRows(days));
}

const key = () =>
  element(
    "p",
    { class: "key" },
    element("span", {}, element("i", { class: "swatch", "aria-hidden": "true" }), "confirmed"),
    element("span", {}, element("i", { class: "swatch is-estimated", "aria-hidden": "true" }), "estimated"),
  );

const dayRows = (days) =>
  [...days]
    .reverse()
    .map(({ day, spent, confirmed }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row", text: day }),
        element("td", { class: "number", text: money(spent) }),
        element("td", { class: "number", text: money(spent - confirmed) }),
      ),
    );

function dayTable() {
  const heads = ["Day", "Spent", "Of it estimated"].map((text, index) =>
    element("th", { scope: "col", class: index ? "number" : null, text }),
  );
  return element(
    "details",
    { class: "as-table" },
    element("summary", { text: "Show as a table" }),
    element(
      "div",
      { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Spending by day" },
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody")),
    ),
  );
}
