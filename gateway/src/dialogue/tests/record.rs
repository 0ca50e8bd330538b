//! What is written down of a session.

use serde_json::Value;
use voxgate_policy::guardrail::{Act, Detector, Direction, Rule};
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{Fault, FaultOwner, OutputPart, ResponseStatus};
use voxgate_protocol::conversation::{Item, ItemKind, ItemStatus, Position};
use voxgate_protocol::id::{ItemId, ResponseId, ToolCallId};
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::settings::{InputSettings, ServerVad, TurnDetection};
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{Moment, TurnTrace, Work};
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
    /// `error` events the client was sent.
    errors: Vec<String>,
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
        Self { dialogue, far, record, now, answers: 1, errors: Vec::new(), _places: places }
    }

    fn hear(&mut self, event: BridgeEvent) {
        self.far.events.blocking_send(StampedEvent { at: self.now, event }).unwrap();
        self.dialogue.handle_bridge(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = Vec::new();
        self.dialogue.drain(self.now, None, &mut outputs);
        let wants_to_know = outputs.iter().any(|output| matches!(output, DialogueOutput::ConfirmSent));
        for output in outputs {
            let DialogueOutput::Text(text) = output else { continue };
            let event: Value = serde_json::from_str(&text).unwrap();
            if event["type"] == "error" {
                self.errors.push(event["error"]["code"].as_str().unwrap_or("error").to_owned());
            }
        }
        if wants_to_know {
            self.dialogue.handle_sent(self.now);
            self.drain();
        }
    }

    /// What the record says in so many words, without the beginning and the end.
    fn said(&self) -> Vec<String> {
        let view = self.view();
        let events = view["events"].as_array().unwrap().iter();
        events.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The caller says something aloud, in pieces of 20 ms, and is silent for as long as it takes to be sure.
    fn caller_is_heard(&mut self) {
        let began = self.dialogue.presence.since_began(self.now);
        for piece in 0..65 {
            self.pass(20 * MS);
            let samples = vec![if piece < 40 { 9_000 } else { 0 }; 480];
            let audio = Pcm { rate: SampleRate::HZ_24000, samples };
            self.dialogue.handle_command(self.now, SessionCommand::AppendAudio(audio));
            self.drain();
        }
        let item_id = ItemId::from("item_heard");
        self.hear(BridgeEvent::SpeechStarted { item_id: item_id.clone(), at: began });
        self.hear(BridgeEvent::SpeechStopped { item_id, at: 1_300 * MS });
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
fn a_turn_of_a_message_client_is_written_down_with_the_hops_that_can_be_known() {
    let mut stage = Stage::new(Kind::default());
    let network = NetworkTimes { round_trip: Some(30 * MS), ..NetworkTimes::default() };
    stage.dialogue.note_network(stage.now, network);
    stage.caller_is_heard();
    stage.pass(250 * MS);
    stage.agent_says(&["noon"]);
    let view = stage.view();
    let turns = view["turns"].as_array().unwrap();
    assert_eq!((turns.len(), view["session"]["turns"].as_u64()), (1, Some(1)));
    let hops = turns[0]["hops"].as_array().unwrap();
    let took = |hop: &Value| hop["duration_ms"].as_f64().unwrap();
    let rest = turns[0]["unattributed_ms"].as_f64().unwrap();
    let (sum, whole) =
        (hops.iter().map(took).sum::<f64>() + rest, turns[0]["mouth_to_ear_ms"].as_f64().unwrap());
    assert!((sum - whole).abs() < 1e-6, "{sum} of {whole}");
    let found: Vec<_> = hops.iter().map(|hop| (hop["hop"].as_str().unwrap(), took(hop).round())).collect();
    let expected = [
        ("capture", 20.0),
        ("uplink", 15.0),
        ("endpointing", 480.0),
        ("model", 250.0),
        ("encode", 0.0),
        ("downlink", 15.0),
    ];
    assert!(
        found
            .iter()
            .zip(expected)
            .all(|((hop, took), (name, about))| *hop == name && (took - about).abs() < 12.0),
        "{found:?}"
    );
    assert_eq!(turns[0]["unknown"], serde_json::json!(["playout"]));
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_second_of_a_message_client_tells_its_messages_and_nothing_of_loss() {
    let mut stage = Stage::new(Kind::default());
    stage.dialogue.transported(Transported {
        round_trip: Some(20 * MS),
        pair: Some("tcp/websocket"),
        ..Transported::default()
    });
    stage.caller_is_heard();
    let view = stage.view();
    let second = &view["network"][0];
    assert_eq!((&second["round_trip_ms"], &second["pair"]), (&20.0.into(), &"tcp/websocket".into()));
    let expected = serde_json::json!({
        "packets": 49, "lost": null, "recovered": null, "concealed_ms": null, "jitter_ms": 0.0, "buffer_ms": null,
    });
    assert_eq!(
        (&second["uplink"], &second["downlink"], &second["mos"]),
        (&expected, &Value::Null, &Value::Null)
    );
    assert_eq!((&view["session"]["mos"], &view["session"]["loss_ratio"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_client_that_counts_its_packets_is_not_counted_again_by_rtcp_and_its_figures_hold_until_the_next() {
    let mut stage = Stage::new(Kind::default());
    let (packets, lost, jitter_buffer) = (Some(250), Some(1), Some(40 * MS));
    let report = ClientReport { packets, lost, jitter_buffer, ..ClientReport::default() };
    stage.dialogue.hear_client(stage.now, &report.into());
    for reports in 1..=10 {
        let (expected, lost) = (50 * reports, reports);
        stage.dialogue.transported(Transported { reports, expected, lost, ..Transported::default() });
        stage.pass(1_000 * MS);
    }
    let view = stage.view();
    let downlinks: Vec<_> = view["network"].as_array().unwrap().iter().map(|row| &row["downlink"]).collect();
    let all = |name: &str| -> Vec<_> { downlinks.iter().filter_map(|row| row[name].as_f64()).collect() };
    assert_eq!((all("packets"), all("lost")), (vec![250.0], vec![1.0]));
    assert_eq!(all("buffer_ms"), [40.0; 7], "the rest is too long ago");
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
    assert_eq!(view["events"][1]["text"], "The session is over: it was hung up.");
}

fn opened() -> Stage {
    let mut stage = Stage::new(Kind::default());
    stage.dialogue.open(stage.now);
    stage.drain();
    stage
}

#[test]
fn what_the_client_is_refused_is_written_down_and_a_flood_of_it_only_counted() {
    let mut stage = opened();
    for _ in 0..40 {
        stage.dialogue.handle_text(stage.now, r#"{"type":"session.upgrade"}"#);
        stage.drain();
    }
    assert_eq!(stage.errors.len(), 40);
    let code = stage.errors[0].clone();
    let record = stage.record.clone();
    let said = stage.said();
    assert_eq!(said.len(), 1 + 16, "{said:?}");
    assert_eq!(said[1], format!("A message of the client was refused with {code}."));
    drop(stage);
    let view = serde_json::to_value(record.view_since(0)).unwrap();
    let events = view["events"].as_array().unwrap();
    assert_eq!(events[events.len() - 2]["text"], "24 more messages of the client were refused.");
}

#[test]
fn a_second_answer_beside_that_to_the_callers_turn_is_refused_and_written_down() {
    let mut stage = opened();
    for id in ["first", "second"] {
        let text = format!(r#"{{"type":"response.create","event_id":"{id}"}}"#);
        stage.dialogue.handle_text(stage.now, &text);
        stage.drain();
    }
    assert_eq!(stage.errors, ["conversation_already_has_active_response"]);
    let expected = "A message of the client was refused with conversation_already_has_active_response.";
    assert_eq!(stage.said()[1..], [expected]);
}

#[test]
fn every_end_that_comes_from_the_provider_has_one_event_that_says_why_and_none_of_its_words() {
    let broken = Fault {
        owner: FaultOwner::Provider,
        code: "provider_disconnected".to_owned(),
        message: "The secret connection broke.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: true,
    };
    let ends = [
        (
            BridgeEvent::Closed { reason: "The secret is out.".to_owned() },
            "The provider closed its connection in order: the session ends.",
        ),
        (
            BridgeEvent::Fault(broken),
            "The provider, or the way to it, failed with provider_disconnected: the session ends.",
        ),
    ];
    for (event, expected) in ends {
        let mut stage = opened();
        stage.hear(event);
        assert_eq!(stage.dialogue.ended(), Some(EndReason::ProviderFailed));
        assert_eq!(stage.errors.len(), 1, "the client is told once");
        let errors = stage.events("error");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((&errors[0]["text"], &errors[0]["severity"]), (&expected.into(), &"error".into()));
        assert!(!stage.view().to_string().contains("secret"));
    }
}

#[test]
fn answers_and_transcripts_that_fail_are_written_down_without_a_word_of_the_provider() {
    let mut stage = opened();
    stage.caller_says("item_1", "hello");
    let message = "The secret is too long.".to_owned();
    let item_id = ItemId::from("item_1");
    stage.hear(BridgeEvent::InputTranscriptFailed { item_id, message: message.clone() });
    stage.agent_says(&["well "]);
    let (response_id, _) = stage.answer();
    let status = ResponseStatus::Failed { code: "server_error".to_owned(), message };
    stage.hear(BridgeEvent::ResponseDone { response_id, status, usage: None });
    let said: Vec<_> = stage.events("error").iter().map(|event| event["text"].clone()).collect();
    assert_eq!(said, ["The caller's words could not be recognised.", "An answer failed with server_error."]);
    assert!(!stage.view().to_string().contains("secret"));
}

#[test]
fn a_provider_that_takes_nothing_more_is_told_as_such_for_audio_and_for_what_must_not_be_lost() {
    let mut stage = opened();
    let audio = || Pcm { rate: SampleRate::HZ_24000, samples: vec![0; 480] };
    for _ in 0..2 * COMMAND_CAPACITY {
        stage.dialogue.handle_command(stage.now, SessionCommand::AppendAudio(audio()));
        stage.drain();
    }
    let lost = "The connection to the provider takes nothing at present: audio of the caller is lost.";
    assert_eq!(stage.said()[1..], [lost], "once, however much is lost");
    assert_eq!(stage.dialogue.ended(), None);
    ask(&mut stage.dialogue, stage.now);
    let over = "The connection to the provider takes nothing any more: the session ends.";
    assert_eq!(stage.said()[2..], [over]);
}

#[test]
fn a_session_that_a_mistake_of_ours_ends_says_so() {
    for unwinds in [false, true] {
        let mut stage = opened();
        let record = stage.record.clone();
        if unwinds {
            let dialogue = stage.dialogue;
            let dies = std::panic::AssertUnwindSafe(move || {
                let _dropped_while_unwinding = dialogue;
                std::panic::resume_unwind(Box::new("a mistake"));
            });
            assert!(std::panic::catch_unwind(dies).is_err());
        } else {
            stage.dialogue.fail();
            drop(stage);
        }
        let view = serde_json::to_value(record.view_since(0)).unwrap();
        assert_eq!(view["session"]["end_reason"], "internal_error");
        let last = view["events"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["kind"], &last["severity"]), (&"ended".into(), &"error".into()));
    }
}

fn unmeasured() -> Kind {
    Kind { recording: keeping(), latency: LatencyDesk::unmeasuring(), ..Kind::default() }
}

#[test]
fn of_a_session_that_is_not_measured_there_are_only_events_and_how_it_stands() {
    let mut stage = Stage::new(unmeasured());
    stage.dialogue.open(stage.now);
    stage.caller_says("item_1", "a long question");
    stage.agent_says(&["a long ", "answer"]);
    stage.pass(500 * MS);
    let at = stage.dialogue.presence.since_began(stage.now);
    stage.hear(BridgeEvent::SpeechStarted { item_id: ItemId::from("item_2"), at });
    stage.item_is_done();
    stage.answer_is_done();
    stage.dialogue.hear_client(stage.now, &ClientReport::default().into());
    stage.pass(3_000 * MS);
    let view = stage.view();
    assert_eq!((&view["measured"], &view["recording"]["words"]), (&false.into(), &false.into()));
    for list in ["turns", "network", "marks", "transcript"] {
        assert_eq!(view[list], serde_json::json!([]), "{list}");
    }
    assert_eq!(view["levels"]["caller"], serde_json::json!([]));
    assert_eq!((stage.events("connected").len(), &view["session"]["answers"]), (1, &1.into()));
    let duration = view["session"]["duration_ms"].as_f64().unwrap();
    assert!(duration >= 3_800.0, "{duration}");
    assert!(!stage.dialogue.awaits_transported(stage.now + 10_000 * MS));
}

/// Lets an answer sound whose turn took a second, in a session whose client listens; what the client is told and asked.
fn turn(kind: Kind) -> (Stage, Vec<DialogueOutput>) {
    let mut stage = Stage::new(kind);
    stage.dialogue.client_listens(stage.now, true);
    let mut outputs = Vec::new();
    stage.dialogue.drain(stage.now, None, &mut outputs);
    let read = |ms: u32| Moment::read(MS * ms);
    let works = vec![Work { hop: Hop::Model, from: read(0), to: read(1_000) }];
    let trace = Box::new(TurnTrace { sent: 1_000 * MS, ..TurnTrace::new(1, read(0), read(1_000), works) });
    stage.now += 2_000 * MS;
    stage.dialogue.turn_sounds(stage.now, trace, &mut outputs);
    stage.dialogue.drain(stage.now, None, &mut outputs);
    (stage, outputs)
}

#[test]
fn a_client_is_asked_and_told_of_turns_only_in_a_session_that_is_measured() {
    let (stage, outputs) = turn(Kind::default());
    assert!(outputs.iter().any(|output| matches!(output, DialogueOutput::Ask(ClientQuestion::Time(1)))));
    assert!(outputs.iter().any(|output| matches!(output, DialogueOutput::Turn(_))));
    assert_eq!((&stage.view()["measured"], &stage.view()["session"]["turns"]), (&true.into(), &1.into()));
    let (stage, outputs) = turn(unmeasured());
    assert!(outputs.is_empty(), "{outputs:?}");
    assert_eq!(stage.view()["session"]["turns"], 0);
    assert_eq!(stage.dialogue.client.poll_timeout(), None, "nobody is asked later either");
}
