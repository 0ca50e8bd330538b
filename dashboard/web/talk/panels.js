// The parts of the page that only show: status, presence, latency and connection figures.
import { formatMs, verdict } from "../shared/hops.js";
import { concealedShare, lossShare } from "../client/voxgate-client.js";
import { drawTrend, trendLine } from "./trend.js";
import { drawWaterfall, ownerKey } from "../shared/waterfall.js";

const byId = (id) => document.getElementById(id);

const STATUS = {
  idle: "Not connected",
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  ended: "Call ended",
  failed: "Not connected",
};

export function showState(state, step) {
  const inCall = state === "connected" || state === "reconnecting";
  const isOpen = inCall || state === "connecting";
  document.body.dataset.state = state;
  byId("status").textContent = step ? `${step}…` : STATUS[state];
  byId("setup").hidden = isOpen;
  byId("connect").textContent = state === "ended" || state === "failed" ? "Connect again" : "Connect";
  byId("end").disabled = !isOpen;
  byId("end").textContent = state === "connecting" ? "Cancel" : "End call";
  for (const id of ["mute", "stop", "text-input", "send"]) byId(id).disabled = !inCall;
  byId("hints-title").textContent = inCall
    ? "Just speak. For example:"
    : "Once connected, just speak. For example:";
}

export function showPresence({ state, muted, conversation }) {
  const inCall = state === "connected" || state === "reconnecting";
  const { agentSpeaking, activeResponse, userSpeaking } = conversation;
  const agent = !inCall ? "away" : agentSpeaking ? "speaking" : activeResponse ? "thinking" : "listening";
  const user = !inCall ? "away" : muted ? "muted" : userSpeaking ? "speaking" : "quiet";
  const agentWords = {
    away: "Not in a call",
    speaking: "Speaking",
    thinking: "Thinking",
    listening: "Listening",
  };
  const userWords = { away: "Microphone off", muted: "Muted", speaking: "Speaking", quiet: "Microphone on" };
  byId("agent").dataset.doing = agent;
  byId("agent-doing").textContent = agentWords[agent];
  byId("user").dataset.doing = user;
  byId("user-doing").textContent = userWords[user];
  byId("mute").setAttribute("aria-pressed", String(muted));
  byId("mute").textContent = muted ? "Unmute" : "Mute";
  byId("stop").disabled = !inCall || !(agentSpeaking || activeResponse);
}

export function showTurns(turns, picked, onPick) {
  const turn = picked ?? turns.at(-1);
  byId("waterfall-empty").hidden = turns.length > 0;
  byId("trend-empty").hidden = turns.length > 0;
  byId("trend-line").textContent = trendLine(turns);
  byId("latest").hidden = !turn || turn === turns.at(-1);
  drawTrend(byId("trend"), turns, turn?.turn, onPick);
  if (!turn) {
    byId("waterfall").replaceChildren();
    byId("owner-key").replaceChildren(ownerKey());
    return;
  }
  // The table stays open for whoever reads it, from one turn to the next.
  const wasOpen = byId("waterfall").querySelector("details")?.open ?? false;
  drawWaterfall(byId("waterfall"), turn);
  byId("waterfall").querySelector("details").open = wasOpen;
}

export function announceTurn(turn) {
  byId("turn-news").textContent = `Turn ${turn.turn} took ${formatMs(turn.totalMs)}. ${verdict(turn)}`;
}

export function showStats(measured) {
  const figures = {
    "figure-rtt": [measured?.roundTripMs, formatMs],
    "figure-jitter": [measured?.jitterBufferMs, formatMs],
    "figure-loss": [measured && lossShare(measured), formatShare],
    "figure-concealed": [measured && concealedShare(measured), formatShare],
  };
  for (const [id, [value, format]] of Object.entries(figures)) {
    byId(id).textContent = Number.isFinite(value) ? format(value) : "–";
  }
}

export function showContinue(isOffered) {
  byId("continue").hidden = !isOffered;
}

export function showError(text) {
  byId("error").hidden = !text;
  byId("error-text").textContent = text;
}

/** Draws a level, 0 to 1. The number for assistive technology moves in steps, or it would never rest. */
export function showLevel(id, level) {
  const node = byId(id);
  node.style.setProperty("--level", level.toFixed(3));
  if (node.getAttribute("role") !== "meter") return;
  const step = String(Math.round(level * 20) * 5);
  if (node.getAttribute("aria-valuenow") !== step) node.setAttribute("aria-valuenow", step);
}

function formatShare(share) {
  if (share === 0) return "0 %";
  return share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`;
}
