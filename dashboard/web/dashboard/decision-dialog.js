// Asks once more before a tool call is let through or refused, and sends the decision exactly once.
import { sentenceOf } from "./api.js";
import { newMark } from "./approval.js";
import { element } from "../shared/element.js";

/** As the gateway takes it. */
const LONGEST_REASON = 500;

const WORDS = {
  approve: {
    title: "Approve",
    button: "Approve it",
    state: "approved",
    meaning: "The tool is called with these arguments at once. That cannot be taken back.",
  },
  deny: {
    title: "Deny",
    button: "Deny it",
    state: "denied",
    meaning: "The tool is not called. The model is told that it was refused, and the call goes on.",
  },
};

export class DecisionDialog {
  #question = null;

  /** `onDecided(held, { state, reason, note })` hears of each decision that holds, whoever made it. */
  constructor(api, onDecided) {
    this.api = api;
    this.onDecided = onDecided;
    this.title = element("h2", { id: "decision-title" });
    this.meaning = element("p", { id: "decision-meaning", class: "soft" });
    this.reason = element("textarea", {
      id: "decision-reason",
      rows: "2",
      maxlength: String(LONGEST_REASON),
      placeholder: "For the audit log; optional",
      "data-testid": "reason",
    });
    this.fault = element("p", { class: "fault", role: "alert", "data-testid": "decision-fault" });
    this.confirm = element("button", { type: "submit", "data-testid": "confirm" });
    const cancel = element("button", { type: "button", class: "plain", text: "Cancel" });
    const form = element(
      "form",
      {},
      this.title,
      this.meaning,
      element("label", { for: "decision-reason", text: "Reason" }),
      this.reason,
      this.fault,
      element("div", { class: "decision-actions" }, this.confirm, cancel),
    );
    this.node = element(
      "dialog",
      {
        class: "help-dialog decision",
        "aria-labelledby": "decision-title",
        "aria-describedby": "decision-meaning",
        "data-testid": "decision",
      },
      form,
    );
    cancel.addEventListener("click", () => this.node.close());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  ask(held, verdict) {
    const { title, button, meaning } = WORDS[verdict];
    // One mark for one decision: sent again after a lost answer, it still happens once. With another reason it is another.
    this.#question = { held, verdict, mark: newMark(), sentReason: null };
    this.title.replaceChildren(`${title} `, element("span", { class: "tool-name", text: held.tool }), "?");
    this.meaning.textContent = meaning;
    this.reason.value = "";
    this.fault.textContent = "";
    this.confirm.textContent = button;
    this.confirm.className = verdict === "approve" ? "primary" : "danger";
    this.confirm.disabled = false;
    this.node.showModal();
    this.reason.focus();
  }

  close() {
    this.#question = null;
    if (this.node.open) this.node.close();
  }

  async #send() {
    const question = this.#question;
    const { held, verdict } = question;
    const reason = this.reason.value.trim();
    if (question.sentReason !== null && question.sentReason !== reason) question.mark = newMark();
    question.sentReason = reason;
    this.confirm.disabled = true;
    this.fault.textContent = "";
    try {
      const path = `/admin/v1/approvals/${encodeURIComponent(held.id)}/${verdict}`;
      const { state } = await this.api.post(path, reason ? { reason } : {}, {
        headers: { "Idempotency-Key": question.mark },
      });
      this.#settle(question, { state, reason, note: "" });
    } catch (failure) {
      this.#failed(question, failure);
    }
  }

  #settle(question, outcome) {
    if (this.#question !== question) return;
    this.close();
    this.onDecided(question.held, outcome);
  }

  #failed(question, failure) {
    if (this.#question !== question) return;
    if (failure?.status === 409 && failure.code === "already_decided") {
      const state = /\bapproved\b/.test(failure.message) ? "approved" : "denied";
      return this.#settle(question, { state, reason: "", note: `Somebody else was first. ${failure.message}` });
    }
    if (failure?.status === 404)
      return this.#settle(question, { state: "gone", reason: "", note: "It waited no more when the decision came." });
    this.fault.textContent = `${sentenceOf(failure)} Nothing was decided for certain; press again to be sure.`;
    this.confirm.disabled = false;
  }
}
