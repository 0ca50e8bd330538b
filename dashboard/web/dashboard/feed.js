// A live feed of the gateway: server-sent events over fetch, since an EventSource cannot send a key. It comes back by itself
// and never pretends: who shows it is told since when it is not live.
import { ApiFailure } from "./api.js";
import { EventReader } from "./sse.js";

// The gateway sends at least a comment every 15 s.
const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
// A browser has six connections to a gateway over HTTP/1.1 for all its tabs: one that nobody looks at gives its own back.
const HIDDEN_MS = 10_000;

/** The pause before attempt `attempt` (from 0), between half of it and all, so that a crowd does not come back at once. */
export function pauseMs(attempt, random = Math.random()) {
  const whole = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16));
  return whole * (0.5 + random / 2);
}

/** Whether trying again can help. */
export const isFinal = (failure) =>
  failure instanceof ApiFailure && failure.status >= 400 && failure.status < 500 && failure.status !== 429;

/**
 * Follows `path` until `close()`. `onEvent(name, data, isFirst)` gets each event with its data read as JSON, `isFirst` for
 * the first of a connection: it tells everything. `onState` gets
 * `{ kind: "connecting" | "live" | "lost" | "paused" | "refused" | "over", since, failure }`, `since` in milliseconds since 1970;
 * `paused` is a page that nobody sees.
 * The event `end` ends it for good.
 */
export function follow(api, path, { onEvent, onState = () => {} }) {
  const closing = new AbortController();
  let lastHeard = Date.now();
  let wake = null;

  const state = (kind, failure = null) => {
    if (!closing.signal.aborted) onState({ kind, since: kind === "lost" ? lastHeard : Date.now(), failure });
  };

  async function connect() {
    const connection = new AbortController();
    const stop = () => connection.abort();
    closing.signal.addEventListener("abort", stop, { once: true });
    const unwatch = whenHidden(stop);
    let watch = setTimeout(stop, SILENCE_MS);
    const heard = () => {
      lastHeard = Date.now();
      clearTimeout(watch);
      watch = setTimeout(stop, SILENCE_MS);
    };
    try {
      const response = await api.fetch(path, {
        signal: connection.signal,
        headers: { Accept: "text/event-stream" },
        patienceMs: null,
      });
      heard();
      state("live");
      return await readAll(response, heard);
    } finally {
      clearTimeout(watch);
      unwatch();
      closing.signal.removeEventListener("abort", stop);
    }
  }

  async function readAll(response, heard) {
    const reader = new EventReader();
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let isFirst = true;
    for (;;) {
      const { value, done } = await pieces.read();
      if (done) return false;
      heard();
      for (const { name, data } of reader.read(value)) {
        if (closing.signal.aborted) return true;
        if (name === null) continue;
        onEvent(name, JSON.parse(data), isFirst);
        if (name === "end") return true;
        isFirst = false;
      }
    }
  }

  const rest = (lengthMs) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, lengthMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
      closing.signal.addEventListener("abort", wake, { once: true });
    });

  async function run() {
    state("connecting");
    for (let attempt = 0; !closing.signal.aborted; attempt++) {
      const began = Date.now();
      let failure = null;
      try {
        if (await connect()) return state("over");
      } catch (fault) {
        failure = fault;
        if (isFinal(fault)) return state("refused", fault);
      }
      if (closing.signal.aborted) return;
      if (isHidden()) {
        state("paused");
        await seen(closing.signal);
        attempt = -1;
        continue;
      }
      if (Date.now() - began > SILENCE_MS) attempt = 0;
      state("lost", failure);
      await rest(Math.max(pauseMs(attempt), failure?.retryAfterMs ?? 0));
    }
  }

  const hurry = () => wake?.();
  const global = globalThis.window;
  global?.addEventListener("online", hurry);
  const done = run();
  return {
    close() {
      global?.removeEventListener("online", hurry);
      closing.abort();
    },
    /** Try now instead of after the pause. */
    hurry,
    /** Resolves when nothing more comes. */
    done,
  };
}

const isHidden = () => globalThis.document?.visibilityState === "hidden";

/** Calls `act` once nobody has seen the page for a while. Gives back how to forget about it. */
function whenHidden(act) {
  const page = globalThis.document;
  if (!page) return () => {};
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    if (isHidden()) timer = setTimeout(act, HIDDEN_MS);
  };
  page.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    page.removeEventListener("visibilitychange", look);
  };
}

/** Resolves when the page is seen again, or `signal` says that it does not matter any more. */
function seen(signal) {
  const page = globalThis.document;
  return new Promise((resolve) => {
    const done = () => {
      page.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const look = () => isHidden() || done();
    page.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", done, { once: true });
  });
}
