// What says that records of calls do not outlive the process that made them.
import { element } from "../shared/element.js";
import { ago, dateAndTime } from "./format.js";

/** The sentence; with when the gateway began as soon as that is known, if this key may know it. */
export function memoryNote(api) {
  const began = element("span");
  api.get("/admin/v1/fleet").then(
    ({ node }) => (began.textContent = beganText(node.uptime_ms, Date.now())),
    // Only whoever runs the gateway is told; for others the sentence is true without it.
    () => {},
  );
  return element(
    "p",
    { "data-testid": "memory-note" },
    "The gateway keeps the last thousand calls in memory, and none from before it began.",
    began,
  );
}

/** When a gateway began that has been up for `uptimeMs` at `nowMs`. */
export function beganText(uptimeMs, nowMs) {
  if (!Number.isFinite(uptimeMs)) return "";
  const at = (nowMs - uptimeMs) / 1000;
  return ` This one began on ${dateAndTime(at)}, ${ago(at, nowMs / 1000)}.`;
}
