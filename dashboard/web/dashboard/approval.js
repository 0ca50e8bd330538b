// Held tool calls: how long they may wait, what they ask for, and what became of them. Pure.
import { duration, plural } from "./format.js";

/** From here on the time that is left is running out. */
const URGENT_MS = 15_000;

const RISKS = {
  read_only: { label: "Only reads", sign: "○" },
  ordinary: { label: "Ordinary", sign: "◐" },
  dangerous: { label: "Dangerous", sign: "●" },
};

export const riskOf = (risk) => RISKS[risk] ?? { label: risk.replaceAll("_", " "), sign: "●" };

/** Those whose time ends first come first. */
export const urgentFirst = (held) =>
  [...held].sort((a, b) => a.deadline_ms - b.deadline_ms || a.id.localeCompare(b.id));

/**
 * What is left of the time a person has: `leftMs`, `share` of all of it (0 to 1), `text`, and whether it is `urgent` or
 * over. `now` in milliseconds since 1970 by the gateway's clock.
 */
export function timeLeft({ asked_at_ms, deadline_ms }, now) {
  const leftMs = Math.max(0, deadline_ms - now);
  const all = Math.max(1, deadline_ms - asked_at_ms);
  const isOver = leftMs === 0;
  return {
    leftMs,
    share: Math.min(1, leftMs / all),
    isOver,
    isUrgent: !isOver && leftMs <= URGENT_MS,
    text: isOver ? "Time is up: it counts as denied." : `${duration(Math.ceil(leftMs / 1000) * 1000)} left`,
  };
}

/**
 * What a tool is to be called with, name by name. `rows` is null where the arguments are no JSON object: they are shown
 * as they came.
 */
export function readArguments(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return { rows: null, text };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { rows: null, text };
  const rows = Object.entries(value).map(([name, value]) => ({
    name,
    value: typeof value === "string" ? value : written(value),
  }));
  return { rows, text: JSON.stringify(value, null, 2) };
}

/** On one line while it fits one. */
function written(value) {
  const short = JSON.stringify(value);
  return short.length <= 60 ? short : JSON.stringify(value, null, 1);
}

/** Events of a session that tell what became of a tool call that was decided. */
const TELLING = new Set(["tool_call", "approval", "ended", "error"]);

/**
 * What happened in the session to a held call, oldest first: events of its record from `sinceMs` (since the session
 * began) on that speak of the call, of its tool where they name no call, or of the end.
 */
export function aftermath(events, { call, tool }, sinceMs) {
  const isOfCall = ({ detail }) => (detail?.call ? detail.call === call : (detail?.tool ?? tool) === tool);
  return events
    .filter(({ kind, at_ms }) => TELLING.has(kind) && at_ms >= sinceMs)
    .filter(isOfCall)
    .sort((a, b) => a.at_ms - b.at_ms)
    .map(({ seq, at_ms, kind, severity, text }) => ({
      seq,
      afterMs: Math.max(0, at_ms - sinceMs),
      kind,
      severity,
      text,
    }));
}

/** The headline of the page. */
export function waiting(held) {
  if (held.length === 0) return "Nothing waits for a person";
  return `${plural(held.length, "tool call waits", "tool calls wait")} for a person`;
}

/** A name for the write, so that it happens once however often it is sent. */
export const newMark = () => `dashboard-${globalThis.crypto.randomUUID()}`;

/** Decisions about tool calls in entries of the audit log, in their order, at most `most`. */
export const decisions = (entries, most = 12) =>
  entries
    .filter(({ action }) => action === "approval.approve" || action === "approval.deny")
    .filter(({ detail }) => typeof detail?.tool === "string")
    .slice(0, most)
    .map(({ at_ms, actor, action, detail }) => ({
      at_ms,
      actor,
      approved: action === "approval.approve",
      tool: detail.tool,
      reason: typeof detail.reason === "string" ? detail.reason : "",
    }));
