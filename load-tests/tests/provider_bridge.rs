//! The pump of the OpenAI bridge against the simulated provider, over loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use voxgate_load_tests::provider_sim::{AnswerAudio, ProviderSim, SimConfig, SimFault, SimHandle};
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};
use voxgate_protocol::bridge::{
    BridgeCommand, BridgeEvent, Fault, FaultOwner, OutputPart, ResponseStatus, TurnOwner,
};
use voxgate_protocol::conversation::{Content, InputItem, ItemKind, Role};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::{ResponseOptions, SessionSettings};
use voxgate_providers::Secret;
use voxgate_providers::bridge::{Bridge, EVENT_CAPACITY};
use voxgate_providers::openai_realtime::{OpenAiTarget, connect};

/// Only a broken build waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAME: Duration = Duration::from_millis(20);

struct Call {
    bridge: Bridge,
    wakes: Arc<AtomicU64>,
    notify: Arc<Notify>,
    read: u64,
}

impl Call {
    fn start(target: OpenAiTarget) -> Self {
        let (wakes, notify) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (counted, notified) = (Arc::clone(&wakes), Arc::clone(&notify));
        let wake = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            notified.notify_one();
        };
        Self { bridge: connect(target, SessionSettings::default(), Arc::new(wake)), wakes, notify, read: 0 }
    }

    fn send(&self, command: BridgeCommand) {
        self.bridge.commands.try_send(command).unwrap();
    }

    fn speak(&self, frames: u32) {
        for _ in 0..frames {
            let samples = vec![5_000; SampleRate::HZ_24000.samples_in(FRAME).0 as usize];
            self.send(BridgeCommand::Audio(Pcm { rate: SampleRate::HZ_24000, samples }));
        }
    }

    async fn next(&mut self) -> Option<BridgeEvent> {
        let event = tokio::time::timeout(PATIENCE, self.bridge.events.recv()).await.unwrap()?;
        self.read += 1;
        Some(event.event)
    }

    /// Reads up to an event of interest.
    async fn until(&mut self, mut wanted: impl FnMut(&BridgeEvent) -> bool) -> Vec<BridgeEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            let is_found = wanted(&event);
            events.push(event);
            if is_found {
                return events;
            }
        }
        panic!("the bridge ended without the event, after {events:?}");
    }

    /// Reads to the end of the bridge; every event must have come with a wake-up.
    async fn last_fault(mut self) -> (Fault, Vec<BridgeEvent>) {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        assert_eq!(self.wakes.load(Ordering::SeqCst), self.read);
        let Some(BridgeEvent::Fault(fault)) = events.pop() else {
            panic!("no fault at the end of {events:?}")
        };
        assert!(fault.is_final);
        (fault, events)
    }
}

fn target(base_url: String) -> OpenAiTarget {
    OpenAiTarget {
        base_url,
        api_key: Secret::new("right"),
        model: "gpt-realtime-2.1".into(),
        turn_owner: TurnOwner::Gateway,
        connect_timeout: PATIENCE,
        stall_timeout: PATIENCE,
        headers: Vec::new(),
        transcription_model: None,
    }
}

async fn simulator(config: SimConfig) -> SimHandle {
    let required_key = Some("right".to_owned());
    let prompt = SimConfig { model_delay: Duration::ZERO, required_key, ..config };
    ProviderSim::spawn(prompt).await.unwrap()
}

fn answer(length: Duration, fault: Option<SimFault>) -> SimConfig {
    SimConfig { answer: AnswerAudio::Tones { length, marked: false }, fault, ..SimConfig::default() }
}

fn samples(events: &[BridgeEvent]) -> u64 {
    let length = |event: &BridgeEvent| match event {
        BridgeEvent::Output { part: OutputPart::Audio(pcm), .. } => pcm.len().0,
        _ => 0,
    };
    events.iter().map(length).sum()
}

fn words(event: &BridgeEvent) -> Option<&str> {
    match event {
        BridgeEvent::Output { part: OutputPart::Transcript(words), .. } => Some(words),
        _ => None,
    }
}

fn is_done(event: &BridgeEvent) -> bool {
    matches!(event, BridgeEvent::ResponseDone { .. })
}

#[tokio::test]
async fn what_is_said_before_the_connection_stands_is_heard_and_answered() {
    let sim = simulator(answer(Duration::from_secs(2), None)).await;
    let mut call = Call::start(target(sim.base_url()));
    call.speak(25);
    call.send(BridgeCommand::CommitInput { item_id: ItemId::from("item_mine"), is_silence: false });
    call.send(BridgeCommand::CreateResponse(Box::default()));
    let events = call.until(is_done).await;
    assert_eq!(events.first(), Some(&BridgeEvent::Ready));
    assert_eq!(events.get(1), Some(&BridgeEvent::InputCommitted { item_id: ItemId::from("item_mine") }));
    assert_eq!(samples(&events), 48_000);
    let Some(BridgeEvent::ResponseDone { status, usage, .. }) = events.last() else { panic!("not done") };
    assert_eq!((status, usage.unwrap().output_audio), (&ResponseStatus::Completed, 40));
    assert_eq!(sim.stats().turns, [12_000]);
    assert_eq!(call.bridge.counters.dropped_audio(), SampleCount(0));
    assert_eq!(call.bridge.counters.ignored_events(), 0);
}

#[tokio::test]
async fn an_interrupted_answer_is_cancelled_and_cut_to_what_was_heard() {
    let stall = SimFault::StallAfter(Duration::from_secs(1));
    let sim = simulator(answer(Duration::from_secs(20), Some(stall))).await;
    let mut call = Call::start(target(sim.base_url()));
    call.send(BridgeCommand::CreateResponse(Box::default()));
    let mut heard = 0;
    let events = call
        .until(|event| {
            heard += samples(std::slice::from_ref(event));
            heard >= 24_000
        })
        .await;
    let Some(BridgeEvent::Output { response_id, item_id, .. }) = events.last() else { panic!("no output") };
    call.send(BridgeCommand::CancelResponse { response_id: Some(response_id.clone()) });
    let heard = Duration::from_millis(640);
    call.send(BridgeCommand::Truncate { item_id: item_id.clone(), content_index: 0, heard });
    let events = call.until(is_done).await;
    let Some(BridgeEvent::ResponseDone { status, .. }) = events.last() else { panic!("not done") };
    assert_eq!(*status, ResponseStatus::CancelledByClient);
    let cut = sim.wait_until(|stats| !stats.truncations.is_empty());
    let stats = tokio::time::timeout(PATIENCE, cut).await.unwrap();
    let [truncation] = stats.truncations.as_slice() else { panic!("one truncation expected") };
    assert_eq!((truncation.audio_end_ms, truncation.sent_ms), (640, 1_000));
    assert!(stats.errors.is_empty(), "{:?}", stats.errors);
}

#[tokio::test]
async fn an_answer_made_of_named_turns_is_given_them_by_the_vendors_names() {
    let config = SimConfig { answer_text: "{context}".into(), ..answer(Duration::from_millis(100), None) };
    let sim = simulator(config).await;
    let mut call = Call::start(target(sim.base_url()));
    for item in ["item_mine", "item_other"] {
        call.speak(25);
        call.send(BridgeCommand::CommitInput { item_id: ItemId::from(item), is_silence: false });
    }
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText("and this".into())] };
    let input = Some(vec![InputItem::Reference("item_mine".into()), InputItem::New(kind)]);
    let options = ResponseOptions { input, is_beside: true, ..ResponseOptions::default() };
    call.send(BridgeCommand::CreateResponse(Box::new(options)));
    let events = call.until(is_done).await;
    let told: String = events.iter().filter_map(words).collect();
    // One turn, by a name of the vendor's own, then what was written for this answer only.
    assert_eq!(told.matches("[item_sim_").count(), 1, "{told}");
    assert!(!told.contains("item_other") && told.ends_with("user: and this]"), "{told}");
    assert!(sim.stats().errors.is_empty(), "{:?}", sim.stats().errors);
}

#[tokio::test]
async fn a_refused_connection_ends_in_one_clear_fault() {
    let cases = [
        (401, FaultOwner::Gateway, "provider_refused_key", false),
        (429, FaultOwner::Provider, "rate_limit_exceeded", true),
        (503, FaultOwner::Provider, "provider_unavailable", true),
    ];
    for (status, owner, code, may_retry) in cases {
        let sim =
            simulator(SimConfig { fault: Some(SimFault::RefuseUpgrade(status)), ..SimConfig::default() })
                .await;
        let (fault, before) = Call::start(target(sim.base_url())).last_fault().await;
        assert_eq!((fault.owner, fault.code.as_str(), fault.may_retry), (owner, code, may_retry));
        assert!(before.is_empty() && fault.may_switch);
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_never_repeated() {
    let sim = simulator(SimConfig::default()).await;
    let wrong = OpenAiTarget { api_key: Secret::new("wrong-key"), ..target(sim.base_url()) };
    let (fault, _) = Call::start(wrong).last_fault().await;
    assert_eq!(fault.code, "provider_refused_key");
    assert!(!fault.message.contains("wrong-key"));
    assert_eq!(sim.stats().connections, 0);
}

#[tokio::test]
async fn a_provider_that_falls_silent_in_an_answer_is_given_up() {
    let stall = SimFault::StallAfter(Duration::from_millis(300));
    let sim = simulator(answer(Duration::from_secs(2), Some(stall))).await;
    let short = OpenAiTarget { stall_timeout: Duration::from_secs(1), ..target(sim.base_url()) };
    let call = Call::start(short);
    call.send(BridgeCommand::CreateResponse(Box::default()));
    let (fault, _) = call.last_fault().await;
    assert_eq!(fault.code, "provider_stalled");
    assert!(fault.may_retry && fault.may_switch);
}

#[tokio::test]
async fn a_connection_closed_in_an_answer_delivers_what_was_said_first() {
    let close = SimFault::CloseAfter(Duration::from_millis(500));
    let sim = simulator(answer(Duration::from_secs(2), Some(close))).await;
    let call = Call::start(target(sim.base_url()));
    call.send(BridgeCommand::CreateResponse(Box::default()));
    let (fault, before) = call.last_fault().await;
    assert_eq!(fault.code, "provider_disconnected");
    assert!(fault.message.contains("1011"), "{}", fault.message);
    assert_eq!(samples(&before), 12_000);
}

#[tokio::test]
async fn a_session_at_the_providers_limit_may_be_continued_elsewhere() {
    let config = SimConfig { session_limit: Some(Duration::from_millis(200)), ..SimConfig::default() };
    let sim = simulator(config).await;
    let (fault, _) = Call::start(target(sim.base_url())).last_fault().await;
    assert_eq!((fault.code.as_str(), fault.may_switch), ("session_expired", true));
}

#[tokio::test]
async fn audio_faster_than_it_is_read_waits_and_none_of_it_is_lost() {
    let length = Duration::from_secs(120);
    let fast = SimConfig { speed: f64::INFINITY, piece: FRAME, ..answer(length, None) };
    let sim = simulator(fast).await;
    let mut call = Call::start(target(sim.base_url()));
    call.send(BridgeCommand::CreateResponse(Box::default()));
    let full = async {
        while call.bridge.events.len() < EVENT_CAPACITY {
            call.notify.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.unwrap();
    let events = call.until(is_done).await;
    assert_eq!(samples(&events), SampleRate::HZ_24000.samples_in(length).0);
}

#[tokio::test]
async fn dropping_the_bridge_ends_the_connection() {
    let sim = simulator(SimConfig::default()).await;
    let mut call = Call::start(target(sim.base_url()));
    call.until(|event| *event == BridgeEvent::Ready).await;
    drop(call);
    let closed = sim.wait_until(|stats| stats.closed == 1);
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let short = OpenAiTarget { connect_timeout: Duration::from_millis(100), ..target(address) };
    let (fault, before) = Call::start(short).last_fault().await;
    assert_eq!(fault.code, "provider_connect_timeout");
    assert!(before.is_empty());
}

#[tokio::test]
async fn a_recording_sent_in_one_message_reaches_the_provider_whole() {
    let sim = simulator(answer(Duration::from_secs(1), None)).await;
    let mut call = Call::start(target(sim.base_url()));
    let recording = Pcm { rate: SampleRate::HZ_24000, samples: vec![5_000; 240_000] };
    call.send(BridgeCommand::Audio(recording));
    call.send(BridgeCommand::CommitInput { item_id: ItemId::from("item_mine"), is_silence: false });
    call.until(|event| matches!(event, BridgeEvent::InputCommitted { .. })).await;
    assert_eq!(sim.stats().turns, [240_000]);
    assert_eq!(call.bridge.counters.dropped_audio(), SampleCount(0));
}

#[tokio::test]
async fn an_address_that_is_none_is_the_gateways_fault() {
    let (fault, _) = Call::start(target("gopher://x".into())).last_fault().await;
    assert_eq!((fault.owner, fault.code.as_str()), (FaultOwner::Gateway, "provider_misconfigured"));
}
