//! What is written down of a session.

use serde_json::Value;
use voxgate_policy::guardrail::{Act, Detector, Direction, Rule};
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{Fault, FaultOwner, OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Item, ItemKind, ItemStatus, Position};
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};
use voxgate_protocol::settings::{InputSettings, ServerVad, TurnDetection};
use voxgate_providers::bridge::StampedEvent;
use voxgate_telemetry::session::SessionRecord;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A session whose provider finds the turns, in virtual time.
struct Stage {
    dialogue: Dialogue,
    far: BridgeEnds,
    record: SessionRecord,
    now: Instant,
    /// Answers so far.
    answers: u32,
    _places: Places,
}

impl Stage {
    fn new(kind: Kind) -> Self {
        let places = places();
        let vad = TurnDetection::ServerVad(ServerVad::default());
        let input = InputSettings { turn_detection: Some(vad), ..InputSettings::default() };
        let settings = SessionSettings { input, ..kind.settings };
        let traits = BridgeTraits { turn_owner: TurnOwner::Provider, ..TRAITS };
        let (dialogue, far) = begun(&places, Kind { traits, settings, ..kind });
        let record = dialogue.presence.record().clone();
        let now = dialogue.presence.began();
        Self { dialogue, far, record, now, answers: 1, _places: places }
    }

    fn hear(&mut self, event: BridgeEvent) {
        self.far.events.blocking_send(StampedEvent { at: self.now, event }).unwrap();
        self.dialogue.handle_bridge(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        self.dialogue.drain(self.now, None, &mut Vec::new());
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.dialogue.poll_timeout(self.now).filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.dialogue.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn caller_says(&mut self, item: &str, words: &str) {
        let item_id = ItemId::from(item);
        let at = self.dialogue.presence.since_began(self.now);
        self.hear(BridgeEvent::SpeechStarted { item_id: item_id.clone(), at });
        self.pass(800 * MS);
        self.hear(BridgeEvent::SpeechStopped { item_id: item_id.clone(), at: at + 800 * MS });
        let (transcript, usage) = (words.to_owned(), None);
        self.hear(BridgeEvent::InputTranscriptDone { item_id, transcript, usage });
    }

    /// Begins an answer: two seconds of sound, and the words of it.
    fn agent_says(&mut self, words: &[&str]) {
        let (response_id, _) = self.answer();
        self.hear(BridgeEvent::ResponseStarted { response_id });
        for piece in words {
            self.output(OutputPart::Transcript((*piece).to_owned()));
        }
        let samples = vec![9_000; 32_000];
        self.output(OutputPart::Audio(Pcm { rate: SampleRate::HZ_16000, samples }));
    }

    fn answer(&self) -> (ResponseId, ItemId) {
        let number = self.answers;
        (ResponseId::from(format!("resp_{number}")), ItemId::from(format!("item_answer_{number}")))
    }

    fn output(&mut self, part: OutputPart) {
        let (response_id, item_id) = self.answer();
        self.hear(BridgeEvent::Output { response_id, item_id, part });
    }

    fn item_is_done(&mut self) {
        let (response_id, item_id) = self.answer();
        self.hear(BridgeEvent::OutputItemDone { response_id, item_id, status: ItemStatus::Completed });
    }

    fn answer_is_done(&mut self) {
        let (response_id, _) = self.answer();
        self.hear(BridgeEvent::ResponseDone { response_id, status: ResponseStatus::Completed, usage: None });
        self.answers += 1;
    }

    fn view(&self) -> Value {
        serde_json::to_value(self.record.view_since(0)).unwrap()
    }

    fn transcript(&self) -> Vec<(String, String)> {
        let view = self.view();
        let entries = view["transcript"].as_array().unwrap();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        entries.iter().map(|entry| (text(entry, "text"), text(entry, "state"))).collect()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let view = self.view();
        view["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).cloned().collect()
    }
}

fn keeping() -> Option<Recording> {
    Some(Recording { audio: false, keep: Duration::from_secs(60) })
}

fn said(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(text, state)| ((*text).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn no_word_is_written_down_of_a_session_whose_words_may_not_be_kept() {
    let mut stage = Stage::new(Kind::default());
    stage.caller_says("item_1", "a secret question");
    stage.agent_says(&["a secret ", "answer"]);
    stage.item_is_done();
    stage.output(OutputPart::ToolArguments {
        call_id: ToolCallId::from("call_1"),
        name: "look_up".to_owned(),
        delta: "{\"secret\":1}".to_owned(),
    });
    stage.hear(BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: "server_error".to_owned(),
        message: "something about the secret".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: false,
    }));
    stage.pass(3_000 * MS);
    let view = stage.view();
    assert_eq!(view["recording"], serde_json::json!({ "words": false, "voices": false }));
    assert!(!view.to_string().contains("secret"), "{view}");
    assert_eq!(stage.events("tool_call").len(), 1);
    assert_eq!(stage.events("error")[0]["detail"]["code"], "server_error");
}

#[test]
fn words_that_may_be_kept_are_written_down_as_they_come() {
    let mut stage = Stage::new(Kind { recording: keeping(), ..Kind::default() });
    stage.caller_says("item_1", "what time is it");
    stage.agent_says(&["It is ", "noon."]);
    assert_eq!(stage.transcript(), said(&[("what time is it", "complete"), ("It is noon.", "partial")]));
    stage.item_is_done();
    assert_eq!(stage.transcript()[1], ("It is noon.".to_owned(), "complete".to_owned()));
    assert!(!format!("{:?}", stage.record.view_since(0)).contains("noon"));
}

#[test]
fn an_answer_that_was_cut_is_written_down_as_far_as_it_was_heard() {
    let mut stage = Stage::new(Kind { recording: keeping(), ..Kind::default() });
    stage.agent_says(&["one two three four"]);
    stage.item_is_done();
    stage.pass(1_000 * MS);
    let (item_id, content_index) = (ItemId::from("item_answer_1"), 0);
    let cut = SessionCommand::Truncate { item_id, content_index, heard: 1_000 * MS };
    stage.dialogue.handle_command(stage.now, cut);
    stage.drain();
    assert_eq!(stage.transcript(), said(&[("one two", "cut")]));
}

fn guarded(word: &str, act: Act) -> Stage {
    let directions = vec![Direction::Caller, Direction::Agent];
    let detector = Detector::words([word]).unwrap();
    let rule = Rule { name: "rule".to_owned(), directions, detector, act };
    let guardrails = Arc::new(RuleSet::new(vec![rule]).unwrap());
    Stage::new(Kind { guardrails, recording: keeping(), ..Kind::default() })
}

#[test]
fn what_a_rule_hides_is_hidden_however_it_comes() {
    let mut stage = guarded("4711", Act::Mask);
    stage.caller_says("item_1", "my number is 4711 you know");
    stage.agent_says(&["your number is 47", "11 sir"]);
    assert_eq!(stage.transcript().len(), 1, "what is not whole cannot be looked through");
    stage.item_is_done();
    stage.answer_is_done();
    let view = stage.view().to_string();
    assert!(!view.contains("4711") && view.contains("your number is"), "{view}");
    assert_eq!(stage.events("guardrail")[0]["detail"]["act"], "mask");
}

#[test]
fn an_answer_that_is_taken_back_leaves_no_words() {
    let mut stage = guarded("lawsuit", Act::Replace { say: "I am sorry.".to_owned() });
    stage.agent_says(&["you could file a "]);
    assert_eq!(stage.transcript(), said(&[("you could file a ", "partial")]));
    stage.output(OutputPart::Transcript("lawsuit now".to_owned()));
    stage.item_is_done();
    stage.answer_is_done();
    assert_eq!(stage.transcript(), said(&[("", "cut")]));
    assert_eq!(stage.events("guardrail")[0]["detail"]["rule"], "rule");
}

#[test]
fn an_interruption_is_marked_with_its_stop_time_and_told_as_an_event() {
    let mut stage = Stage::new(Kind::default());
    stage.caller_says("item_1", "hello");
    stage.agent_says(&["one two three four"]);
    stage.pass(500 * MS);
    let at = stage.dialogue.presence.since_began(stage.now);
    stage.hear(BridgeEvent::SpeechStarted { item_id: ItemId::from("item_2"), at });
    let view = stage.view();
    let marks = view["marks"].as_array().unwrap();
    let kinds: Vec<_> =
        marks.iter().map(|mark| (mark["lane"].as_str().unwrap(), mark["kind"].as_str().unwrap())).collect();
    let expected =
        [("caller", "speech"), ("agent", "speech"), ("caller", "speech"), ("caller", "interruption")];
    assert_eq!(kinds, expected);
    assert!(marks[1]["until_ms"].is_number() && marks[2]["until_ms"].is_null());
    assert!(marks[3]["stop_ms"].is_number());
    assert_eq!((view["session"]["interruptions"].as_u64(), stage.events("interruption").len()), (Some(1), 1));
}

#[test]
fn levels_are_written_down_once_a_second_where_they_were_heard() {
    let mut stage = Stage::new(Kind::default());
    stage.pass(1_000 * MS);
    stage.agent_says(&[]);
    let samples = vec![9_000; 9_600];
    stage.pass(400 * MS);
    let audio = Pcm { rate: SampleRate::HZ_24000, samples };
    stage.dialogue.handle_command(stage.now, SessionCommand::AppendAudio(audio));
    stage.drain();
    let before = stage.record.revision();
    stage.pass(3_000 * MS);
    let view = serde_json::to_value(stage.record.view_since(before)).unwrap();
    let levels = &view["levels"];
    let from = levels["from_ms"].as_u64().unwrap() / 100;
    let loud = |lane: &str| -> Vec<u64> {
        let values = levels[lane].as_array().unwrap().iter().enumerate();
        values.filter(|(_, level)| level.as_u64().unwrap() > 50).map(|(step, _)| from + step as u64).collect()
    };
    assert_eq!(loud("caller"), [10, 11, 12, 13]);
    assert_eq!(loud("agent"), (10..30).collect::<Vec<_>>());
    let duration = view["session"]["duration_ms"].as_f64().unwrap();
    assert!((3_400.0..=4_400.0).contains(&duration), "{duration}");
}

#[test]
fn a_tool_call_is_told_once_and_with_its_end() {
    let mut stage = Stage::new(Kind::default());
    stage.hear(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    let call_id = ToolCallId::from("call_1");
    for delta in ["{\"city\":", "\"Bonn\"}"] {
        let (name, delta) = ("weather".to_owned(), delta.to_owned());
        stage.output(OutputPart::ToolArguments { call_id: call_id.clone(), name, delta });
    }
    stage.item_is_done();
    stage.answer_is_done();
    assert_eq!(stage.events("tool_call").len(), 1);
    stage.pass(700 * MS);
    let kind = ItemKind::ToolOutput { call_id, output: "rain".to_owned() };
    let item = Item { id: ItemId::from("item_out"), status: ItemStatus::Completed, kind };
    let command = SessionCommand::CreateItem { item, position: Position::Last };
    stage.dialogue.handle_command(stage.now, command);
    stage.drain();
    let tool = &stage.events("tool_call")[0];
    assert_eq!(tool["detail"]["tool"], "weather");
    assert!(tool["detail"]["until_ms"].as_f64().unwrap() >= tool["at_ms"].as_f64().unwrap() + 699.0);
    assert_eq!(stage.view()["session"]["answers"], 1);
}

#[test]
fn a_session_that_is_over_says_why() {
    let mut stage = Stage::new(Kind::default());
    stage.dialogue.open(stage.now);
    stage.pass(1_500 * MS);
    stage.dialogue.end(stage.now, EndReason::HungUp);
    stage.drain();
    let record = stage.record.clone();
    drop(stage);
    let view = serde_json::to_value(record.view_since(0)).unwrap();
    let session = &view["session"];
    assert_eq!((&session["state"], &session["end_reason"]), (&"ended".into(), &"hung_up".into()));
    let kinds: Vec<_> =
        view["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["connected", "ended"]);
}
