// Runs in Chromium: what passes through a track, and when, by the time the browser itself writes on each piece of sound.

/** -46 dBFS over 5 ms, the rule of gateway and caller (protocol/src/audible.rs). */
const AUDIBLE = 164 / 32_768;
const WINDOWS_PER_SECOND = 200;
/** Stretches that are closer than this are one. */
const QUIET_S = 0.2;
/** The pieces by which a moment is told: the second around it. */
const AROUND_S = 0.5;
const PATIENCE_MS = 15_000;
/** Half a minute. */
const MOST_PIECES = 3_000;

/** Sound as it passes a track: when each of its stretches began and ended, in milliseconds of the clock of `performance.now()`. */
export class TrackRecorder {
  /** `{ first, last }`: their audible samples, counted from the first sample of the recording. */
  stretches = [];
  #pieces = [];
  #length = 0;
  #rate = 0;
  #waiting = new Set();

  constructor(track) {
    this.#record(new MediaStreamTrackProcessor({ track }).readable.getReader());
  }

  async #record(reader) {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#take(value);
      value.close();
    }
  }

  #take(piece) {
    const at = piece.timestamp / 1_000;
    this.#rate = piece.sampleRate;
    const samples = new Float32Array(piece.numberOfFrames);
    piece.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    this.#pieces.push({ from: this.#length, at });
    if (this.#pieces.length > MOST_PIECES) this.#pieces.shift();
    this.#hear(samples);
    this.#length += samples.length;
    for (const look of [...this.#waiting]) look();
  }

  #hear(samples) {
    const window = Math.round(this.#rate / WINDOWS_PER_SECOND);
    for (let from = 0; from < samples.length; from += window) {
      const part = samples.subarray(from, from + window);
      const energy = part.reduce((sum, sample) => sum + sample * sample, 0);
      if (energy < AUDIBLE * AUDIBLE * part.length) continue;
      const isLoud = (sample) => Math.abs(sample) >= AUDIBLE;
      const [first, last] = [part.findIndex(isLoud), part.findLastIndex(isLoud)];
      this.#extend(this.#length + from + first, this.#length + from + last);
    }
  }

  #extend(first, last) {
    const current = this.stretches.at(-1);
    if (current && first - current.last < QUIET_S * this.#rate) current.last = last;
    else this.stretches.push({ first, last });
  }

  /** When a sample passed: pieces are stamped as threads come to it, so the middle of what the pieces around it say. */
  at(sample) {
    const near = this.#pieces.filter(({ from }) => Math.abs(from - sample) <= AROUND_S * this.#rate);
    const moments = near.map(({ from, at }) => at + (1_000 * (sample - from)) / this.#rate);
    moments.sort((one, other) => one - other);
    return moments[Math.floor(moments.length / 2)];
  }

  /** The next stretch that begins. */
  next() {
    const number = this.stretches.length;
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.stretches.length === number) return;
        clearTimeout(deadline);
        this.#waiting.delete(look);
        resolve(this.stretches[number]);
      };
      const deadline = setTimeout(() => reject(new Error("nothing is heard")), PATIENCE_MS);
      this.#waiting.add(look);
    });
  }

  /** Until this much more has passed through the track. */
  async more(ms) {
    const until = this.#length + (ms / 1_000) * this.#rate;
    await new Promise((resolve) => {
      const look = () => this.#length >= until && this.#waiting.delete(look) && resolve();
      this.#waiting.add(look);
    });
  }
}
