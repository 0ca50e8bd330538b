// The talk page: one call at a time, what it said and how long its turns took.
import { Call, missingSupport } from "./call.js";
import { CallFailure, eventFailure, explain } from "./errors.js";
import { emptyConversation, reduce, resumed, stopped, typed } from "./events.js";
import { forgetKey, keepKey, takeKey } from "../shared/key.js";
import { Meters } from "./meter.js";
import {
  announceTurn,
  showContinue,
  showError,
  showLevel,
  showPresence,
  showState,
  showStats,
  showTurns,
} from "./panels.js";
import { TranscriptView } from "./transcript.js";

const byId = (id) => document.getElementById(id);
const KEPT_TURNS = 200;

const page = {
  state: "idle",
  conversation: emptyConversation(),
  turns: [],
  messages: [],
  pickedTurn: null,
  stats: null,
  muted: false,
  error: "",
  /** The call whose connection was lost and whose conversation can go on. */
  lost: null,
};
const transcriptView = new TranscriptView(byId("transcript"), byId("conversation"));
let call = null;
let meters = null;

/** The call moved on. */
export function enter(state, step = "") {
  page.state = state;
  if (state === "connected" && page.lost) goOn();
  if (state === "ended" || state === "failed") hangUp();
  showState(state, step);
  showPresence(page);
}

/** The gateway sent a Realtime event. */
export function receive(event) {
  const before = page.conversation.error;
  converse(reduce(page.conversation, event));
  const { error } = page.conversation;
  if (error && error !== before) fail(eventFailure(error));
}

/** The gateway measured a turn; `message` is what it sent. */
export function addTurn(turn, message) {
  page.turns = [...page.turns, turn].slice(-KEPT_TURNS);
  page.messages = [...page.messages, message].slice(-KEPT_TURNS);
  pickTurn(page.pickedTurn);
  announceTurn(turn);
}

/** The browser measured the connection. */
export function addStats(measured) {
  page.stats = measured;
  showStats(measured);
}

/** Something went wrong; the person is told what to do. */
export function fail(failure) {
  // What the gateway said before it ended the call is the reason.
  if (failure.kind === "ended_by_gateway" && page.error) return;
  page.error = explain(failure);
  showError(page.error);
  if (failure.kind === "connection_lost" && call?.resumeToken) page.lost = call;
  if (failure.kind === "cannot_continue") forgetLost();
  showContinue(page.lost !== null);
  if (failure.kind === "unexpected" || !(failure instanceof CallFailure)) console.error(failure);
  if (failure.kind === "key_refused") {
    forgetKey();
    byId("setup").hidden = false;
  }
  if (failure.kind === "key_refused" || failure.kind === "key_missing") byId("key").select();
}

function dismissError() {
  page.error = "";
  showError("");
  showContinue(false);
}

/** The lost conversation goes on in the new call. */
function goOn() {
  page.lost.leave(true);
  page.lost = null;
  converse(resumed(page.conversation));
  // What was heard of the last answer is what the gateway kept of it.
  const cut = page.conversation.transcript.findLast((entry) => entry.role === "agent");
  if (cut) call.send({ type: "conversation.item.retrieve", item_id: cut.id });
}

/** Nobody goes on with the lost conversation. */
function forgetLost() {
  page.lost?.leave(false);
  page.lost = null;
}

function converse(conversation) {
  if (conversation === page.conversation) return;
  page.conversation = conversation;
  byId("hints").hidden = conversation.transcript.length > 0;
  transcriptView.render(conversation.transcript);
  showPresence(page);
}

/** Shows turn number `picked`; null follows the latest. */
function pickTurn(picked) {
  const isLatest = picked === page.turns.at(-1)?.turn;
  page.pickedTurn = isLatest ? null : picked;
  const turn = page.turns.find((candidate) => candidate.turn === page.pickedTurn) ?? null;
  showTurns(page.turns, turn, pickTurn);
}

function connect() {
  const key = byId("key").value.trim();
  const missing = missingSupport() ?? (key ? null : new CallFailure("key_missing"));
  if (missing) return fail(missing);
  keepKey(key);
  forgetLost();
  page.turns = [];
  page.messages = [];
  pickTurn(null);
  converse(emptyConversation());
  place(key);
}

/** Goes on with the lost conversation in a new call. */
function proceed() {
  if (!page.lost || call) return;
  place(byId("key").value.trim(), page.lost.resumeToken);
}

/** Makes a call; with a token, one that goes on with the conversation of another. */
function place(key, resume = null) {
  dismissError();
  page.muted = false;
  addStats(null);
  meters = new Meters();
  const wishes = Object.fromEntries(
    ["model", "voice", "instructions"].map((id) => [id, byId(id).value.trim()]),
  );
  const listeners = {
    state: enter,
    event: receive,
    turn: addTurn,
    stats: addStats,
    streams: listen,
    failure: fail,
  };
  // For tests: what a client is worth that does not move its call.
  const failover = new URLSearchParams(location.search).get("failover") !== "off";
  call = new Call(key, wishes, listeners, { failover, resume });
  call.start();
  // The form with the focus disappears. Nobody went to the conversation, so no ring is drawn around it.
  byId("conversation").focus({ focusVisible: false });
}

function listen({ microphone, remote }) {
  if (microphone) meters?.watch(microphone, (level) => showLevel("mic-level", level));
  if (!remote) return;
  byId("remote-audio").srcObject = remote;
  playRemote();
  meters?.watch(remote, (level) => showLevel("agent-level", level));
}

function playRemote() {
  byId("remote-audio")
    .play()
    .catch((exception) => {
      // Any other exception is the call ending before the first sound.
      if (exception.name !== "NotAllowedError") return;
      fail(new CallFailure("sound_blocked"));
      document.addEventListener(
        "click",
        () =>
          byId("remote-audio")
            .play()
            .then(dismissError, () => {}),
        { once: true },
      );
    });
}

function hangUp() {
  const focusWasInCall = document.activeElement?.closest(".controls, .composer");
  meters?.close();
  meters = null;
  call = null;
  byId("remote-audio").srcObject = null;
  page.conversation = {
    ...page.conversation,
    agentSpeaking: false,
    userSpeaking: false,
    activeResponse: null,
  };
  if (focusWasInCall) queueMicrotask(() => byId("connect").focus());
}

function stopAgent() {
  const { activeResponse, agentSpeaking } = page.conversation;
  if (!call || !(activeResponse || agentSpeaking)) return;
  call.stopAgent(Boolean(activeResponse));
  converse(stopped(page.conversation));
}

function toggleMute() {
  if (!call) return;
  page.muted = !page.muted;
  call.muted = page.muted;
  showPresence(page);
}

function say(event) {
  event.preventDefault();
  const text = byId("text-input").value.trim();
  if (!call || !text) return;
  stopAgent();
  const id = `item_${crypto.randomUUID().replaceAll("-", "").slice(0, 20)}`;
  call.say(id, text);
  converse(typed(page.conversation, id, text));
  byId("text-input").value = "";
}

function shortcut(event) {
  if (!call || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") stopAgent();
  const writes = event.target.closest?.("input, textarea");
  if (event.key.toLowerCase() === "m" && !writes) toggleMute();
}

byId("setup").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
byId("composer").addEventListener("submit", say);
byId("mute").addEventListener("click", toggleMute);
byId("stop").addEventListener("click", stopAgent);
byId("end").addEventListener("click", () => call?.end());
byId("latest").addEventListener("click", () => pickTurn(null));
byId("error-close").addEventListener("click", dismissError);
byId("continue").addEventListener("click", proceed);
document.addEventListener("keydown", shortcut);
window.addEventListener("pagehide", () => {
  call?.end();
  forgetLost();
});
window.addEventListener("hashchange", () => (byId("key").value = takeKey()));

// For automated tests and curious people: copies, so that nothing here can be changed.
const remoteAudio = () => ({
  energy: page.stats?.remoteAudioEnergy ?? 0,
  seconds: page.stats?.remoteAudioSeconds ?? 0,
  samples: page.stats?.samplesReceived ?? 0,
});
const view = (read) => ({ enumerable: true, get: () => structuredClone(read()) });
Object.defineProperty(window, "voxgateTalk", {
  value: Object.freeze(
    Object.create(null, {
      state: view(() => page.state),
      turns: view(() => page.messages),
      transcript: view(() => page.conversation.transcript),
      session: view(() => page.conversation.session),
      userSpeaking: view(() => page.conversation.userSpeaking),
      agentSpeaking: view(() => page.conversation.agentSpeaking),
      muted: view(() => page.muted),
      stats: view(() => page.stats),
      remoteAudio: view(remoteAudio),
      error: view(() => page.error),
    }),
  ),
});

byId("key").value = takeKey();
(byId("key").value ? byId("connect") : byId("key")).focus();
showState("idle", "");
showPresence(page);
showTurns([], null, pickTurn);
const missing = missingSupport();
if (missing) fail(missing);
