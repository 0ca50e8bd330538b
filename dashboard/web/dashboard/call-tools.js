// The head of the time axis: what stretch is looked at, playback, and buttons for what keys and the pointer do too.
import { element } from "../shared/element.js";
import { clock } from "./format.js";
import { Player } from "./player.js";

/**
 * Draws it into `root`. `timeline()` gives the Timeline; `player` is what Player wants. `show(timeline, book)` brings it up to
 * date, `player` plays.
 */
export function drawCallTools(root, { timeline, fetchSound }) {
  const range = element("p", { class: "aside", "data-testid": "range" });
  const button = (text, title, act) => {
    const node = element("button", { type: "button", class: "plain tool", title, "aria-label": title, text });
    node.addEventListener("click", act);
    return node;
  };
  const following = button("Follow", "Follow what happens now (f)", () => timeline().follow());
  const player = new Player({ fetchSound, onTime: (atMs, isPlaying) => timeline().played(atMs, isPlaying) });
  const how = "Drag to look closer, Ctrl and wheel too; Shift and drag to move.";
  root.append(
    element(
      "div",
      { class: "card-head" },
      element("h2", { id: "time-title", text: "The call" }),
      range,
      element("p", { class: "aside time-how", text: how }),
      element(
        "div",
        { class: "tools" },
        player.node,
        following,
        button("−", "Further away (−)", () => timeline().closer(1 / 0.6)),
        button("+", "Closer (+)", () => timeline().closer()),
        button("Whole call", "The whole call (0, or double click)", () => timeline().whole()),
      ),
    ),
  );
  return {
    player,
    show({ view, isFollowing }, book) {
      following.hidden = book.session.state === "ended";
      following.setAttribute("aria-pressed", String(isFollowing));
      player.show(book.session, book.recording);
      const text = `${clock(view.fromMs, 1)} – ${clock(view.toMs, 1)} of ${clock(book.extentMs)}`;
      if (range.textContent !== text) range.textContent = text;
    },
  };
}
