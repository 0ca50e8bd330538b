// A row of large figures. What is not known is a dash, and each says what it is of.
import { element } from "../shared/element.js";

/**
 * Draws `tiles`: `{ name, label, figure, unit, note, href, tone, bar }`. `tone` is `bad`, `warn` or missing, and comes with
 * a sign, so that it is no matter of colour; `bar` is `{ share, mark }`, 0 to 1 each. Tiles that are there already are
 * changed, not replaced: whoever stands on one with the keyboard stays there.
 */
export function drawTiles(root, tiles) {
  for (const [index, tile] of tiles.entries()) {
    let node = root.children[index];
    if (node?.dataset.tile !== tile.name || (node.tagName === "A") !== Boolean(tile.href)) {
      const fresh = frame(tile);
      if (node) node.replaceWith(fresh);
      else root.append(fresh);
      node = fresh;
    }
    fill(node, tile);
  }
  while (root.children.length > tiles.length) root.lastElementChild.remove();
}

function frame({ name, href }) {
  return element(
    href ? "a" : "div",
    { class: "figure-tile card", "data-tile": name, "data-testid": `tile-${name}`, href },
    element("p", { class: "tile-label" }),
    element(
      "p",
      { class: "tile-figure" },
      element("span", { class: "tile-sign", "aria-hidden": "true" }),
      element("strong"),
      element("span", { class: "tile-unit" }),
    ),
    element("span", { class: "tile-bar", "aria-hidden": "true", hidden: true }, element("i"), element("b")),
    element("p", { class: "tile-note" }),
  );
}

const SIGNS = { bad: "▲", warn: "△" };

function fill(node, { label, figure, unit = "", note = "", tone = null, bar = null }) {
  write(node.querySelector(".tile-label"), label);
  write(node.querySelector("strong"), figure);
  write(node.querySelector(".tile-unit"), unit);
  write(node.querySelector(".tile-note"), note);
  write(node.querySelector(".tile-sign"), SIGNS[tone] ?? "");
  if (tone) node.dataset.tone = tone;
  else delete node.dataset.tone;
  const track = node.querySelector(".tile-bar");
  track.hidden = !bar;
  if (!bar) return;
  track.querySelector("i").style.width = `${100 * Math.min(1, bar.share)}%`;
  track.querySelector("b").style.left = `${100 * Math.min(1, bar.mark)}%`;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
