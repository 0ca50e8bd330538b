// The keys of the dashboard, in a dialog.
import { element } from "../shared/element.js";

const KEYS = [
  ["Everywhere", [["?", "This help"]]],
  [
    "Sessions",
    [
      ["j or ↓", "Next session"],
      ["k or ↑", "Session before"],
      ["Home, End", "First, last"],
      ["Enter", "Open the session"],
      ["/", "Search"],
      ["o", "Put in order now"],
      ["Esc", "Leave the search or the list"],
    ],
  ],
  [
    "A session",
    [
      ["j, k", "Next turn, turn before"],
      ["← →", "Move along the time"],
      ["+ −", "Closer, further"],
      ["0", "The whole session"],
      ["f", "Follow what happens now"],
      ["Esc", "Follow the newest turn again"],
      ["Space", "Play from there, pause"],
      [", .", "Five seconds back, forward"],
    ],
  ],
];

export function drawHelp(button, dialog) {
  const close = element("button", { type: "button", class: "plain", text: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    element("h2", { id: "help-title", text: "Keyboard" }),
    ...KEYS.map(([title, keys]) =>
      element(
        "section",
        {},
        element("h3", { text: title }),
        element(
          "dl",
          {},
          ...keys.map(([key, does]) =>
            element(
              "div",
              {},
              element("dt", {}, element("kbd", { text: key })),
              element("dd", { text: does }),
            ),
          ),
        ),
      ),
    ),
    close,
  );
  button.addEventListener("click", () => dialog.showModal());
}
