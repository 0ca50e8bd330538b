// Runs in Chromium: what passes through a track, and when, by the time the browser itself writes on each piece of sound.

/** The rules of gateway and caller (protocol/src/audible.rs): sound begins with 5 ms of -46 dBFS and ends with the last 15 ms of it. */
const AUDIBLE = 164 / 32_768;
const WINDOWS_PER_SECOND = 200;
const WORD_WINDOW_S = 0.015;
/** Stretches that are closer than this are one. */
const QUIET_S = 0.2;
/** The pieces by which a moment is told: the second around it. */
const AROUND_S = 0.5;
/** Half a minute. */
const MOST_PIECES = 3_000;
/** Pieces that wait for a page that is kept from looking: a second. What comes then is lost, and samples are counted wrong. */
const MOST_UNREAD = 100;

/** Sound as it passes a track: when each of its stretches began and ended, in milliseconds of the clock of `performance.now()`. */
export class TrackRecorder {
  /** `{ first, last }`: their audible samples, counted from the first sample of the recording. */
  stretches = [];
  #pieces = [];
  #length = 0;
  /** The last samples, in which a window may begin that goes on in the next piece. */
  #before = new Float32Array();
  #rate = 0;
  /** Where it was loud last. */
  #loud = -Infinity;
  #waiting = new Set();

  constructor(track) {
    this.#record(new MediaStreamTrackProcessor({ track, maxBufferSize: MOST_UNREAD }).readable.getReader());
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
      if (energy >= AUDIBLE * AUDIBLE * part.length) {
        this.#begin(this.#length + from + part.findIndex((sample) => Math.abs(sample) >= AUDIBLE));
      }
    }
    this.#end(samples);
  }

  #begin(at) {
    if (at - this.#loud >= QUIET_S * this.#rate) this.stretches.push({ first: at, last: at });
    this.#loud = at;
  }

  /** Goes back from the end, which silence may follow, to the last sample with which a loud window begins. */
  #end(samples) {
    const window = Math.round(this.#rate * WORD_WINDOW_S);
    const known = new Float32Array(this.#before.length + samples.length);
    known.set(this.#before);
    known.set(samples, this.#before.length);
    let [at, energy] = [known.length, 0];
    do {
      at -= 1;
      energy += known[at] ** 2 - (known[at + window] ?? 0) ** 2;
    } while (at > 0 && energy < AUDIBLE * AUDIBLE * window);
    const current = this.stretches.at(-1);
    if (current && at > 0) current.last = Math.max(current.last, this.#length + samples.length - known.length + at);
    this.#before = known.slice(Math.max(0, known.length - window + 1));
  }

  /** When a sample passed: pieces are stamped as threads come to it, so the middle of what the pieces around it say. */
  at(sample) {
    const near = this.#pieces.filter(({ from }) => Math.abs(from - sample) <= AROUND_S * this.#rate);
    const moments = near.map(({ from, at }) => at + (1_000 * (sample - from)) / this.#rate);
    moments.sort((one, other) => one - other);
    return moments[Math.floor(moments.length / 2)];
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
