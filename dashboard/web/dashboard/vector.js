// SVG nodes, as element.js builds HTML: no markup in strings.

const SPACE = "http://www.w3.org/2000/svg";

/** `vector("rect", { x: 1, class: "column" }, child, …)`; null, undefined and false are left out. */
export function vector(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}
