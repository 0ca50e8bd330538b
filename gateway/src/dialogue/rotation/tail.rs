//! The end of the conversation that nothing has answered yet.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, TurnOwner};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::{ResponseOptions, SessionSettings};

/// Audio kept while nobody speaks as far as the provider knows: the beginning of a turn it has not noticed yet.
const LISTENING: Duration = Duration::from_secs(1);

/// Audio kept of a turn. At 24 kHz it weighs 1.4 MiB; longer turns lose their beginning.
const SPEAKING: Duration = Duration::from_secs(30);

/// Audio that travels in one command.
const PIECE: Duration = Duration::from_secs(1);

/// Commands other than audio that are kept.
const MOST_COMMANDS: usize = 64;

#[derive(Debug)]
enum Kept {
    Audio(Pcm),
    Commit {
        item_id: ItemId,
        is_silence: bool,
        /// The provider made the item; only its answer is to come.
        is_taken: bool,
    },
    Create(Box<ResponseOptions>),
}

/// The last audio and what was asked for.
#[derive(Debug)]
pub(super) struct Tail {
    owner: TurnOwner,
    /// The provider finds the turns in everything it hears.
    hears_turns: bool,
    /// And answers them.
    answers_turns: bool,
    is_speaking: bool,
    kept: VecDeque<Kept>,
    /// Commits that were sent twice: the session knows of them.
    repeated: Vec<ItemId>,
}

impl Tail {
    pub(super) fn new(owner: TurnOwner, settings: &SessionSettings) -> Self {
        let mut tail = Self {
            owner,
            hears_turns: false,
            answers_turns: false,
            is_speaking: false,
            kept: VecDeque::new(),
            repeated: Vec::new(),
        };
        tail.configure(settings);
        tail
    }

    pub(super) fn configure(&mut self, settings: &SessionSettings) {
        let detection = settings.input.turn_detection.as_ref();
        self.hears_turns = self.owner == TurnOwner::Provider && detection.is_some();
        self.answers_turns = self.hears_turns && detection.is_some_and(|turn| turn.creates_response());
    }

    pub(super) fn command(&mut self, command: &BridgeCommand) {
        match command {
            BridgeCommand::Audio(pcm) => self.keep_audio(pcm),
            BridgeCommand::CommitInput { item_id, is_silence } => {
                let (item_id, is_silence) = (item_id.clone(), *is_silence);
                self.keep(Kept::Commit { item_id, is_silence, is_taken: false });
            }
            BridgeCommand::ClearInput => {
                self.is_speaking = false;
                while matches!(self.kept.back(), Some(Kept::Audio(_))) {
                    self.kept.pop_back();
                }
            }
            BridgeCommand::CreateResponse(options) => self.keep(Kept::Create(options.clone())),
            _ => {}
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push_back(kept);
        while self.kept.iter().filter(|kept| !matches!(kept, Kept::Audio(_))).count() > MOST_COMMANDS {
            self.kept.pop_front();
        }
    }

    fn keep_audio(&mut self, pcm: &Pcm) {
        match self.kept.back_mut() {
            Some(Kept::Audio(last)) if last.duration() < PIECE => {
                last.samples.extend_from_slice(&pcm.samples)
            }
            _ => self.kept.push_back(Kept::Audio(pcm.clone())),
        }
        let is_listening = self.hears_turns && !self.is_speaking && !self.asks() && !self.waits_for_commit();
        let limit = if is_listening { LISTENING } else { SPEAKING };
        let mut excess = self.audio().saturating_sub(limit);
        // Whole pieces go, so that no time is spent on moving samples.
        while let Some(index) = self.kept.iter().position(|kept| matches!(kept, Kept::Audio(_)))
            && let Some(Kept::Audio(oldest)) = self.kept.get(index)
            && oldest.duration() <= excess
        {
            excess -= oldest.duration();
            self.kept.remove(index);
        }
    }

    /// False if the session knows it already.
    pub(super) fn event(&mut self, event: &BridgeEvent) -> bool {
        match event {
            BridgeEvent::SpeechStarted { .. } => self.is_speaking = true,
            BridgeEvent::InputCommitted { item_id } => {
                self.is_speaking = false;
                if let Some(index) = self.repeated.iter().position(|repeated| repeated == item_id) {
                    self.repeated.remove(index);
                    return false;
                }
                self.committed(item_id);
            }
            BridgeEvent::InputTranscriptDone { item_id, .. } | BridgeEvent::InputWords { item_id, .. } => {
                self.recognised(item_id);
            }
            BridgeEvent::ResponseStarted { .. } => self.answered(),
            // The provider refused what it was asked for.
            BridgeEvent::Fault(_) => {
                if let Some(index) = self.kept.iter().position(|kept| matches!(kept, Kept::Create(_))) {
                    self.kept.remove(index);
                }
            }
            _ => {}
        }
        true
    }

    fn committed(&mut self, committed: &ItemId) {
        let mut own = self.kept.iter_mut().filter_map(|kept| match kept {
            Kept::Commit { item_id, is_taken, .. } if item_id == committed => Some(is_taken),
            _ => None,
        });
        match own.next() {
            Some(is_taken) => *is_taken = true,
            // A turn the provider found and does not answer by itself: heard again, it would be found again.
            None if self.hears_turns && !self.answers_turns => self.drop_heard(self.kept.len()),
            None => {}
        }
    }

    /// The words of a turn stand in the conversation, which is handed on whole.
    fn recognised(&mut self, item_id: &ItemId) {
        let is_it = |kept: &Kept| matches!(kept, Kept::Commit { item_id: known, .. } if known == item_id);
        match self.kept.iter().position(is_it) {
            Some(index) => self.drop_heard(index + 1),
            None if self.hears_turns && !self.is_speaking => self.drop_heard(self.kept.len()),
            None => {}
        }
    }

    /// Drops audio and commits among the first.
    fn drop_heard(&mut self, first: usize) {
        let mut index = 0;
        self.kept.retain(|kept| {
            index += 1;
            index > first || matches!(kept, Kept::Create(_))
        });
    }

    /// An answer began: what it answers need not be said again.
    fn answered(&mut self) {
        match self.kept.iter().position(|kept| matches!(kept, Kept::Create(_))) {
            Some(index) => drop(self.kept.drain(..=index)),
            None if !self.is_speaking => self.kept.clear(),
            None => {}
        }
    }

    /// Whether an answer was asked for that has not begun.
    pub(super) fn asks(&self) -> bool {
        self.kept.iter().any(|kept| matches!(kept, Kept::Create(_)))
    }

    /// Whether the provider has a turn to make an item of.
    pub(super) fn waits_for_commit(&self) -> bool {
        self.kept.iter().any(|kept| matches!(kept, Kept::Commit { is_taken: false, .. }))
    }

    /// How much audio is kept.
    pub(super) fn audio(&self) -> Duration {
        let length = |kept: &Kept| if let Kept::Audio(pcm) = kept { pcm.duration() } else { Duration::ZERO };
        self.kept.iter().map(length).sum()
    }

    /// Everything kept, for another connection. It stays kept: that connection may end as well.
    pub(super) fn repeat(&mut self) -> Vec<BridgeCommand> {
        let mut commands = Vec::new();
        self.repeated.clear();
        for kept in &self.kept {
            commands.push(match kept {
                Kept::Audio(pcm) => BridgeCommand::Audio(pcm.clone()),
                Kept::Commit { item_id, is_silence, is_taken } => {
                    if *is_taken {
                        self.repeated.push(item_id.clone());
                    }
                    BridgeCommand::CommitInput { item_id: item_id.clone(), is_silence: *is_silence }
                }
                Kept::Create(options) => BridgeCommand::CreateResponse(options.clone()),
            });
        }
        commands
    }
}
