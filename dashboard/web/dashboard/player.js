// Playback of both voices, where they were kept.
import { element } from "../shared/element.js";
import { sentenceOf } from "./api.js";
import { clock } from "./format.js";

/** The gateway hands out the first hour of a call. */
const LONGEST_MS = 3_600_000;
const STEP_MS = 5000;

/**
 * Whether a session can be heard, and the sentence that says why not or how much of it. Pure. What a session keeps is decided
 * when it is open.
 */
export function soundOf({ state, duration_ms }, { voices }) {
  if (state === "connecting") return { isHeard: false, text: "" };
  if (!voices) return { isHeard: false, text: "No voices were kept: nothing allows it for this session." };
  if (state !== "ended") return { isHeard: false, text: "The voices can be heard when the call is over." };
  return { isHeard: true, text: duration_ms > LONGEST_MS ? "The first hour can be heard." : "" };
}

/**
 * A button that fetches the sound at the first press. `fetchSound()` gives a Blob; `onTime(atMs, isPlaying)` hears where it is,
 * null when it is at its end.
 */
export class Player {
  #address = null;
  #frame = 0;
  #isWanted = false;
  #wanted = "";
  /** Where to begin once there is sound. */
  #startMs = 0;
  #lengthMs = 0;
  /** Why there is nothing to hear after all. */
  #gone = null;

  constructor({ fetchSound, onTime }) {
    this.fetchSound = fetchSound;
    this.onTime = onTime;
    this.sound = element("audio", { "data-testid": "sound" });
    this.button = element("button", {
      type: "button",
      class: "plain play",
      "data-testid": "play",
      "aria-keyshortcuts": "Space",
      text: "▶ Play",
    });
    this.time = element("span", { class: "play-time figure", "data-testid": "play-time" });
    this.note = element("span", { class: "aside", "data-testid": "sound-note" });
    this.fault = element("span", { class: "fault", role: "alert" });
    this.node = element("span", { class: "player" }, this.note, this.fault, this.time, this.button, this.sound);
    this.button.addEventListener("click", () => this.toggle());
    for (const name of ["play", "pause", "ended", "seeked"])
      this.sound.addEventListener(name, () => this.#show());
    this.#offer();
  }

  /** What is known of the session now: only what can be heard is offered. */
  show(session, recording) {
    const { isHeard, text } = soundOf(session, recording);
    this.#lengthMs = Math.min(LONGEST_MS, session.duration_ms);
    if (this.#isWanted === isHeard && this.#wanted === text) return;
    [this.#isWanted, this.#wanted] = [isHeard, text];
    this.#offer();
  }

  /** Whether it can be heard. */
  get isOffered() {
    return this.#isWanted && this.#gone === null;
  }

  async toggle() {
    if (!this.isOffered || this.button.disabled) return;
    if (!this.sound.paused) return this.sound.pause();
    this.fault.textContent = "";
    try {
      if (!this.#address) await this.#fetch();
      await this.sound.play();
    } catch (failure) {
      this.#failed(failure);
    }
  }

  /** Goes on from `atMs`, or begins there. */
  seek(atMs) {
    if (!this.isOffered) return;
    const to = Math.max(0, Math.min(this.#lengthMs, atMs));
    if (this.#address) {
      this.sound.currentTime = to / 1000;
      return;
    }
    this.#startMs = to;
    this.#writeTime();
    this.onTime(to, false);
  }

  /** Some seconds forward (1) or back (-1). */
  step(by) {
    this.seek(this.#atMs + by * STEP_MS);
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.sound.pause();
    this.sound.removeAttribute("src");
    if (this.#address) URL.revokeObjectURL(this.#address);
  }

  get #atMs() {
    return this.#address ? this.sound.currentTime * 1000 : this.#startMs;
  }

  async #fetch() {
    this.button.disabled = true;
    this.note.textContent = "Fetching the recording…";
    try {
      this.#address = URL.createObjectURL(await this.fetchSound());
      this.sound.src = this.#address;
      this.sound.currentTime = this.#startMs / 1000;
    } finally {
      this.button.disabled = false;
      this.#offer();
    }
  }

  #failed(failure) {
    // Somebody pressed pause, or left, before it began.
    if (failure.name === "AbortError") return;
    if (failure.status === 404) this.#gone = failure.message || "There is no recording of this call any more.";
    else this.fault.textContent = wordsOf(failure);
    this.#offer();
  }

  #offer() {
    this.button.hidden = this.time.hidden = !this.isOffered;
    this.note.textContent = this.#gone ?? this.#wanted;
    this.#writeTime();
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    const { paused, ended } = this.sound;
    const text = paused ? "▶ Play" : "❚❚ Pause";
    if (this.button.textContent !== text) this.button.textContent = text;
    this.#writeTime();
    this.onTime(ended ? null : this.#atMs, !paused);
    if (!paused) this.#frame = requestAnimationFrame(() => this.#show());
  }

  #writeTime() {
    const text = `${clock(this.#atMs)} of ${clock(this.#lengthMs)}`;
    if (this.time.textContent !== text) this.time.textContent = text;
  }
}

function wordsOf(failure) {
  if (failure.name === "NotSupportedError") return "This browser cannot play the recording.";
  return sentenceOf(failure);
}
