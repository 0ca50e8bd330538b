// What the conversation benchmarks have in common: quantiles, and what is counted.

export const PAUSE_MS = 500;
export const MODEL_DELAY_MS = 200;

/** Nearest rank. */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1];
}

/** How much more the gateway says than was heard. */
export const error = (cycle) => cycle.audio_end_ms - cycle.heard_ms;

/** The share of a first audio that is neither the pause nor the provider's. */
export const own = (cycle) => cycle.own_share_ms ?? cycle.first_audio_ms - PAUSE_MS - MODEL_DELAY_MS;
