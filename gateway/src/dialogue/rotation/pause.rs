//! Whether a conversation pauses: nobody speaks, nothing is asked for and nothing is on its way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, OutputPart, TurnOwner};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::settings::SessionSettings;

use super::tail::Tail;

/// Longest wait for the words of a turn. Recognisers need up to 2 s.
const TRANSCRIPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for what a provider does by itself at the end of a turn: the commit, the answer.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(2);

/// An answer is over this long after its audio, so that it can still be cut where it was made.
const AFTER_PLAYBACK: Duration = Duration::from_millis(500);

/// Turns whose words are waited for.
const MOST_TRANSCRIPTS: usize = 16;

/// A gateway that finds the turns sends audio during turns only; without any for this long there is none.
const NO_MORE_SPEECH: Duration = Duration::from_secs(1);

/// Most answers that run side by side.
const MOST_OPEN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    None,
    Going,
    /// It is over at this time if nothing follows: it ended and the commit is to come, or audio comes no more.
    Until(Instant),
}

/// What goes on.
#[derive(Debug)]
pub(super) struct Pause {
    owner: TurnOwner,
    always_transcribes: bool,
    transcribes: bool,
    answers_turns: bool,
    sends_turns_only: bool,
    open: Vec<ResponseId>,
    speech: Speech,
    transcripts: VecDeque<(ItemId, Instant)>,
    /// The provider answers the turn by itself; it was committed at this time.
    owed: Option<Instant>,
    /// When the audio received so far has been heard, if nothing cuts it off.
    playing_until: Option<Instant>,
}

impl Pause {
    pub(super) fn new(traits: BridgeTraits, settings: &SessionSettings) -> Self {
        let mut pause = Self {
            owner: traits.turn_owner,
            always_transcribes: traits.transcribes,
            transcribes: false,
            answers_turns: false,
            sends_turns_only: false,
            open: Vec::new(),
            speech: Speech::None,
            transcripts: VecDeque::new(),
            owed: None,
            playing_until: None,
        };
        pause.configure(settings);
        pause
    }

    pub(super) fn configure(&mut self, settings: &SessionSettings) {
        self.transcribes = self.always_transcribes || settings.input.transcription.is_some();
        let detection = settings.input.turn_detection.as_ref();
        let creates = detection.is_some_and(|turn| turn.creates_response());
        self.answers_turns = self.owner == TurnOwner::Provider && creates;
        self.sends_turns_only = self.owner == TurnOwner::Gateway && detection.is_some();
    }

    pub(super) fn command(&mut self, now: Instant, command: &BridgeCommand) {
        match command {
            BridgeCommand::Audio(_) if self.sends_turns_only => {
                self.speech = Speech::Until(now + NO_MORE_SPEECH);
            }
            BridgeCommand::CommitInput { .. } | BridgeCommand::ClearInput => self.speech = Speech::None,
            // The client plays no more.
            BridgeCommand::Truncate { .. } => self.playing_until = None,
            _ => {}
        }
    }

    pub(super) fn event(&mut self, now: Instant, event: &BridgeEvent) {
        match event {
            BridgeEvent::SpeechStarted { .. } => {
                self.speech = Speech::Going;
                self.playing_until = None;
            }
            BridgeEvent::SpeechStopped { .. } => self.speech = Speech::Until(now + PROVIDER_TIMEOUT),
            BridgeEvent::Output { part: OutputPart::Audio(pcm), .. } => {
                let since = self.playing_until.map_or(now, |until| until.max(now));
                self.playing_until = Some(since + pcm.duration());
            }
            BridgeEvent::InputCommitted { item_id } => {
                if self.owner == TurnOwner::Provider {
                    self.speech = Speech::None;
                }
                if self.transcribes && self.transcripts.len() < MOST_TRANSCRIPTS {
                    self.transcripts.push_back((item_id.clone(), now));
                }
                self.owed = self.answers_turns.then_some(now);
            }
            BridgeEvent::InputTranscriptDone { item_id, .. }
            | BridgeEvent::InputWords { item_id, .. }
            | BridgeEvent::InputTranscriptFailed { item_id, .. } => {
                self.transcripts.retain(|(waiting, _)| waiting != item_id);
            }
            BridgeEvent::ResponseStarted { response_id } => {
                self.owed = None;
                if self.open.len() < MOST_OPEN {
                    self.open.push(response_id.clone());
                }
            }
            BridgeEvent::ResponseDone { response_id, .. } => self.open.retain(|open| open != response_id),
            _ => {}
        }
    }

    /// The answers in progress, which end with the connection.
    pub(super) fn take_open(&mut self) -> Vec<ResponseId> {
        std::mem::take(&mut self.open)
    }

    /// Whether a turn waits for an answer that the provider would have begun by itself.
    pub(super) fn take_owed(&mut self) -> bool {
        self.owed.take().is_some()
    }

    pub(super) fn is_quiet(&self, now: Instant, tail: &Tail) -> bool {
        self.quiet_at(now, tail).is_some_and(|at| at <= now)
    }

    /// When the conversation pauses if nothing happens before; never while something goes on that ends with an event.
    pub(super) fn quiet_at(&self, now: Instant, tail: &Tail) -> Option<Instant> {
        if !self.open.is_empty() || tail.asks() || tail.waits_for_commit() {
            return None;
        }
        let speech = match self.speech {
            Speech::Going => return None,
            Speech::Until(at) => Some(at),
            Speech::None => None,
        };
        let owed = self.owed.map(|since| since + PROVIDER_TIMEOUT);
        let transcript = self.transcripts.back().map(|(_, since)| *since + TRANSCRIPT_TIMEOUT);
        let playback = self.playing_until.map(|until| until + AFTER_PLAYBACK);
        [speech, owed, transcript, playback].into_iter().flatten().max().or(Some(now))
    }
}
