// Asks for the key. It is tried once before it is kept.
import { element } from "../shared/element.js";
import { createApi, sentenceOf } from "./api.js";

/** Draws the form into `root`. `onKey(key)` gets a key that works. `note` says why it is asked for again. */
export function drawSignIn(root, { note = "", onKey }) {
  const field = element("input", {
    id: "key",
    "data-testid": "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "vox_…",
    required: true,
    "aria-describedby": "key-help key-fault",
  });
  const button = element("button", {
    type: "submit",
    class: "primary",
    "data-testid": "sign-in",
    text: "Sign in",
  });
  const fault = element("p", {
    class: "fault",
    id: "key-fault",
    role: "alert",
    "data-testid": "key-fault",
    text: note,
  });
  const form = element(
    "form",
    { class: "card sign-in", autocomplete: "off" },
    element("h1", { text: "Where did the milliseconds go?" }),
    element("p", {
      class: "lead",
      text: "Live calls, every turn split into its hops, and who can make each one shorter.",
    }),
    element("label", { for: "key", text: "Admin key" }),
    element("div", { class: "key-row" }, field, button),
    fault,
    element("p", {
      class: "help",
      id: "key-help",
      text: "A key with the scope admin. It is kept in this tab until you sign out or close it, and sent to this gateway only.",
    }),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!key) return;
    button.disabled = true;
    fault.textContent = "";
    const problem = await problemOf(key);
    button.disabled = false;
    if (problem === null) return onKey(key);
    fault.textContent = problem;
    field.focus();
    field.select();
  });
  root.replaceChildren(form);
  field.focus();
}

/** Why this key does not do, or null. */
async function problemOf(key) {
  // A key is sent as a header, which takes no other characters.
  if (!/^[\x21-\x7e]+$/.test(key)) return "A key has no spaces and no letters outside ASCII.";
  try {
    await createApi(key).get("/admin/v1/sessions?limit=1");
    return null;
  } catch (failure) {
    if (failure.status === 403) return `This key may not use the dashboard. ${failure.message}`;
    return sentenceOf(failure);
  }
}
