//! One client's connection: client events in, server events out.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::json;
use voxgate_protocol::conversation::{Content, ItemKind};
use voxgate_protocol::id::{ConversationId, ItemId, SessionId};
use voxgate_protocol::session::{EndReason, SessionEvent};
use voxgate_protocol::settings::SessionSettings;

use crate::allowed_events::{AllowedEvents, EventKind};
use crate::asker::{Asker, Origin, SidebandId};
use crate::context::{self, ContextItem};
use crate::conversation::Conversation;
use crate::error::{ApiError, ErrorKind};
use crate::input::Input;
use crate::limits;
use crate::outbox::{AdapterOutput, Outbox};
use crate::parked::ParkedConversation;
use crate::session_object;

mod answer;
mod answers;
mod caller;
mod client;
mod fault;
mod playback;
mod sidebands;

use answers::Answers;

/// How the client is connected, which decides how audio travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Audio as RTP, events on the data channel `oai-events`. The gateway keeps the playout clock.
    WebRtc,
    /// Audio as base64 in events. The client keeps the playout clock.
    WebSocket,
}

/// The longest session of the API.
const LONGEST_SESSION: Duration = Duration::from_secs(60 * 60);

/// What the API says when a session ends at its maximum duration: the message of `session_expired`, and the reason of
/// the close frame with code 1001.
#[must_use]
pub fn maximum_duration_reached(max_duration: Duration) -> String {
    let (minutes, seconds) = (max_duration.as_secs() / 60, max_duration.as_secs() % 60);
    match (minutes, seconds) {
        (1, 0) => "Your session hit the maximum duration of 1 minute.".to_owned(),
        (minutes, 0) => format!("Your session hit the maximum duration of {minutes} minutes."),
        (minutes, seconds) => {
            format!("Your session hit the maximum duration of {} seconds.", minutes * 60 + seconds)
        }
    }
}

/// The Realtime API side of one session.
///
/// # What it expects of the session core
/// - Every `CreateResponse` is answered by `ResponseStarted` or by a `Fault`, in the order asked. Until then a
///   second request of the client is refused.
/// - Every `CommitInput` is answered by `InputCommitted` or `InputEmpty`, every `ClearInput` by `InputCleared`, every
///   `Truncate` by `ItemTruncated`.
/// - Audio in `Output` is PCM at 24 kHz for a WebSocket client.
///
/// What it does not expect is tolerated: pieces of unknown or finished responses are dropped, a response that
/// begins while another is written ends the other, and whatever is still open when the session ends is closed.
pub struct Adapter {
    kind: ClientKind,
    session_id: SessionId,
    settings: SessionSettings,
    expires_at_unix: u64,
    conversation_id: ConversationId,
    outbox: Outbox,
    conversation: Conversation,
    input: Input,
    answers: Answers,
    /// Connections beside the client's own.
    sidebands: Vec<SidebandId>,
    /// What the client itself may send; none means everything.
    allowed: Option<AllowedEvents>,
    max_duration: Duration,
    /// The agent was heard, which fixes its voice.
    has_spoken: bool,
    /// A final fault was reported, so the end needs no second error.
    has_reported_end: bool,
    has_ended: bool,
    /// The code of what was refused last, until somebody asks.
    refused: Option<Cow<'static, str>>,
}

/// Shows no words.
impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter")
            .field("kind", &self.kind)
            .field("session_id", &self.session_id)
            .field("items", &self.conversation.len())
            .finish_non_exhaustive()
    }
}

impl Adapter {
    /// A session whose channel to the client is not open yet. `expires_at_unix` is in seconds; the seed decides
    /// every id minted here.
    #[must_use]
    pub fn new(
        kind: ClientKind,
        session_id: SessionId,
        settings: SessionSettings,
        expires_at_unix: u64,
        seed: u64,
    ) -> Self {
        let mut outbox = Outbox::new(seed);
        Self {
            kind,
            session_id,
            settings,
            expires_at_unix,
            conversation_id: ConversationId::from_random(outbox.next_bits()),
            outbox,
            conversation: Conversation::default(),
            input: Input::default(),
            answers: Answers::default(),
            sidebands: Vec::new(),
            allowed: None,
            max_duration: LONGEST_SESSION,
            has_spoken: false,
            has_reported_end: false,
            has_ended: false,
            refused: None,
        }
    }

    /// Goes on with the conversation another session left behind. The settings are those this session was made with.
    #[must_use]
    pub fn resuming(mut self, parked: ParkedConversation) -> Self {
        self.conversation_id = parked.conversation_id;
        self.conversation = parked.conversation;
        self.has_spoken = parked.has_spoken;
        self
    }

    /// What the session leaves to the next one of the same client. To be asked when the session has ended; its own
    /// conversation is empty afterwards.
    #[must_use]
    pub fn park(&mut self) -> ParkedConversation {
        ParkedConversation {
            settings: self.settings.clone(),
            conversation_id: self.conversation_id.clone(),
            conversation: std::mem::take(&mut self.conversation),
            has_spoken: self.has_spoken,
        }
    }

    /// Tells how long the session may last, for the words at its end.
    #[must_use]
    pub const fn lasting(mut self, max_duration: Duration) -> Self {
        self.max_duration = max_duration;
        self
    }

    /// Binds the client itself, not its sideband connections, to some of the client events.
    #[must_use]
    pub fn allowing(mut self, allowed: Option<AllowedEvents>) -> Self {
        self.allowed = allowed;
        self
    }

    /// The settings in effect.
    #[must_use]
    pub const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// The conversation as a new connection to a model can be given it: every item in order, with its form in words, or
    /// without one if it has none or lies too far back.
    #[must_use]
    pub fn context(&self) -> Vec<ContextItem> {
        context::of(self.conversation.items_with_words())
    }

    /// The words of a message as it stands, without those of the agent that were not heard. `None` for what is no
    /// message of the conversation, and for speech of which no words are known.
    #[must_use]
    pub fn words_of(&self, id: &ItemId) -> Option<String> {
        let item = match self.answers.written(id) {
            Some(written) => written.item(),
            None => self.conversation.get(id)?.clone(),
        };
        let ItemKind::Message { content, .. } = item.kind else { return None };
        let words = content.into_iter().filter_map(|part| match part {
            Content::InputText(text) | Content::OutputText(text) => Some(text),
            Content::InputAudio { transcript } => transcript,
            Content::OutputAudio { transcript } => Some(transcript),
            Content::InputImage { .. } => None,
        });
        words.reduce(|all, part| all + " " + &part)
    }

    /// The names of the conversation's items, in order.
    pub fn item_ids(&self) -> impl Iterator<Item = &ItemId> {
        self.conversation.ids()
    }

    /// The channel to the client is open: `session.created` is sent, then what happened before, in order. A second
    /// call does nothing. If more than 1 MiB of events waited, the client starts with what comes from now on.
    pub fn open(&mut self) {
        let session = self.session_json();
        self.outbox.open("session.created", json!({"session": session}));
    }

    /// What to do next, until `None`.
    pub fn poll_output(&mut self) -> Option<AdapterOutput> {
        self.outbox.pop()
    }

    /// The code of the last `error` event since this was asked before, if there was one.
    pub const fn take_refused(&mut self) -> Option<Cow<'static, str>> {
        self.refused.take()
    }

    /// One message of the client. Anything unacceptable is answered with an `error` event that repeats the client's
    /// `event_id`.
    pub fn handle_text(&mut self, text: &str) {
        self.take_text(Origin::Client, text);
    }

    fn take_text(&mut self, origin: Origin, text: &str) {
        if self.has_ended {
            return;
        }
        if let Err(refusal) = limits::check(text, limits::longest_message(self.kind)) {
            self.refuse(Some(Asker { origin, event_id: None }), &refusal);
            return;
        }
        let envelope = crate::client_event::parse(text);
        let asker = Asker { origin, event_id: envelope.event_id };
        let done = match envelope.kind.filter(|kind| !self.may_send(origin, *kind)) {
            Some(kind) => Err(ApiError::event_not_allowed(kind.name())),
            None => envelope.event.and_then(|event| self.execute(asker.clone(), event)),
        };
        if let Err(refusal) = done {
            self.refuse(Some(asker), &refusal);
        }
    }

    fn may_send(&self, origin: Origin, kind: EventKind) -> bool {
        origin != Origin::Client || self.allowed.as_ref().is_none_or(|allowed| allowed.has(kind))
    }

    /// One event of the session core. Nothing is taken after the end of the session.
    pub fn handle_event(&mut self, event: SessionEvent) {
        if self.has_ended {
            return;
        }
        match event {
            SessionEvent::SpeechStarted { item_id, at } => self.speech_started(&item_id, at),
            SessionEvent::SpeechStopped { item_id, at } => self.speech_stopped(&item_id, at),
            SessionEvent::InputCommitted { item_id } => self.input_committed(item_id),
            SessionEvent::InputCleared => self.outbox.event("input_audio_buffer.cleared", json!({})),
            SessionEvent::InputTimedOut { item_id, from, to } => self.input_timed_out(&item_id, from, to),
            SessionEvent::InputEmpty => self.input_empty(),
            SessionEvent::InputTranscriptDelta { item_id, delta } => self.transcript_delta(&item_id, &delta),
            SessionEvent::InputTranscriptDone { item_id, transcript, usage } => {
                self.transcript_done(&item_id, &transcript, usage);
            }
            SessionEvent::InputWords { item_id, words } => self.input_words(&item_id, words),
            SessionEvent::InputTranscriptFailed { item_id, message } => {
                self.transcript_failed(&item_id, &message);
            }
            SessionEvent::ResponseStarted { response_id, is_for_turn } => {
                self.response_started(response_id, is_for_turn);
            }
            SessionEvent::ResponseRefused { fault, is_for_turn } => {
                self.response_refused(&fault, is_for_turn);
            }
            SessionEvent::Output { response_id, item_id, part } => self.output(&response_id, item_id, part),
            SessionEvent::OutputItemDone { response_id, item_id, status } => {
                self.output_item_done(&response_id, &item_id, status);
            }
            SessionEvent::ResponseDone { response_id, status, usage } => {
                self.response_done(response_id, &status, usage.as_ref());
            }
            SessionEvent::PlayoutStarted { response_id } => self.playout_started(response_id),
            SessionEvent::PlayoutStopped { response_id } => self.playout_stopped(&response_id),
            SessionEvent::PlayoutCleared { response_id } => self.playout_cleared(&response_id),
            SessionEvent::ItemTruncated { item_id, content_index, heard } => {
                self.item_truncated(&item_id, content_index, heard);
            }
            // The API has no event for it; the waterfall is published elsewhere.
            SessionEvent::TurnMeasured(_) => {}
            SessionEvent::Fault(fault) => self.fault(&fault),
            SessionEvent::Ended(reason) => self.ended(reason),
        }
    }

    fn session_json(&self) -> serde_json::Value {
        session_object::to_json(&self.settings, self.session_id.as_str(), self.expires_at_unix)
    }

    /// Tells whoever asked; what answers nobody in particular concerns everybody.
    fn refuse(&mut self, asker: Option<Asker>, refusal: &ApiError) {
        let Asker { origin, event_id } = asker.unwrap_or(Asker { origin: Origin::Client, event_id: None });
        if let Origin::Sideband(id) = origin
            && !self.sidebands.contains(&id)
        {
            // Who asked is gone, and nobody else did.
            return;
        }
        self.refused = Some(refusal.code.clone().unwrap_or(Cow::Borrowed("error")));
        let mut detail = refusal.detail();
        detail["event_id"] = json!(event_id);
        self.outbox.reply(origin, "error", json!({"error": detail}));
    }

    /// Announces an item that was just written to the conversation: `conversation.item.added`, or `.done` once it is
    /// complete. The predecessor is looked up, so the client can rebuild the order.
    fn announce_item(&mut self, kind: &'static str, id: &ItemId) {
        let Some(item) = self.conversation.get(id) else { return };
        let previous = self.conversation.previous(id).map(ItemId::as_str);
        let body = json!({"previous_item_id": previous, "item": crate::item::to_json(item)});
        self.outbox.event(kind, body);
    }

    fn ended(&mut self, reason: EndReason) {
        self.close_answers(reason);
        let refusal = match reason {
            EndReason::MaximumDuration => {
                Some(ApiError::session_expired(maximum_duration_reached(self.max_duration)))
            }
            EndReason::ProviderFailed if !self.has_reported_end => Some(ApiError::new(
                500,
                ErrorKind::Server,
                "provider_failed",
                "The provider of the model is gone.",
            )),
            EndReason::BudgetExhausted => Some(ApiError::insufficient_quota()),
            EndReason::RateLimited => Some(ApiError::rate_limit_exceeded(
                "The call was ended because its audio is over the limit of audio seconds per minute.",
            )),
            EndReason::InternalError => {
                Some(ApiError::server_error("The gateway made a mistake and had to end the call."))
            }
            EndReason::Drained => {
                let message = "The server is shutting down; connect again.";
                Some(ApiError::new(503, ErrorKind::Server, "server_shutting_down", message))
            }
            EndReason::KeyRevoked => Some(ApiError::account_deactivated()),
            EndReason::EndedByOperator => {
                let message = "The session was ended in the administration of this gateway.";
                Some(ApiError::new(403, ErrorKind::InvalidRequest, "session_ended_by_operator", message))
            }
            EndReason::Guardrail => {
                let message =
                    "The call was ended because something was said that this gateway does not allow.";
                Some(ApiError::new(400, ErrorKind::InvalidRequest, "content_policy_violation", message))
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refuse(None, &refusal);
        }
        self.has_ended = true;
    }
}
