// Realtime API server events become the state of a call. Pure: no DOM, no clock, no network.

/**
 * @typedef {object} Entry one line of the transcript
 * @property {string} id the item's id
 * @property {"user"|"agent"|"tool"} role
 * @property {string} text
 * @property {boolean} final no more text will come
 * @property {string} [responseId]
 * @property {"speech"|"stop"|null} interrupted who cut the answer off
 * @property {number} [heardMs] how much of a cut answer was played
 * @property {string} [failure] why there is no text
 */

export const emptyConversation = () => ({
  session: null,
  userSpeaking: false,
  agentSpeaking: false,
  activeResponse: null,
  playingResponse: null,
  transcript: [],
  error: null,
});

/** The state after `event`. Events the page has no use for return the same object. */
export function reduce(state, event) {
  const handler = Object.hasOwn(handlers, event?.type) ? handlers[event.type] : null;
  return handler ? { ...state, ...handler(state, event) } : state;
}

/** The state after the page itself sent a typed message, so that it shows before the server repeats it. */
export function typed(state, id, text) {
  return { ...state, transcript: put(state.transcript, id, { role: "user", text, final: true }) };
}

/** The state after a new call went on with the conversation of a lost one: nothing of the old call goes on. */
export function resumed(state) {
  return {
    ...state,
    userSpeaking: false,
    agentSpeaking: false,
    activeResponse: null,
    playingResponse: null,
    error: null,
    transcript: state.transcript.map((entry) => (entry.final ? entry : { ...entry, final: true })),
  };
}

/** The state after the person pressed the stop button. */
export function stopped(state) {
  const response = state.playingResponse ?? state.activeResponse;
  return { ...state, transcript: interrupt(state.transcript, response, "stop") };
}

const handlers = {
  "session.created": (_, event) => ({ session: event.session }),
  "session.updated": (_, event) => ({ session: event.session }),

  "input_audio_buffer.speech_started": (state, event) => ({
    userSpeaking: true,
    transcript: put(state.transcript, event.item_id, { role: "user" }),
  }),
  "input_audio_buffer.speech_stopped": () => ({ userSpeaking: false }),
  "input_audio_buffer.committed": (state, event) => ({
    userSpeaking: false,
    transcript: put(state.transcript, event.item_id, { role: "user" }),
  }),
  "input_audio_buffer.cleared": (state) => ({
    userSpeaking: false,
    transcript: state.transcript.filter((entry) => entry.role !== "user" || entry.final || entry.text),
  }),

  "conversation.item.input_audio_transcription.delta": (state, event) => ({
    transcript: append(state.transcript, event.item_id, event.delta ?? "", { role: "user" }),
  }),
  "conversation.item.input_audio_transcription.completed": (state, event) => ({
    transcript: put(state.transcript, event.item_id, {
      role: "user",
      text: event.transcript.trim(),
      final: true,
      failure: event.transcript.trim() ? undefined : "no words recognised",
    }),
  }),
  "conversation.item.input_audio_transcription.failed": (state, event) => ({
    transcript: put(state.transcript, event.item_id, {
      role: "user",
      final: true,
      failure: event.error?.message ?? "the words could not be recognised",
    }),
  }),

  "conversation.item.added": (state, event) => ({ transcript: putItem(state.transcript, event.item) }),
  "conversation.item.done": (state, event) => ({ transcript: putItem(state.transcript, event.item) }),
  "conversation.item.retrieved": (state, event) => ({
    transcript: change(state.transcript, event.item.id, (entry) => kept(entry, event.item)),
  }),
  "conversation.item.deleted": (state, event) => ({
    transcript: state.transcript.filter((entry) => entry.id !== event.item_id),
  }),
  "conversation.item.truncated": (state, event) => ({
    transcript: change(state.transcript, event.item_id, (entry) => ({
      interrupted: entry.interrupted ?? "speech",
      heardMs: event.audio_end_ms,
      final: true,
    })),
  }),

  "response.created": (_, event) => ({ activeResponse: event.response?.id ?? null }),
  "response.output_item.added": (state, event) => ({
    transcript: putItem(state.transcript, event.item, event.response_id),
  }),
  "response.output_audio_transcript.delta": agentDelta,
  "response.output_text.delta": agentDelta,
  "response.output_audio_transcript.done": (state, event) => agentText(state, event, event.transcript),
  "response.output_text.done": (state, event) => agentText(state, event, event.text),
  "response.function_call_arguments.done": (state, event) => ({
    transcript: put(state.transcript, event.item_id, {
      role: "tool",
      text: `${event.name}(${event.arguments === "{}" ? "" : event.arguments})`,
      final: true,
      responseId: event.response_id,
    }),
  }),
  "response.done": responseDone,

  "output_audio_buffer.started": (_, event) => ({ agentSpeaking: true, playingResponse: event.response_id }),
  "output_audio_buffer.stopped": () => ({ agentSpeaking: false, playingResponse: null }),
  "output_audio_buffer.cleared": (state, event) => ({
    agentSpeaking: false,
    playingResponse: null,
    transcript: interrupt(state.transcript, event.response_id, "speech"),
  }),

  // A stop that arrives as the answer ends is refused by the server; for the person it worked.
  error: (_, event) =>
    event.error?.code === "response_cancel_not_active" ? {} : { error: event.error ?? {} },
};

/** An answer as the gateway has kept it: if that is less than was written here, no more of it was heard. */
function kept(entry, item) {
  const text = (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join("");
  const isCut = entry.role === "agent" && text.length < entry.text.length;
  return isCut ? { text, interrupted: "loss", final: true } : {};
}

function agentDelta(state, event) {
  const fields = { role: "agent", responseId: event.response_id };
  return { transcript: append(state.transcript, event.item_id, event.delta, fields) };
}

function agentText(state, event, text) {
  const fields = { role: "agent", responseId: event.response_id, final: true };
  if (text) fields.text = text;
  return { transcript: put(state.transcript, event.item_id, fields) };
}

function responseDone(state, { response }) {
  const details = response?.status_details;
  const changed = { activeResponse: state.activeResponse === response?.id ? null : state.activeResponse };
  const finished = state.transcript.map((entry) =>
    entry.responseId === response?.id && !entry.final ? { ...entry, final: true } : entry,
  );
  if (response?.status === "cancelled") {
    const by = details?.reason === "client_cancelled" ? "stop" : "speech";
    return { ...changed, transcript: interrupt(finished, response.id, by) };
  }
  if (response?.status === "failed") {
    return { ...changed, transcript: finished, error: { type: "server_error", ...details?.error } };
  }
  return { ...changed, transcript: finished };
}

/**
 * Writes what an item says. Text that was already shown is kept when the item carries none (speech items do).
 */
function putItem(transcript, item, responseId) {
  if (item?.type !== "message" || !["user", "assistant"].includes(item.role)) return transcript;
  const text = (item.content ?? [])
    .map((part) => part.text ?? part.transcript ?? "")
    .join(" ")
    .trim();
  const fields = { role: item.role === "user" ? "user" : "agent" };
  if (responseId) fields.responseId = responseId;
  const known = transcript.find((entry) => entry.id === item.id);
  if (text && !known?.text) Object.assign(fields, { text, final: true });
  return put(transcript, item.id, fields);
}

/** Marks the last answer of `responseId`. Earlier items of it were heard to their end. */
function interrupt(transcript, responseId, by) {
  const cut = transcript.findLast((entry) => entry.role === "agent" && entry.responseId === responseId);
  if (!responseId || !cut) return transcript;
  return change(transcript, cut.id, (entry) => ({ interrupted: entry.interrupted ?? by, final: true }));
}

function put(transcript, id, fields) {
  if (!id) return transcript;
  if (transcript.some((entry) => entry.id === id)) return change(transcript, id, () => fields);
  return [...transcript, { id, text: "", final: false, interrupted: null, ...fields }];
}

function append(transcript, id, delta, fields) {
  const written = put(transcript, id, fields);
  return change(written, id, (entry) => ({ text: entry.text + delta }));
}

function change(transcript, id, edit) {
  return transcript.map((entry) => (entry.id === id ? { ...entry, ...edit(entry) } : entry));
}
