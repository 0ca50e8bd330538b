//! Held calls in a whole session, in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::Leg;
use voxgate_policy::admission::{Admission, SessionLimits};
use voxgate_policy::agent::{AgentRules, Agents};
use voxgate_policy::approval::{ApprovalError, Verdict};
use voxgate_policy::decision::{Authorizer, Obligations, Risk};
use voxgate_policy::guardrail::{self, Detector, Direction, Rule, RuleSet};
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::{ModelPattern, Route, Target};
use voxgate_policy::tool::{ToolRule, ToolRules};
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::bridge::{BridgeTraits, OutputPart, ResponseStatus, TurnOwner};
use voxgate_protocol::conversation::{ItemKind, ItemStatus};
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::settings::SessionSettings;
use voxgate_providers::bridge::{BridgeEnds, StampedEvent, bridge};
use voxgate_signaling::admin::approvals::{Approvals as _, PendingApproval};
use voxgate_signaling::admin::reach::Reach;
use voxgate_signaling::host::SessionRequest;
use voxgate_signaling::limits::desk::LimitLease;
use voxgate_signaling::permit::Places;

use super::*;
use crate::bridges::{Connected, LastTurn, Line, Ringer};
use crate::dialogue::tests::presence;
use crate::dialogue::{Dialogue, DialogueConfig, DialogueOutput};
use crate::webhook::Webhooks;

const WINDOW: Duration = Duration::from_secs(60);

/// What an agent may do here: look, and refund if a person agrees. Nothing else.
fn permissions(metrics: &Arc<Metrics>) -> Permissions {
    let tool = |risk| ToolRule { risk, allows_others: true, ..ToolRule::default() };
    let tools = ToolRules {
        tools: [("look".to_owned(), tool(Risk::ReadOnly)), ("refund".to_owned(), tool(Risk::Dangerous))]
            .into(),
        allows_others: false,
    };
    let rules = AgentRules { tools: Arc::new(tools), approval_window: WINDOW, filler: None };
    Permissions {
        authorizer: Arc::new(Authorizer::load(&[]).unwrap()),
        agents: Arc::new(Agents::new([("*".to_owned(), rules)].into())),
        held: HeldCalls::new(Arc::clone(metrics), 1),
    }
}

struct Stage {
    dialogue: Dialogue,
    far: BridgeEnds,
    held: HeldCalls,
    metrics: Arc<Metrics>,
    rung: Arc<AtomicU32>,
    now: Instant,
    outputs: Vec<DialogueOutput>,
}

impl Stage {
    fn new(leg: Leg, owner: TurnOwner) -> Self {
        let traits = BridgeTraits {
            input_rate: SampleRate::HZ_16000,
            output_rate: SampleRate::HZ_24000,
            turn_owner: owner,
            truncates: true,
            transcribes: false,
        };
        let (ringer, wake) = Ringer::new(|| {});
        let (near, far) = bridge(traits, wake);
        let places = Places::new(Admission::new(SessionLimits { total: 1, per_key: 1 }));
        let request = SessionRequest {
            session_id: SessionId::from("sess_1"),
            revision: RevisionName::default(),
            settings: SessionSettings::default(),
            route: Route::to(ModelPattern::Exact("m".to_owned()), Target::new("p", None)),
            permit: places.take(KeyIndex(0)).unwrap(),
            presence: presence(),
            limits: LimitLease::unlimited(SessionId::from("sess_1")),
            ticket: None,
            resumed: None,
            allowed_events: None,
            caller: Caller::default(),
            obligations: Obligations::default(),
            recording: None,
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let permissions = permissions(&metrics);
        let held = permissions.held.clone();
        let secret = Rule {
            name: "secret".to_owned(),
            directions: vec![Direction::ToolArguments],
            detector: Detector::words(["password"]).unwrap(),
            act: guardrail::Act::Replace { say: "No.".to_owned() },
        };
        let config = DialogueConfig {
            leg,
            encoder: EncoderConfig::default(),
            interruption: None,
            expires_at_unix: 0,
            max_session: Duration::from_secs(3_600),
            seed: 5,
            metrics: Arc::clone(&metrics),
            guardrails: Arc::new(RuleSet::new(vec![secret]).unwrap()),
            judges: Arc::default(),
            webhooks: Webhooks::deaf(),
            permissions,
            latency: crate::latency::LatencyDesk::idle(),
            replay: None,
            money: None,
        };
        let rung = Arc::new(AtomicU32::new(0));
        let bell = Arc::clone(&rung);
        let connected = Connected {
            line: Line { bridge: near, ringer },
            way: crate::routing::Way::alone(Target::new("p", None)),
            last_turn: LastTurn::default(),
            successors: None,
            ear: None,
            ring: Arc::new(move || {
                bell.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let mut dialogue = Dialogue::new(request, connected, config).unwrap();
        let now = Instant::now();
        dialogue.open(now);
        Self { dialogue, far, held, metrics, rung, now, outputs: Vec::new() }
    }

    /// The provider says this, all at once.
    fn hear(&mut self, events: impl IntoIterator<Item = BridgeEvent>) {
        for event in events {
            self.far.events.blocking_send(StampedEvent { at: self.now, event }).unwrap();
        }
        self.dialogue.handle_bridge(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        self.dialogue.drain(self.now, None, &mut self.outputs);
    }

    fn send(&mut self, event: &Value) {
        self.dialogue.handle_text(self.now, &event.to_string());
        self.drain();
    }

    /// Time passes, and every deadline on the way is kept.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.dialogue.poll_timeout(self.now).filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.dialogue.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// What the client was told since it was asked last.
    fn told(&mut self) -> Vec<Value> {
        let texts = self.outputs.drain(..).filter_map(|output| match output {
            DialogueOutput::Text(text) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        });
        texts.collect()
    }

    /// What the provider was told since it was asked last.
    fn commands(&mut self) -> Vec<BridgeCommand> {
        std::iter::from_fn(|| self.far.commands.try_recv().ok()).collect()
    }

    fn pending(&self) -> Vec<PendingApproval> {
        self.held.pending(&Reach::Installation)
    }

    fn decide(&mut self, verdict: Verdict) -> Result<ApprovalState, ApprovalError> {
        let id = self.pending()[0].id.clone();
        let before = self.rung.load(Ordering::Relaxed);
        let decided = self.held.decide_at(self.now, &id, &Reach::Installation, verdict);
        if self.rung.load(Ordering::Relaxed) > before {
            self.dialogue.handle_bridge(self.now);
            self.drain();
        }
        decided
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.metrics.tool_calls.with_label_values(&[outcome]).get()
    }
}

fn started(response: &str) -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: response.into() }
}

fn done(response: &str) -> BridgeEvent {
    BridgeEvent::ResponseDone { response_id: response.into(), status: ResponseStatus::Completed, usage: None }
}

fn arguments(response: &str, call: &str, tool: &str, delta: &str) -> BridgeEvent {
    let (call_id, name, delta) = (call.into(), tool.to_owned(), delta.to_owned());
    let part = OutputPart::ToolArguments { call_id, name, delta };
    BridgeEvent::Output {
        response_id: response.into(),
        item_id: format!("item_{call}").as_str().into(),
        part,
    }
}

fn item_done(response: &str, call: &str) -> BridgeEvent {
    BridgeEvent::OutputItemDone {
        response_id: response.into(),
        item_id: format!("item_{call}").as_str().into(),
        status: ItemStatus::Completed,
    }
}

/// One answer with one call.
fn answer(response: &str, call: &str, tool: &str) -> [BridgeEvent; 4] {
    let arguments = arguments(response, call, tool, r#"{"amount": 5}"#);
    [started(response), arguments, item_done(response, call), done(response)]
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

/// The calls a client could run, by name.
fn runnable(events: &[Value]) -> Vec<&str> {
    let done = events.iter().filter(|event| event["type"] == "response.function_call_arguments.done");
    done.filter_map(|event| event["call_id"].as_str()).collect()
}

fn mentions_a_call(events: &[Value]) -> bool {
    events.iter().any(|event| event.to_string().contains("call_1"))
}

/// The outputs given to calls, and `answer`, or the instructions, where the model was asked.
fn asked(commands: &[BridgeCommand]) -> Vec<String> {
    let asked = commands.iter().filter_map(|command| match command {
        BridgeCommand::CreateItem { item, .. } => match &item.kind {
            ItemKind::ToolOutput { call_id, output } => Some(format!("{call_id}: {output}")),
            _ => None,
        },
        BridgeCommand::CreateResponse(options) => {
            Some(options.instructions.clone().unwrap_or_else(|| "answer".to_owned()))
        }
        _ => None,
    });
    asked.collect()
}

#[test]
fn a_held_call_reaches_nobody_until_it_is_approved_and_the_client_runs_it_then() {
    for leg in [Leg::Pcm, Leg::Rtp] {
        for owner in [TurnOwner::Gateway, TurnOwner::Provider] {
            let mut stage = Stage::new(leg, owner);
            stage.hear(answer("resp_1", "call_1", "refund"));
            assert!(!mentions_a_call(&stage.told()));
            let filler = asked(&stage.commands());
            assert!(filler.len() == 1 && filler[0].contains("need a moment"), "{filler:?}");
            let pending = stage.pending();
            assert_eq!((pending.len(), pending[0].tool.as_str()), (1, "refund"));
            assert_eq!(pending[0].arguments, r#"{"amount": 5}"#);
            stage.hear([started("resp_2"), done("resp_2")]);
            assert_eq!(stage.decide(Verdict::Approve), Ok(ApprovalState::Approved));
            let told = stage.told();
            assert_eq!(runnable(&told), ["call_1"], "{:?}", kinds(&told));
            let last = told.last().unwrap();
            assert_eq!(
                (&last["type"], &last["response"]["status"]),
                (&json!("response.done"), &json!("completed"))
            );
            assert_eq!(last["response"]["output"][0]["arguments"], r#"{"amount": 5}"#);
            assert!(asked(&stage.commands()).is_empty(), "the client goes on with the output");
            stage.send(&json!({"type": "conversation.item.create", "item":
                {"type": "function_call_output", "call_id": "call_1", "output": "paid"}}));
            stage.send(&json!({"type": "response.create"}));
            assert_eq!(asked(&stage.commands()), ["call_1: paid", "answer"]);
            assert!(stage.pending().is_empty());
            assert_eq!((stage.counted("approved"), stage.counted("allowed")), (1, 0));
        }
    }
}

#[test]
fn an_approved_call_waits_for_the_answer_in_progress() {
    let mut stage = Stage::new(Leg::Pcm, TurnOwner::Gateway);
    stage.hear(answer("resp_1", "call_1", "refund"));
    // The filler is asked for and has not begun.
    assert_eq!(stage.decide(Verdict::Approve), Ok(ApprovalState::Approved));
    assert!(!mentions_a_call(&stage.told()));
    stage.hear([started("resp_2")]);
    assert!(!mentions_a_call(&stage.told()));
    stage.hear([done("resp_2")]);
    let told = stage.told();
    let done =
        told.iter().position(|event| event["response"]["id"] == "resp_2" && event["type"] == "response.done");
    let call = told.iter().position(|event| event.to_string().contains("call_1"));
    assert!(done.unwrap() < call.unwrap());
    assert_eq!(runnable(&told), ["call_1"]);
}

#[test]
fn what_nobody_approves_is_told_to_the_model_which_goes_on() {
    for expires in [false, true] {
        let mut stage = Stage::new(Leg::Pcm, TurnOwner::Gateway);
        stage.hear(answer("resp_1", "call_1", "refund"));
        stage.hear([started("resp_2"), done("resp_2")]);
        stage.commands();
        let reason = if expires {
            stage.wait(WINDOW - Duration::from_millis(1));
            assert!(asked(&stage.commands()).is_empty());
            stage.wait(Duration::from_millis(1));
            "nobody approved it in time"
        } else {
            assert_eq!(stage.decide(Verdict::Deny), Ok(ApprovalState::Denied));
            "a person decided against it"
        };
        let asked = asked(&stage.commands());
        assert!(asked[0].starts_with("call_1: ") && asked[0].contains(reason), "{asked:?}");
        assert_eq!(asked[1..], ["answer"]);
        stage.hear([started("resp_3"), done("resp_3")]);
        assert!(!mentions_a_call(&stage.told()), "the client never hears of it");
        assert_eq!(stage.counted(if expires { "expired" } else { "denied" }), 1);
        assert!(stage.pending().is_empty());
    }
}

#[test]
fn a_call_the_agent_may_not_make_is_answered_for_it() {
    let mut stage = Stage::new(Leg::Rtp, TurnOwner::Gateway);
    stage.hear(answer("resp_1", "call_1", "erase"));
    let told = stage.told();
    assert!(!mentions_a_call(&told));
    assert_eq!(told.last().unwrap()["response"]["output"], json!([]));
    let asked = asked(&stage.commands());
    assert!(asked[0].contains("may not call the tool") && asked[1] == "answer", "{asked:?}");
    assert_eq!((stage.counted("refused"), stage.pending().len()), (1, 0));
    stage.hear(answer("resp_2", "call_2", "look"));
    assert_eq!(runnable(&stage.told()), ["call_2"]);
    assert_eq!(stage.counted("allowed"), 1);
}

#[test]
fn a_client_that_interrupts_the_filler_does_not_lose_its_call() {
    let mut stage = Stage::new(Leg::Pcm, TurnOwner::Gateway);
    stage.hear(answer("resp_1", "call_1", "refund"));
    stage.hear([started("resp_2")]);
    stage.send(&json!({"type": "response.cancel"}));
    assert_eq!(stage.pending().len(), 1);
    stage.hear([BridgeEvent::ResponseDone {
        response_id: "resp_2".into(),
        status: ResponseStatus::CancelledByClient,
        usage: None,
    }]);
    assert_eq!(stage.decide(Verdict::Approve), Ok(ApprovalState::Approved));
    assert_eq!(runnable(&stage.told()), ["call_1"]);
}

#[test]
fn an_answer_the_client_cancels_before_its_end_asks_nobody() {
    let mut stage = Stage::new(Leg::Pcm, TurnOwner::Gateway);
    let [first, second, third, last] = answer("resp_1", "call_1", "refund");
    stage.hear([first, second, third]);
    assert!(stage.pending().is_empty(), "a person is asked once the answer is over");
    stage.send(&json!({"type": "response.cancel"}));
    // The provider was done before it heard of it.
    stage.hear([last]);
    assert!(stage.pending().is_empty());
    assert_eq!(stage.counted("dropped"), 1);
    assert!(asked(&stage.commands()).is_empty(), "nobody speaks on behalf of what was cancelled");
}

#[test]
fn arguments_that_break_a_rule_take_their_call_with_them() {
    let mut stage = Stage::new(Leg::Pcm, TurnOwner::Gateway);
    let [first, _, third, last] = answer("resp_1", "call_1", "refund");
    let secret = arguments("resp_1", "call_1", "refund", r#"{"note": "password "}"#);
    stage.hear([first, secret, third, last]);
    assert!(stage.pending().is_empty());
    assert!(!mentions_a_call(&stage.told()));
    assert_eq!(asked(&stage.commands()), ["Say exactly: No."]);
}

#[test]
fn a_session_that_ends_takes_its_held_calls_with_it() {
    for reason in [EndReason::ClientClosed, EndReason::ClientLost, EndReason::HungUp] {
        let mut stage = Stage::new(Leg::Rtp, TurnOwner::Gateway);
        stage.hear(answer("resp_1", "call_1", "refund"));
        let id = stage.pending()[0].id.clone();
        stage.dialogue.end(stage.now, reason);
        stage.drain();
        assert!(stage.pending().is_empty(), "{reason:?}");
        let late = stage.held.decide_at(stage.now, &id, &Reach::Installation, Verdict::Approve);
        assert_eq!(late, Err(ApprovalError::Unknown));
        assert_eq!(stage.counted("withdrawn"), 1);
        assert_eq!(stage.dialogue.poll_timeout(stage.now), None);
        assert!(!mentions_a_call(&stage.told()));
    }
}

#[test]
fn a_session_that_is_dropped_takes_its_held_calls_with_it() {
    let mut stage = Stage::new(Leg::Rtp, TurnOwner::Gateway);
    stage.hear(answer("resp_1", "call_1", "refund"));
    drop(stage.dialogue);
    assert!(stage.held.pending(&Reach::Installation).is_empty());
}
