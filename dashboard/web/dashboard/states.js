// What a page shows when it has nothing to show: it loads, there is nothing, or something is wrong.
import { element } from "../shared/element.js";
import { sentenceOf } from "./api.js";

/** While figures are on their way. */
export const loading = (text = "Loading…") =>
  element(
    "div",
    { class: "state state-loading", role: "status" },
    element("span", { class: "pulse", "aria-hidden": "true" }),
    element("p", { text }),
  );

/** Nothing there, and why that is fine. `more` are nodes below the sentence. */
export const empty = (title, text, ...more) =>
  element(
    "div",
    { class: "state state-empty", "data-testid": "empty" },
    element("h2", { text: title }),
    element("p", { text }),
    ...more,
  );

/** Why there are no figures of sessions in a gateway that measures none. */
export const UNMEASURED =
  "Sessions are not measured: the configuration of this gateway says “telemetry.measuring: false”. Sessions are listed with what happened, their cost and how they ended.";

/** Something failed; `retry` is called by a button unless it is missing. */
export function failed(failure, retry) {
  const button = retry && element("button", { type: "button", class: "plain", text: "Try again" });
  button?.addEventListener("click", retry);
  return element(
    "div",
    { class: "state state-failed", role: "alert", "data-testid": "failed" },
    element("h2", { text: failure?.status === 403 ? "Not for this key" : "That did not work" }),
    element("p", { text: sentenceOf(failure) }),
    button,
  );
}
