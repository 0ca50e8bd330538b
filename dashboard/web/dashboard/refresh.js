// Figures that are asked for again and again while somebody looks, and sooner when something happened.

/** Between two questions that news cause, at least so long. */
const LEAST_MS = 400;

/** And so many times as long as the last answer took: a gateway that is slow to answer is not asked all the time. */
const REST = 4;

const BROWSER = {
  now: () => performance.now(),
  setTimer: (act, ms) => setTimeout(act, ms),
  clearTimer: (timer) => clearTimeout(timer),
  isVisible: () => document.visibilityState === "visible",
  onVisible(act) {
    document.addEventListener("visibilitychange", act);
    return () => document.removeEventListener("visibilitychange", act);
  },
};

/**
 * Asks `load(signal)` now and then every `everyMs` while the page is visible. `onData` gets each answer, `onFailure` each
 * failure. `hurry()` asks soon, because something happened; `again()` asks at once, because the question changed: the
 * answer to the old one is not shown any more.
 */
export function keepFresh({ load, everyMs, onData, onFailure, world = BROWSER }) {
  let timer = null;
  let due = Infinity;
  let asking = null;
  let beganAt = -Infinity;
  let tookMs = 0;
  let isWanted = false;
  let isClosed = false;

  function askIn(ms) {
    const at = world.now() + ms;
    if (isClosed || at >= due) return;
    if (timer !== null) world.clearTimer(timer);
    due = at;
    timer = world.setTimer(ask, Math.max(0, ms));
  }

  async function ask() {
    timer = null;
    due = Infinity;
    if (isClosed || !world.isVisible()) return;
    const question = new AbortController();
    asking = question;
    beganAt = world.now();
    isWanted = false;
    try {
      const data = await load(question.signal);
      if (asking === question) onData(data);
    } catch (failure) {
      if (asking === question) onFailure(failure);
    }
    if (asking !== question) return;
    asking = null;
    tookMs = world.now() - beganAt;
    askIn(isWanted ? rest() : everyMs);
  }

  const rest = () => Math.max(0, beganAt + Math.max(LEAST_MS, REST * tookMs) - world.now());

  function hurry() {
    // What happened while an answer was on its way may not be in it.
    if (asking) isWanted = true;
    else askIn(rest());
  }

  function again() {
    asking?.abort();
    asking = null;
    askIn(0);
  }

  const forget = world.onVisible(() => {
    if (world.isVisible() && !asking) askIn(0);
  });
  askIn(0);
  return {
    hurry,
    again,
    close() {
      isClosed = true;
      forget();
      if (timer !== null) world.clearTimer(timer);
      asking?.abort();
      asking = null;
    },
  };
}
