// Playback of both voices, where they were kept.
import { element } from "../shared/element.js";
import { sentenceOf } from "./api.js";
import { clock } from "./format.js";

/**
 * A button that fetches the sound at the first press. `fetchSound()` gives a Blob; `onTime(atMs)` hears where it is, null when it
 * is not playing any more.
 */
export class Player {
  #address = null;
  #frame = 0;

  constructor({ fetchSound, onTime }) {
    this.fetchSound = fetchSound;
    this.onTime = onTime;
    this.sound = new Audio();
    this.button = element("button", {
      type: "button",
      class: "plain play",
      "data-testid": "play",
      "aria-keyshortcuts": "Space",
      text: "▶ Play",
    });
    this.fault = element("span", { class: "fault", role: "alert" });
    this.node = element("span", { class: "player" }, this.button, this.fault);
    this.button.addEventListener("click", () => this.toggle());
    for (const name of ["play", "pause", "ended", "seeked"])
      this.sound.addEventListener(name, () => this.#show());
  }

  get isReady() {
    return this.#address !== null;
  }

  async toggle() {
    if (!this.sound.paused) return this.sound.pause();
    this.fault.textContent = "";
    try {
      if (!this.#address) await this.#fetch();
      await this.sound.play();
    } catch (failure) {
      this.fault.textContent = wordsOf(failure);
    }
  }

  /** Goes on from `atMs`. */
  seek(atMs) {
    if (this.isReady) this.sound.currentTime = atMs / 1000;
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.sound.pause();
    this.sound.removeAttribute("src");
    if (this.#address) URL.revokeObjectURL(this.#address);
  }

  async #fetch() {
    this.button.disabled = true;
    try {
      this.#address = URL.createObjectURL(await this.fetchSound());
      this.sound.src = this.#address;
    } finally {
      this.button.disabled = false;
    }
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    const { paused, ended, currentTime } = this.sound;
    this.button.textContent = paused ? "▶ Play" : "❚❚ Pause";
    const atMs = currentTime * 1000;
    this.button.title = clock(atMs, 1);
    this.onTime(ended ? null : atMs);
    if (!paused) this.#frame = requestAnimationFrame(() => this.#show());
  }
}

function wordsOf(failure) {
  if (failure.name === "NotSupportedError") return "This browser cannot play the recording.";
  if (failure.status === 404) return "The gateway has no recording of this call to play.";
  return sentenceOf(failure);
}
