// What the overview says in large figures, and which sessions it names. Pure.
import { UNKNOWN, count, money, msFigure, plural, share } from "./format.js";

export const SPANS = [
  { value: "5m", label: "5 min", words: "5 minutes", ms: 300_000 },
  { value: "15m", label: "15 min", words: "15 minutes", ms: 900_000 },
  { value: "1h", label: "1 h", words: "hour", ms: 3_600_000 },
  { value: "6h", label: "6 h", words: "6 hours", ms: 21_600_000 },
];

export const spanOf = (value) => SPANS.find((span) => span.value === value) ?? SPANS[2];

/** The next longer span, or null. */
export const longer = (value) => SPANS[SPANS.indexOf(spanOf(value)) + 1] ?? null;

/** The budgets of a subject over all routes, from the answer of `/latency`: `{ least, most }`, or null without one. */
export function budgetsOf(latency, subject) {
  const budgets = (latency?.routes ?? []).map(({ budgets }) => budgets?.[subject]).filter(Number.isFinite);
  return budgets.length ? { least: Math.min(...budgets), most: Math.max(...budgets) } : null;
}

/** The one budget all routes share, or null. */
export function commonBudget(latency, subject) {
  const budgets = budgetsOf(latency, subject);
  return budgets && budgets.least === budgets.most ? budgets.least : null;
}

/** The budget in words: one, or from where to where. */
export function budgetText(budgets) {
  if (!budgets) return "";
  if (budgets.least === budgets.most) return `${msFigure(budgets.least)} ms`;
  return `${msFigure(budgets.least)} to ${msFigure(budgets.most)} ms, by route`;
}

/** The only group of an overview that was not divided, or null without a turn. */
export const everything = (overview) => overview?.groups?.[0] ?? null;

/**
 * The tiles. `sessions` are the summaries of the live feed, or null while it has told nothing; `spend` is null where it is not
 * known, `approvals` too.
 */
export function overviewTiles({ overview, latency, sessions, spend, approvals, span }) {
  const all = everything(overview);
  return [
    liveTile(sessions),
    middleTile(all, span),
    tailTile(all, budgetsOf(latency, "whole")),
    breachTile(all, latency?.tolerance?.allowed ?? 50),
    spendTile(spend),
    approvalTile(approvals),
  ];
}

function liveTile(sessions) {
  const label = "Live sessions";
  const href = "/dashboard/sessions";
  if (!sessions) return { name: "live", label, figure: UNKNOWN, note: "The feed has not told yet.", href };
  const live = sessions.filter(({ state }) => state !== "ended");
  const inState = (state) => live.filter((session) => session.state === state).length;
  const also = [
    [inState("connecting"), "connecting"],
    [inState("ending"), "ending"],
  ].filter(([number]) => number > 0);
  const note = also.map(([number, word]) => `${count(number)} ${word}`).join(", ");
  return {
    name: "live",
    label,
    figure: count(live.length),
    note: note || (live.length ? "all connected" : "nobody calls"),
    href,
  };
}

function middleTile(all, span) {
  const label = "Mouth to ear, p50";
  if (!all) return { name: "p50", label, figure: UNKNOWN, note: `no turn in the last ${span.words}` };
  const note = `half of ${plural(all.turns, "turn")} took no longer`;
  return { name: "p50", label, figure: msFigure(all.whole.p50_ms), unit: " ms", note };
}

function tailTile(all, budgets) {
  const label = "Mouth to ear, p95";
  if (!all) return { name: "p95", label, figure: UNKNOWN, note: budgets ? `budget ${budgetText(budgets)}` : "" };
  const p95 = all.whole.p95_ms;
  const tile = { name: "p95", label, figure: msFigure(p95), unit: " ms" };
  if (!budgets) return { ...tile, note: "19 of 20 turns took no longer" };
  const scale = Math.max(p95, budgets.least) * 1.15;
  return {
    ...tile,
    note: `budget ${budgetText(budgets)}`,
    tone: p95 > budgets.most ? "bad" : p95 > budgets.least ? "warn" : null,
    bar: { share: p95 / scale, mark: budgets.least / scale },
  };
}

function breachTile(all, allowed) {
  const label = "Turns over budget";
  if (!all) return { name: "breaches", label, figure: UNKNOWN, note: "" };
  const part = all.breaches / all.turns;
  return {
    name: "breaches",
    label,
    figure: count(all.breaches),
    note: `${share(part)} of ${plural(all.turns, "turn")}; ${allowed / 10} % may be`,
    tone: part * 1000 > allowed ? "bad" : all.breaches > 0 ? "warn" : null,
  };
}

function spendTile(spend) {
  const label = "Spent today (UTC)";
  const href = "/dashboard/spend";
  if (!spend) return { name: "spend", label, figure: UNKNOWN, note: "not known to this key", href };
  const estimate = spend.estimated > 0 ? `${money(spend.estimated)} of it estimated` : "all of it confirmed";
  const note = spend.spent === 0 ? "nothing yet" : estimate;
  return { name: "spend", label, figure: money(spend.spent), note, href };
}

function approvalTile(approvals) {
  const label = "Waiting approvals";
  const href = "/dashboard/approvals";
  const note =
    approvals === null
      ? "not known to this key"
      : approvals > 0
        ? "a caller waits: decide"
        : "nothing waits for a person";
  return { name: "approvals", label, figure: count(approvals), note, href, tone: approvals > 0 ? "warn" : null };
}

/** The hops that spent the whole of turns that were over, the worst first, with their shares of all such turns. */
export function spenderRows({ spenders }) {
  const all = spenders.reduce((sum, { breaches }) => sum + breaches, 0);
  const most = Math.max(...spenders.map(({ breaches }) => breaches), 1);
  return [...spenders]
    .sort((a, b) => b.breaches - a.breaches)
    .map((spender) => ({ ...spender, ofAll: spender.breaches / all, ofMost: spender.breaches / most }));
}

/** Remembers when the breaches of a session were last seen to grow. `hear` takes every session once the feed told of it. */
export class BreachNews {
  #seen = new Map();
  #news = new Map();
  #hasHeard = false;

  /** Takes sessions as they are now, at `now` in milliseconds since 1970. Those of the first time are no news. */
  hear(sessions, now) {
    for (const { id, breaches } of sessions) {
      const before = this.#seen.get(id);
      if (this.#hasHeard && breaches > (before ?? 0)) this.#news.set(id, now);
      this.#seen.set(id, breaches ?? 0);
    }
    this.#hasHeard = true;
  }

  /**
   * At most `most` sessions over budget: those with the latest news first, then those with most breaches. `newsAt` is null
   * for one that was over before anybody looked.
   */
  worst(sessions, most = 5) {
    return sessions
      .filter(({ breaches }) => breaches > 0)
      .map((session) => ({ session, newsAt: this.#news.get(session.id) ?? null }))
      .sort(
        (a, b) =>
          (b.newsAt ?? 0) - (a.newsAt ?? 0) ||
          b.session.breaches - a.session.breaches ||
          (a.session.id < b.session.id ? -1 : 1),
      )
      .slice(0, most);
  }
}

const SUBJECT = /^[a-z_]{1,32}$/;

/** What is looked at, from the query of the address. */
export function wishOf(query) {
  const hop = query.get("hop") ?? "whole";
  const by = query.get("by");
  return {
    span: spanOf(query.get("window")).value,
    hop: SUBJECT.test(hop) ? hop : "whole",
    by: ["provider", "region", "model", "route", "revision"].includes(by) ? by : "provider",
    a: query.get("a"),
    b: query.get("b"),
  };
}
