// Which sessions are shown: state, order, search and fields. What is chosen stands in the address.
import { element } from "../shared/element.js";
import { count } from "./format.js";
import { FIELDS, valuesOf } from "./order.js";

const STATES = [
  ["live", "Live"],
  ["ended", "Ended"],
  ["all", "All"],
];
const ORDERS = [
  ["worst", "Worst first"],
  ["begun", "Newest first"],
];
const LABELS = {
  provider: ["Provider", "Every provider"],
  region: ["Region", "Every region"],
  model: ["Model", "Every model"],
  organisation: ["Organisation", "Every organisation"],
  end_reason: ["End", "Every end"],
};
/** Changes this often would move the list while somebody writes. */
const WRITING_MS = 120;

/** `onChange(patch)` hears what the address should say. */
export function drawFilters(onChange) {
  const states = radioGroup("State", "state", STATES, (value) =>
    onChange({ state: value === "live" ? null : value }),
  );
  const orders = select("Order", ORDERS, (value) => onChange({ order: value === "worst" ? null : value }));
  const search = searchField((value) => onChange({ search: value }));
  const fields = FIELDS.map((name) => {
    const [label, all] = LABELS[name];
    return { name, all, ...select(label, [["", all]], (value) => onChange({ [name]: value })) };
  });
  const filters = {
    node: element(
      "div",
      { class: "filters", role: "search", "aria-label": "Which sessions" },
      states.node,
      search.node,
      ...fields.map(({ node }) => node),
      orders.node,
    ),
    state: "live",
    isNarrow: false,
    nothing: { search: null, ...Object.fromEntries(FIELDS.map((name) => [name, null])) },
    focus: () => search.field.focus(),
    show(filter) {
      filters.state = filter.state;
      states.set(filter.state);
      orders.field.value = filter.order;
      if (document.activeElement !== search.field) search.field.value = filter.search;
      for (const field of fields) {
        field.wanted = filter[field.name] ?? "";
        ensure(field, field.wanted);
        field.field.value = field.wanted;
        field.node.classList.toggle("is-set", field.wanted !== "");
      }
      filters.isNarrow = filter.search !== "" || FIELDS.some((name) => filter[name] !== null);
    },
    /** Offers the values there are. A list that is open is left alone. */
    offer(sessions, { book, hasTold }) {
      states.label("live", hasTold ? count(book.liveCount) : "");
      for (const field of fields) {
        const values = valuesOf(sessions.values(), field.name);
        if (field.wanted && !values.includes(field.wanted)) values.push(field.wanted);
        const isIdle = field.name === "end_reason" && filters.state === "live";
        field.node.hidden = (values.length < 2 || isIdle) && !field.wanted;
        const key = JSON.stringify(values);
        if (field.key === key || document.activeElement === field.field) continue;
        field.key = key;
        field.field.replaceChildren(
          ...[["", field.all], ...values.map((value) => [value, named(field, value)])].map(option),
        );
        field.field.value = field.wanted ?? "";
      }
    },
  };
  return filters;
}

const named = ({ name }, value) => (name === "end_reason" ? value.replaceAll("_", " ") : value);

function ensure({ field }, value) {
  if (value && ![...field.options].some((option) => option.value === value))
    field.append(option([value, value]));
}

function searchField(onValue) {
  const field = element("input", {
    type: "search",
    placeholder: "Search id, team, agent, relay…",
    "aria-label": "Search",
    "aria-keyshortcuts": "/",
    "data-testid": "search",
    maxlength: "200",
    spellcheck: "false",
  });
  let timer = null;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => onValue(field.value.trim()), WRITING_MS);
  });
  const key = element("kbd", { "aria-hidden": "true", text: "/" });
  return { field, node: element("div", { class: "search-field" }, field, key) };
}

function select(label, options, onValue) {
  const field = element("select", { "aria-label": label }, ...options.map(option));
  field.addEventListener("change", () => onValue(field.value));
  return { field, node: element("span", { class: "select" }, field) };
}

const option = ([value, text]) => element("option", { value, text });

function radioGroup(label, name, choices, onValue) {
  const labels = new Map();
  const fields = choices.map(([value, text]) => {
    const field = element("input", {
      type: "radio",
      name,
      value,
      class: "hidden",
      "data-testid": `${name}-${value}`,
    });
    const tally = element("span", { class: "tally" });
    labels.set(value, tally);
    field.addEventListener("change", () => onValue(value));
    return { field, node: element("label", {}, field, element("span", {}, text, tally)) };
  });
  return {
    node: element(
      "div",
      { class: "segments", role: "radiogroup", "aria-label": label },
      ...fields.map(({ node }) => node),
    ),
    set: (value) => fields.forEach(({ field }) => (field.checked = field.value === value)),
    label(value, text) {
      const node = labels.get(value);
      if (node.textContent !== text) node.textContent = text;
    },
  };
}
