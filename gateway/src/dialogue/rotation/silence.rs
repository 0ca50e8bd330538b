//! Whether an answer is owed and nothing of it comes.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, OutputPart, TurnOwner};
use voxgate_protocol::id::ResponseId;
use voxgate_protocol::settings::SessionSettings;

/// Most answers that run side by side.
const MOST_OPEN: usize = 64;

/// Watches over the answers of one connection. What an answer is made of counts: sound, text, the arguments of a tool
/// call. Its transcript alone does not, since nobody hears it.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    owner: TurnOwner,
    answers_turns: bool,
    open: Vec<ResponseId>,
    /// The last sign of an answer that is owed, or the end of what was made of it if that is later.
    since: Option<Instant>,
}

impl Silence {
    pub(super) fn new(limit: Duration, traits: BridgeTraits, settings: &SessionSettings) -> Self {
        let owner = traits.turn_owner;
        let mut silence = Self { limit, owner, answers_turns: false, open: Vec::new(), since: None };
        silence.configure(settings);
        silence
    }

    pub(super) fn configure(&mut self, settings: &SessionSettings) {
        let detection = settings.input.turn_detection.as_ref();
        self.answers_turns =
            self.owner == TurnOwner::Provider && detection.is_some_and(|turn| turn.creates_response());
    }

    pub(super) fn command(&mut self, now: Instant, command: &BridgeCommand) {
        match command {
            BridgeCommand::CreateResponse(_) => self.owe(now),
            BridgeCommand::CancelResponse { .. } => self.forget(),
            _ => {}
        }
    }

    pub(super) fn event(&mut self, now: Instant, event: &BridgeEvent) {
        match event {
            BridgeEvent::InputCommitted { .. } if self.answers_turns => self.owe(now),
            // The caller speaks: whoever was to answer waits.
            BridgeEvent::SpeechStarted { .. } => self.forget(),
            BridgeEvent::ResponseStarted { response_id } => {
                if self.open.len() < MOST_OPEN {
                    self.open.push(response_id.clone());
                }
                self.owe(now);
            }
            BridgeEvent::Output { part: OutputPart::Audio(pcm), .. } => {
                self.since = self.since.map(|since| since.max(now) + pcm.duration());
            }
            BridgeEvent::Output { part: OutputPart::Text(_) | OutputPart::ToolArguments { .. }, .. } => {
                self.since = self.since.map(|since| since.max(now));
            }
            // What was asked for was refused, so nobody owes it.
            BridgeEvent::Fault(_) if self.open.is_empty() => self.forget(),
            BridgeEvent::ResponseDone { response_id, .. } => {
                self.open.retain(|open| open != response_id);
                if self.open.is_empty() {
                    self.since = None;
                }
            }
            _ => {}
        }
    }

    fn owe(&mut self, now: Instant) {
        self.since = Some(self.since.map_or(now, |since| since.max(now)));
    }

    /// Nothing is owed any more, or nobody can mend it.
    pub(super) fn forget(&mut self) {
        self.since = None;
    }

    /// Another connection answers from now on; what was asked of the last one is asked of it.
    pub(super) fn moved(&mut self, now: Instant, is_owed: bool) {
        self.open.clear();
        self.since = is_owed.then_some(now);
    }

    /// When the silence is too long, if nothing comes before.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + self.limit)
    }
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::audio::{Pcm, SampleRate};
    use voxgate_protocol::bridge::{Fault, FaultOwner, ResponseStatus};
    use voxgate_protocol::settings::{ServerVad, TurnDetection};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: SampleRate = SampleRate::HZ_24000;

    fn silence() -> Silence {
        let traits = BridgeTraits {
            input_rate: RATE,
            output_rate: RATE,
            turn_owner: TurnOwner::Provider,
            truncates: true,
            transcribes: false,
        };
        let mut settings = SessionSettings::default();
        settings.input.turn_detection = Some(TurnDetection::ServerVad(ServerVad::default()));
        Silence::new(5 * SECOND, traits, &settings)
    }

    fn output(part: OutputPart) -> BridgeEvent {
        BridgeEvent::Output { response_id: "r".into(), item_id: "a".into(), part }
    }

    fn started() -> BridgeEvent {
        BridgeEvent::ResponseStarted { response_id: "r".into() }
    }

    #[test]
    fn an_answer_that_is_owed_and_never_begins_is_silence() {
        let (now, mut silence) = (Instant::now(), silence());
        assert_eq!(silence.due_at(), None);
        silence.command(now, &BridgeCommand::CreateResponse(Box::default()));
        assert_eq!(silence.due_at(), Some(now + 5 * SECOND));
        silence.command(now, &BridgeCommand::CancelResponse { response_id: None });
        assert_eq!(silence.due_at(), None);
        silence.event(now, &BridgeEvent::InputCommitted { item_id: "u".into() });
        assert_eq!(silence.due_at(), Some(now + 5 * SECOND));
    }

    #[test]
    fn a_question_that_is_refused_is_not_owed_an_answer() {
        let (now, mut silence) = (Instant::now(), silence());
        silence.command(now, &BridgeCommand::CreateResponse(Box::default()));
        let refused = Fault {
            owner: FaultOwner::Client,
            code: "invalid_value".to_owned(),
            message: String::new(),
            may_retry: false,
            may_switch: false,
            is_final: false,
        };
        silence.event(now, &BridgeEvent::Fault(refused.clone()));
        assert_eq!(silence.due_at(), None);
        // A refusal beside an answer that goes on does not excuse the answer.
        silence.event(now, &started());
        silence.event(now, &BridgeEvent::Fault(refused));
        assert_eq!(silence.due_at(), Some(now + 5 * SECOND));
    }

    #[test]
    fn what_is_left_to_play_is_no_silence_and_words_nobody_hears_are_no_sound() {
        let (now, mut silence) = (Instant::now(), silence());
        silence.event(now, &started());
        silence.event(now + SECOND, &output(OutputPart::Audio(Pcm::silence(RATE, 3 * SECOND))));
        silence.event(now + SECOND, &output(OutputPart::Audio(Pcm::silence(RATE, 3 * SECOND))));
        assert_eq!(silence.due_at(), Some(now + 12 * SECOND));
        silence.event(now + 8 * SECOND, &output(OutputPart::Transcript("and so".to_owned())));
        assert_eq!(silence.due_at(), Some(now + 12 * SECOND));
        let arguments =
            OutputPart::ToolArguments { call_id: "c".into(), name: "end".to_owned(), delta: "{".to_owned() };
        silence.event(now + 9 * SECOND, &output(arguments));
        assert_eq!(silence.due_at(), Some(now + 14 * SECOND));
        let status = ResponseStatus::Completed;
        silence.event(now, &BridgeEvent::ResponseDone { response_id: "r".into(), status, usage: None });
        assert_eq!(silence.due_at(), None);
    }
}
