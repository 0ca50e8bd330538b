use std::collections::BTreeMap;

use voxgate_policy::limits::Rate;
use voxgate_policy::limits::rules::{LimitRule, LimitRules, Whom};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::ResponseStatus;
use voxgate_protocol::id::{ItemId, SessionId};
use voxgate_protocol::settings::ResponseOptions;
use voxgate_protocol::tenant::TenantPath;
use voxgate_protocol::usage::TokenUsage;
use voxgate_signaling::gate::WhenAway;
use voxgate_signaling::limits::SharedLimits;
use voxgate_signaling::limits::desk::LimitDesk;

use super::*;

/// A session of a process that counts by itself.
async fn allowance(resource: Resource, amount: u64) -> Allowance {
    let rate = Rate::new(amount, Duration::from_secs(60)).unwrap();
    let rates = BTreeMap::from([(resource, rate)]);
    let rules = LimitRules::new(vec![LimitRule { whom: Whom::default(), each: None, sessions: None, rates }]);
    let desk = LimitDesk::new(SharedLimits::default(), WhenAway::Refuse);
    let lease = desk.admit(&rules, &SessionId::from("sess_1"), &TenantPath::default(), "m").await.unwrap();
    Allowance::open(lease, Instant::now(), Arc::new(Metrics::new().unwrap()))
}

fn create() -> BridgeCommand {
    BridgeCommand::CreateResponse(Box::<ResponseOptions>::default())
}

fn started(id: &str) -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: ResponseId::from(id.to_owned()) }
}

fn tool_call(call: &str) -> BridgeEvent {
    BridgeEvent::Output {
        response_id: ResponseId::from("resp_1".to_owned()),
        item_id: ItemId::from("item_1".to_owned()),
        part: OutputPart::ToolArguments {
            call_id: ToolCallId::from(call.to_owned()),
            name: "look_up".to_owned(),
            delta: "{".to_owned(),
        },
    }
}

#[tokio::test]
async fn an_answer_that_was_asked_for_counts_once_and_one_too_many_is_refused() {
    let mut allowance = allowance(Resource::Responses, 2).await;
    let now = Instant::now();
    for id in ["resp_1", "resp_2"] {
        assert_eq!(allowance.refuses(now, &create()), None);
        allowance.heard(now, &started(id));
    }
    let fault = allowance.refuses(now, &create()).unwrap().fault();
    assert_eq!(fault.code, "rate_limit_exceeded");
    assert!(!fault.is_final, "the call goes on");
    assert_eq!(allowance.poll_act(), None);
}

#[tokio::test]
async fn an_answer_the_provider_begins_by_itself_is_taken_back_over_the_limit() {
    let mut allowance = allowance(Resource::Responses, 1).await;
    let now = Instant::now();
    allowance.heard(now, &started("resp_1"));
    assert_eq!(allowance.poll_act(), None);
    allowance.heard(now, &started("resp_2"));
    let Some(Act::TakeBack(response, _)) = allowance.poll_act() else { panic!("it goes on") };
    assert_eq!(response.as_str(), "resp_2");
}

#[tokio::test]
async fn a_tool_call_counts_once_however_many_pieces_its_arguments_come_in() {
    let mut allowance = allowance(Resource::ToolCalls, 1).await;
    let now = Instant::now();
    for _ in 0..5 {
        allowance.heard(now, &tool_call("call_1"));
    }
    assert_eq!(allowance.poll_act(), None);
    allowance.heard(now, &tool_call("call_2"));
    assert!(matches!(allowance.poll_act(), Some(Act::TakeBack(..))));
}

#[tokio::test]
async fn tokens_of_an_answer_hold_up_the_next_one() {
    let mut allowance = allowance(Resource::Tokens, 100).await;
    let now = Instant::now();
    assert_eq!(allowance.refuses(now, &create()), None);
    let usage = TokenUsage { input_text: 60, output_audio: 60, ..TokenUsage::default() };
    allowance.heard(
        now,
        &BridgeEvent::ResponseDone {
            response_id: ResponseId::from("resp_1".to_owned()),
            status: ResponseStatus::Completed,
            usage: Some(usage),
        },
    );
    assert!(allowance.refuses(now, &create()).unwrap().fault().message.contains("tokens per minute"));
}

#[tokio::test]
async fn audio_over_the_limit_ends_the_session_once() {
    // Two seconds, in tenths.
    let mut allowance = allowance(Resource::Audio, 20).await;
    let now = Instant::now();
    let second = BridgeCommand::Audio(Pcm { rate: SampleRate::HZ_24000, samples: vec![0; 24_000] });
    for _ in 0..2 {
        assert_eq!(allowance.refuses(now, &second), None);
    }
    assert_eq!(allowance.poll_act(), None);
    for _ in 0..3 {
        assert_eq!(allowance.refuses(now, &second), None, "nothing is cut out of what the caller says");
    }
    assert_eq!(allowance.poll_act(), Some(Act::Close));
    assert_eq!(allowance.poll_act(), None);
}
