//! Whole turns with real speech. These tests need the Debian packages of the local voice; without them they fail and
//! name the packages.

use serde_json::json;
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::OutputPart;
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Position, Role};
use voxgate_protocol::settings::{OutputModality, Tool};

use super::super::LocalConfig;
use super::*;

/// Only so that a broken test ends; a machine would have to be very busy to reach it.
const PATIENCE: Duration = Duration::from_secs(120);

struct Caller {
    engine: LocalEngine,
    bridge: Bridge,
}

impl Caller {
    async fn connect(settings: SessionSettings) -> Self {
        let config = LocalConfig { decoders: 1, ..LocalConfig::default() };
        let engine = LocalEngine::start(&config).unwrap_or_else(|error| panic!("{error}"));
        let call = LocalCall { settings, seed: 7, wake: Arc::new(|| {}), last_timeline: None };
        let bridge = connect(&engine, call);
        let mut caller = Self { engine, bridge };
        assert_eq!(caller.next().await, BridgeEvent::Ready);
        caller
    }

    async fn send(&self, command: BridgeCommand) {
        self.bridge.commands.send(command).await.unwrap();
    }

    async fn next(&mut self) -> BridgeEvent {
        let event = tokio::time::timeout(PATIENCE, self.bridge.events.recv()).await;
        event.expect("an event in time").expect("a pump that runs").event
    }

    /// Speaks a text between pauses, in frames of 20 ms, faster than real time.
    async fn say(&self, text: &str) {
        let manner = Manner { voice: VoiceName::Rms, speed_percent: None };
        let speech = self.engine.voice().say(text, manner).await.unwrap().unwrap();
        let pause = Pcm::silence(INPUT_RATE, Duration::from_millis(500)).samples;
        for frame in [pause.clone(), speech.samples, pause].concat().chunks(320) {
            self.send(BridgeCommand::Audio(Pcm { rate: INPUT_RATE, samples: frame.to_vec() })).await;
        }
    }

    async fn commit(&self, item: &str) {
        self.send(BridgeCommand::CommitInput { item_id: item.into(), is_silence: false }).await;
    }

    async fn respond(&self) {
        self.send(BridgeCommand::CreateResponse(Box::default())).await;
    }

    async fn until(&mut self, is_last: impl Fn(&BridgeEvent) -> bool) -> Vec<BridgeEvent> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            let done = is_last(&event);
            events.push(event);
            if done {
                return events;
            }
        }
    }

    async fn until_done(&mut self) -> Vec<BridgeEvent> {
        self.until(|event| matches!(event, BridgeEvent::ResponseDone { .. })).await
    }
}

fn parts(events: &[BridgeEvent]) -> impl Iterator<Item = &OutputPart> {
    events.iter().filter_map(|event| match event {
        BridgeEvent::Output { part, .. } => Some(part),
        _ => None,
    })
}

fn said(events: &[BridgeEvent]) -> String {
    parts(events)
        .filter_map(|part| match part {
            OutputPart::Transcript(text) | OutputPart::Text(text) => Some(text.as_str()),
            OutputPart::Audio(_) | OutputPart::ToolArguments { .. } => None,
        })
        .collect()
}

fn audio(events: &[BridgeEvent]) -> Duration {
    parts(events)
        .map(|part| if let OutputPart::Audio(pcm) = part { pcm.duration() } else { Duration::ZERO })
        .sum()
}

fn position(events: &[BridgeEvent], is_it: impl Fn(&BridgeEvent) -> bool) -> usize {
    events.iter().position(is_it).expect("the event")
}

fn status(events: &[BridgeEvent]) -> &ResponseStatus {
    match events.last() {
        Some(BridgeEvent::ResponseDone { status, .. }) => status,
        other => panic!("{other:?}"),
    }
}

fn text_only() -> SessionSettings {
    SessionSettings { modality: OutputModality::Text, ..SessionSettings::default() }
}

fn typed(id: &str, text: &str) -> BridgeCommand {
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText(text.to_owned())] };
    let item = Item { id: id.into(), status: ItemStatus::Completed, kind };
    BridgeCommand::CreateItem { item, position: Position::Last }
}

#[tokio::test]
async fn the_words_so_far_are_told_while_the_turn_goes_on() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    caller.say("what is a relay").await;
    // Nothing ends the turn: only words that are told before its end can come.
    let events = caller
        .until(|event| matches!(event, BridgeEvent::InterimTranscript { words } if words.contains("relay")))
        .await;
    let [BridgeEvent::Stage(TurnStage::Recognising), words @ ..] = &events[..] else { panic!("{events:?}") };
    assert!(words.iter().all(|event| matches!(event, BridgeEvent::InterimTranscript { .. })), "{events:?}");
    caller.send(BridgeCommand::ClearInput).await;
    caller.commit("item_nothing").await;
    let events = caller.until(|event| matches!(event, BridgeEvent::InputTranscriptDone { .. })).await;
    let Some(BridgeEvent::InputTranscriptDone { transcript, .. }) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(transcript, "", "what was cleared is no turn");
}

#[tokio::test]
async fn a_spoken_question_is_recognised_and_answered_in_order() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    caller.say("what is a relay").await;
    caller.commit("item_question").await;
    caller.respond().await;
    let events = caller.until_done().await;
    assert_eq!(status(&events), &ResponseStatus::Completed);
    let order = [
        position(&events, |event| matches!(event, BridgeEvent::InputCommitted { .. })),
        position(&events, |event| match event {
            BridgeEvent::InputTranscriptDone { item_id, transcript, usage } => {
                assert_eq!((item_id.as_str(), transcript.as_str()), ("item_question", "what is a relay"));
                matches!(usage, Some(TranscriptionUsage::Audio(audio)) if *audio > Duration::from_millis(500))
            }
            _ => false,
        }),
        position(&events, |event| matches!(event, BridgeEvent::Stage(TurnStage::Recognised))),
        position(&events, |event| matches!(event, BridgeEvent::Stage(TurnStage::FirstToken))),
        position(&events, |event| matches!(event, BridgeEvent::Stage(TurnStage::SpeechRequested))),
        position(&events, |event| {
            matches!(event, BridgeEvent::Output { part: OutputPart::Transcript(_), .. })
        }),
        position(&events, |event| matches!(event, BridgeEvent::Output { part: OutputPart::Audio(_), .. })),
        position(&events, |event| matches!(event, BridgeEvent::OutputItemDone { .. })),
        events.len() - 1,
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert!(said(&events).contains("front door"), "{}", said(&events));
    assert!(audio(&events) > Duration::from_secs(5));
    let rates_fit = parts(&events).all(|part| match part {
        OutputPart::Audio(pcm) => {
            pcm.rate == SampleRate::HZ_16000 && pcm.duration() <= Duration::from_millis(100)
        }
        _ => true,
    });
    assert!(rates_fit);
}

#[tokio::test]
async fn a_cancelled_story_stops_and_goes_on_where_it_was_heard() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    caller.send(typed("item_1", "tell me a long story")).await;
    caller.respond().await;
    let is_audio =
        |event: &BridgeEvent| matches!(event, BridgeEvent::Output { part: OutputPart::Audio(_), .. });
    let begun = caller.until(is_audio).await;
    caller.send(BridgeCommand::CancelResponse { response_id: None }).await;
    let rest = caller.until_done().await;
    assert_eq!(status(&rest), &ResponseStatus::CancelledByClient);
    // The story lasts more than a minute; only a little of it was made.
    assert!(!said(&rest).contains("The end."));
    let item_id = match &begun[begun.len() - 1] {
        BridgeEvent::Output { item_id, .. } => item_id.clone(),
        other => panic!("{other:?}"),
    };
    assert!(rest.contains(&BridgeEvent::OutputItemDone {
        response_id: match &begun[0] {
            BridgeEvent::ResponseStarted { response_id } => response_id.clone(),
            other => panic!("{other:?}"),
        },
        item_id: item_id.clone(),
        status: ItemStatus::Incomplete,
    }));
    let heard = Duration::from_millis(10);
    caller.send(BridgeCommand::Truncate { item_id, content_index: 0, heard }).await;
    caller.send(typed("item_2", "go on")).await;
    let options = ResponseOptions { modality: Some(OutputModality::Text), ..ResponseOptions::default() };
    caller.send(BridgeCommand::CreateResponse(Box::new(options))).await;
    let again = caller.until_done().await;
    assert!(said(&again).starts_with("Once upon a time"), "{}", said(&again));
    assert!(audio(&again).is_zero());
}

#[tokio::test]
async fn a_tool_is_called_and_its_output_spoken() {
    let tool = Tool {
        name: "get_weather".to_owned(),
        description: None,
        parameters: json!({"properties": {"city": {"type": "string"}}, "required": ["city"]}),
    };
    let settings = SessionSettings { tools: vec![tool], ..SessionSettings::default() };
    let mut caller = Caller::connect(settings).await;
    caller.send(typed("item_1", "how is the weather in paris")).await;
    caller.respond().await;
    let events = caller.until_done().await;
    let call = parts(&events).find_map(|part| match part {
        OutputPart::ToolArguments { call_id, name, delta } => {
            Some((call_id.clone(), name.clone(), delta.clone()))
        }
        _ => None,
    });
    let (call_id, name, arguments) = call.unwrap();
    assert_eq!((name.as_str(), arguments.as_str()), ("get_weather", r#"{"city":"paris"}"#));
    let kind = ItemKind::ToolOutput { call_id, output: r#"{"sky": "clear"}"#.to_owned() };
    let item = Item { id: "item_2".into(), status: ItemStatus::Completed, kind };
    caller.send(BridgeCommand::CreateItem { item, position: Position::Last }).await;
    caller.respond().await;
    let events = caller.until_done().await;
    assert_eq!(said(&events), "Here is what I found: sky is clear.");
    assert!(audio(&events) > Duration::from_secs(1));
}

#[tokio::test]
async fn silence_is_committed_without_a_decoder_and_every_request_ends_once() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    caller.commit("item_1").await;
    let events = caller.until(|event| matches!(event, BridgeEvent::Stage(TurnStage::Recognised))).await;
    assert!(events.contains(&BridgeEvent::InputTranscriptDone {
        item_id: "item_1".into(),
        transcript: String::new(),
        usage: Some(TranscriptionUsage::Audio(Duration::ZERO)),
    }));
    // A cancellation with nothing to cancel, then two answers at once.
    caller.send(BridgeCommand::CancelResponse { response_id: None }).await;
    caller.send(BridgeCommand::CancelResponse { response_id: Some("resp_other".into()) }).await;
    caller.respond().await;
    caller.respond().await;
    for _ in 0..2 {
        let events = caller.until_done().await;
        assert!(matches!(events[0], BridgeEvent::ResponseStarted { .. }), "{events:?}");
        assert_eq!(status(&events), &ResponseStatus::Completed);
    }
}

#[tokio::test]
async fn only_the_idle_timeout_asks_whether_the_caller_is_still_there() {
    let mut caller = Caller::connect(text_only()).await;
    caller.commit("item_noise").await;
    caller.respond().await;
    assert!(said(&caller.until_done().await).starts_with("Sorry, I heard no words."));
    caller.send(BridgeCommand::CommitInput { item_id: "item_silence".into(), is_silence: true }).await;
    caller.respond().await;
    assert!(said(&caller.until_done().await).starts_with("Are you still there?"));
    caller.respond().await;
    assert!(said(&caller.until_done().await).starts_with("I have said what I know."));
}

#[tokio::test]
async fn an_answer_made_of_named_items_answers_those_and_nothing_else() {
    let mut caller = Caller::connect(text_only()).await;
    caller.send(typed("item_name", "what is your name")).await;
    caller.respond().await;
    caller.until_done().await;
    caller.send(typed("item_joke", "tell me a joke")).await;
    let aside = |input| {
        let options = ResponseOptions { input: Some(input), is_beside: true, ..ResponseOptions::default() };
        BridgeCommand::CreateResponse(Box::new(options))
    };
    caller.send(aside(vec![InputItem::Reference("item_name".into())])).await;
    assert!(said(&caller.until_done().await).starts_with("My name is Vox."));
    let content = vec![Content::InputText("what is two plus three".to_owned())];
    caller.send(aside(vec![InputItem::New(ItemKind::Message { role: Role::User, content })])).await;
    let sum = said(&caller.until_done().await);
    assert!(sum.contains("five") || sum.contains('5'), "{sum}");
    caller.send(aside(Vec::new())).await;
    assert!(said(&caller.until_done().await).starts_with("Hello!"), "the context is empty");
    // What was said in the conversation still waits there.
    caller.respond().await;
    let joke = said(&caller.until_done().await);
    caller.send(typed("item_again", "say that again")).await;
    caller.respond().await;
    assert_eq!(said(&caller.until_done().await), joke);
}

#[tokio::test]
async fn a_second_turn_of_the_same_call_is_heard_too_and_cleared_audio_is_not() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    let mut heard = Vec::new();
    caller.say("tell me a joke").await;
    caller.send(BridgeCommand::ClearInput).await;
    for question in ["what time is it", "how fast was that"] {
        caller.say(question).await;
        caller.commit(question).await;
        let done = |event: &BridgeEvent| matches!(event, BridgeEvent::InputTranscriptDone { .. });
        if let Some(BridgeEvent::InputTranscriptDone { transcript, .. }) = caller.until(done).await.pop() {
            heard.push(transcript);
        }
    }
    assert_eq!(heard, ["what time is it", "how fast was that"]);
}

/// Prints what a call costs. Run it with
/// `cargo nextest run -p voxgate-providers --run-ignored only --no-capture figures_of_a_call`.
#[tokio::test]
#[ignore = "a measurement, prints figures"]
async fn figures_of_a_call() {
    let mut caller = Caller::connect(SessionSettings::default()).await;
    caller.engine.wait_until_ready(PATIENCE).unwrap();
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = |index: usize| stat.split(' ').nth(index).unwrap().parse::<u64>().unwrap();
        (ticks(13) + ticks(14)) as f64 / 100.0
    };
    let before = cpu();
    for _ in 0..600 * 50 {
        caller.send(BridgeCommand::Audio(Pcm::silence(INPUT_RATE, Duration::from_millis(20)))).await;
    }
    caller.commit("idle").await;
    caller.until(|event| matches!(event, BridgeEvent::Stage(TurnStage::Recognised))).await;
    println!("idle: {:.5} s CPU per s of call", (cpu() - before) / 600.0);
    for question in ["what is a relay", "what time is it", "the birds sang in the old oak tree"] {
        let manner = Manner { voice: VoiceName::Rms, speed_percent: None };
        let speech = caller.engine.voice().say(question, manner).await.unwrap().unwrap();
        let pause = Pcm::silence(INPUT_RATE, Duration::from_millis(500)).samples;
        let samples = [pause.clone(), speech.samples, pause].concat();
        let before = cpu();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for frame in samples.chunks(320) {
            tick.tick().await;
            caller.send(BridgeCommand::Audio(Pcm { rate: INPUT_RATE, samples: frame.to_vec() })).await;
        }
        let committed = Instant::now();
        caller.commit("turn").await;
        caller.respond().await;
        caller.until(|event| matches!(event, BridgeEvent::Stage(TurnStage::Recognised))).await;
        let recognised = committed.elapsed();
        let is_audio =
            |event: &BridgeEvent| matches!(event, BridgeEvent::Output { part: OutputPart::Audio(_), .. });
        caller.until(is_audio).await;
        let length = samples.len() as f64 / 16_000.0;
        println!(
            "{question}: words {recognised:?}, sound {:?} after the commit; {:.3} s CPU per s of speech",
            committed.elapsed(),
            (cpu() - before) / length
        );
        caller.send(BridgeCommand::CancelResponse { response_id: None }).await;
        caller.until_done().await;
    }
}
