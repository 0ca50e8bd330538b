// Loudness of a stream, for the eye.

const FLOOR_DB = -60;
const CEILING_DB = -10;

/** Where a root mean square (0 to 1) stands between the quietest and the loudest the meter shows, 0 to 1. */
export function loudness(rootMeanSquare) {
  const decibels = 20 * Math.log10(Math.max(rootMeanSquare, 1e-6));
  return Math.min(1, Math.max(0, (decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}

/** Measures streams once per drawn frame until closed. */
export class Meters {
  #context = new AudioContext();
  #taps = [];
  #frame = null;

  constructor() {
    // Browsers start it suspended unless a click created it.
    this.#context.resume().catch(() => {});
  }

  /** `onLevel` gets the loudness, 0 to 1. */
  watch(stream, onLevel) {
    const analyser = new AnalyserNode(this.#context, { fftSize: 1024 });
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(analyser);
    this.#taps.push({ source, analyser, onLevel, samples: new Float32Array(analyser.fftSize), level: 0 });
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    for (const tap of this.#taps) {
      tap.analyser.getFloatTimeDomainData(tap.samples);
      const power = tap.samples.reduce((sum, sample) => sum + sample * sample, 0) / tap.samples.length;
      const level = loudness(Math.sqrt(power));
      // Fast up, slow down: a meter that falls as fast as speech pauses only flickers.
      tap.level = Math.max(level, tap.level * 0.88);
      tap.onLevel(tap.level);
    }
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  close() {
    cancelAnimationFrame(this.#frame);
    for (const tap of this.#taps) tap.onLevel(0);
    this.#taps = [];
    this.#context.close().catch(() => {});
  }
}
