// Choices at the head of a page or a card: a few side by side, or many in a list.
import { element } from "../shared/element.js";

/**
 * A few choices side by side, `{ value, label, title }`. `onPick(value)`; `show(value)` marks one without telling. `label`
 * says to who does not see the page what is chosen, `name` is unique on the page.
 */
export function segments({ name, label, choices, value, onPick }) {
  const inputs = choices.map((choice) => {
    const input = element("input", { type: "radio", class: "hidden", name, value: choice.value });
    input.addEventListener("change", () => input.checked && onPick(choice.value));
    return input;
  });
  const labels = choices.map((choice, index) =>
    element("label", { title: choice.title }, inputs[index], element("span", { text: choice.label })),
  );
  const node = element(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": label, "data-testid": name },
    ...labels,
  );
  const show = (value) => {
    for (const input of inputs) input.checked = input.value === value;
  };
  show(value);
  return { node, show };
}

/** One of many, `{ value, label }`. `offer(choices, value)` puts others in their place. */
export function list({ name, label, onPick }) {
  const select = element("select", { "aria-label": label, "data-testid": name });
  select.addEventListener("change", () => onPick(select.value));
  const node = element("span", { class: "select" }, select);
  let offered = "";
  const offer = (choices, value) => {
    const next = JSON.stringify(choices);
    // A list that is open must not be drawn anew because a figure beside it changed.
    if (next !== offered) {
      offered = next;
      select.replaceChildren(...choices.map(({ value, label }) => element("option", { value, text: label })));
    }
    if (select.value !== value) select.value = value;
  };
  return { node, offer };
}
