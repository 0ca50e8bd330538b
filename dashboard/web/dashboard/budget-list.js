// Budgets as bars: spent, drawn and left, those nearest to their end first.
import { money, share } from "./format.js";
import { BUDGET_STATES, budgetWindow, rankedBudgets } from "./spending.js";
import { empty } from "./states.js";
import { element } from "../shared/element.js";

/** Draws budgets as the administration lists them; `isCut` says that there are more. */
export function drawBudgets(root, { items, isCut }) {
  if (items.length === 0) {
    const command = element("code", {
      class: "command",
      text: "voxgate budgets set --organisation default --window day --hard 20",
    });
    const text = "A budget ends sessions when its money is used up. Set one in the configuration, or from a terminal:";
    root.replaceChildren(empty("No budget is set", text, command));
    return;
  }
  root.replaceChildren(
    element(
      "ol",
      { class: "budgets" },
      ...rankedBudgets(items).map((ranked) => element("li", { "data-state": ranked.bar.state }, ...budget(ranked))),
    ),
    element(
      "p",
      { class: "key" },
      ...[
        ["is-spent", "spent"],
        ["is-drawn", "drawn by sessions that run, not spent yet"],
        ["is-left", "left"],
      ].map(([name, text]) =>
        element("span", {}, element("i", { class: `swatch ${name}`, "aria-hidden": "true" }), text),
      ),
      element(
        "span",
        {},
        element("i", { class: "soft-sample", "aria-hidden": "true" }),
        "soft limit: somebody is told",
      ),
    ),
    ...(isCut ? [element("p", { class: "quiet-note", text: "Only the first 1 000 budgets are shown." })] : []),
  );
}

function budget({ budget, bar, owner }) {
  const { label, sign } = BUDGET_STATES[bar.state];
  const track = element(
    "div",
    { class: "budget-track", "aria-hidden": "true" },
    element("i", { class: "is-spent" }),
    element("i", { class: "is-drawn" }),
  );
  track.children[0].style.width = `${bar.spent}%`;
  track.children[1].style.width = `${bar.drawn}%`;
  for (const [place, name] of [
    [bar.soft, "at-soft"],
    [bar.state === "out" && bar.hard < 100 ? bar.hard : null, "at-hard"],
  ]) {
    if (place === null) continue;
    const mark = element("b", { class: name });
    mark.style.left = `${place}%`;
    track.append(mark);
  }
  const left = budget.left_nano_dollars;
  const amounts = [
    `${money(budget.spent_nano_dollars)} spent`,
    budget.leased_nano_dollars > 0 && `${money(budget.leased_nano_dollars)} drawn`,
    left === null ? "no hard limit" : `${money(left)} left of ${money(budget.hard_nano_dollars)}`,
    budget.soft_nano_dollars !== null && `soft limit ${money(budget.soft_nano_dollars)}`,
  ];
  return [
    element(
      "p",
      { class: "budget-name" },
      element("b", { text: owner }),
      element("span", {
        class: "soft",
        text: `${budgetWindow(budget)} · ${budget.source === "configuration" ? "from the configuration" : "set while running"}`,
      }),
    ),
    element(
      "p",
      { class: "budget-state" },
      element("i", { "aria-hidden": "true", text: sign }),
      label,
      bar.used === null ? "" : `, ${share(bar.used)}`,
    ),
    track,
    element("p", { class: "budget-amounts figure soft", text: amounts.filter(Boolean).join(" · ") }),
  ];
}
