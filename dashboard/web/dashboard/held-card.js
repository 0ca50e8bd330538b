// A tool call that waits: what it would do, for whom, how long there is left, and the two buttons.
import { readArguments, riskOf, timeLeft } from "./approval.js";
import { dateAndTime } from "./format.js";
import { sessionPath } from "./routes.js";
import { element } from "../shared/element.js";

/** The card; a press on a button hands `approve` or `deny` to `onPress`. */
export function heldCard(held, onPress) {
  const risk = riskOf(held.risk);
  const name = `held-${held.id}`;
  const approve = element("button", { type: "button", class: "primary", text: "Approve…", "data-testid": "approve" });
  const deny = element("button", { type: "button", class: "danger", text: "Deny…", "data-testid": "deny" });
  approve.addEventListener("click", () => onPress("approve"));
  deny.addEventListener("click", () => onPress("deny"));
  return element(
    "li",
    { class: "card held-card", "data-approval": held.id, "data-risk": held.risk },
    element(
      "div",
      { class: "held-head" },
      element("h2", { id: name, class: "tool-name", text: held.tool }),
      element(
        "span",
        { class: "risk", title: "How much harm the tool can do" },
        element("i", { "aria-hidden": "true", text: risk.sign }),
        risk.label,
      ),
      element("p", { class: "time-left", "data-part": "time" }),
    ),
    element("span", { class: "time-bar", "aria-hidden": "true" }, element("i")),
    element("div", { class: "held-body" }, argumentsOf(held), about(held)),
    element("div", { class: "held-actions", role: "group", "aria-labelledby": name }, approve, deny),
  );
}

/** Brings the time that is left up to date; `now` in milliseconds since 1970 by the gateway's clock. */
export function showTime(card, held, now) {
  const { share, text, isUrgent, isOver } = timeLeft(held, now);
  const label = card.querySelector("[data-part=time]");
  if (label.textContent !== text) label.textContent = text;
  card.dataset.time = isOver ? "over" : isUrgent ? "urgent" : "";
  card.querySelector(".time-bar i").style.width = `${100 * share}%`;
  for (const button of card.querySelectorAll("button")) button.disabled = isOver;
}

function argumentsOf(held) {
  const { rows, text } = readArguments(held.arguments);
  const title = element("h3", { text: "It would be called with" });
  if (!rows) return element("div", { class: "arguments" }, title, element("pre", { text }));
  if (rows.length === 0)
    return element("div", { class: "arguments" }, title, element("p", { class: "soft", text: "no arguments" }));
  const lines = rows.map(({ name, value }) =>
    element("div", {}, element("dt", { text: name }), element("dd", { text: value })),
  );
  return element("div", { class: "arguments" }, title, element("dl", {}, ...lines));
}

function about({ organisation, team, key, agent, session, asked_at_ms }) {
  const rows = [
    ["Agent", agent ?? "no agent"],
    ["Team", `${organisation} / ${team}`],
    ["Key", key],
    ["Asked", dateAndTime(asked_at_ms / 1000)],
  ];
  const lines = rows.map(([name, value]) =>
    element("div", {}, element("dt", { text: name }), element("dd", { text: value })),
  );
  const link = element("a", { href: sessionPath(session), text: "Look at the call" });
  return element("div", { class: "about" }, element("dl", {}, ...lines), link);
}
