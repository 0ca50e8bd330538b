use voxgate_protocol::bridge::{Fault, FaultOwner};

use super::*;
use crate::decision::{PolicyFile, Risk};
use crate::tool::{ArgumentLimit, ToolRule};

const POLICIES: &str = "
@id(\"tools\") permit (principal, action == Action::\"tool.call\", resource);
@id(\"ask\") @approval(\"human\") permit (principal, action == Action::\"tool.call\", resource)
when { resource.risk == \"dangerous\" };
@id(\"never\") forbid (principal, action == Action::\"tool.call\", resource == Tool::\"erase\");
";

fn gate() -> ToolGate {
    let authorizer = Authorizer::load(&[PolicyFile { name: "t.cedar", text: POLICIES }]).unwrap();
    let rule = |risk, limit| ToolRule {
        risk,
        arguments: [("amount".to_owned(), ArgumentLimit::Number { minimum: 0.0, maximum: limit })].into(),
        allows_others: false,
    };
    let tools = ToolRules {
        tools: [
            ("look".to_owned(), rule(Risk::ReadOnly, 10.0)),
            ("erase".to_owned(), rule(Risk::Ordinary, 10.0)),
            ("refund".to_owned(), rule(Risk::Dangerous, 100.0)),
        ]
        .into(),
        allows_others: false,
    };
    let permissions = ToolPermissions {
        authorizer: Arc::new(authorizer),
        caller: Caller::default(),
        tools: Arc::new(tools),
        filler: None,
    };
    ToolGate::new(permissions, 7)
}

fn started(response: &str) -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: response.into() }
}

fn done(response: &str) -> BridgeEvent {
    BridgeEvent::ResponseDone { response_id: response.into(), status: ResponseStatus::Completed, usage: None }
}

/// The events of one call, its arguments in two pieces.
fn call(response: &str, id: &str, tool: &str, arguments: &str) -> Vec<BridgeEvent> {
    let (first, second) = arguments.split_at(arguments.len() / 2);
    let piece = |delta: &str| BridgeEvent::Output {
        response_id: response.into(),
        item_id: format!("item_{id}").into(),
        part: OutputPart::ToolArguments {
            call_id: id.into(),
            name: tool.to_owned(),
            delta: delta.to_owned(),
        },
    };
    let status = ItemStatus::Completed;
    let end = BridgeEvent::OutputItemDone {
        response_id: response.into(),
        item_id: format!("item_{id}").into(),
        status,
    };
    vec![piece(first), piece(second), end]
}

struct World {
    gate: ToolGate,
}

impl World {
    fn new() -> Self {
        Self { gate: gate() }
    }

    fn hear(&mut self, events: impl IntoIterator<Item = BridgeEvent>) -> Vec<GateOutput> {
        for event in events {
            self.gate.handle_event(event);
        }
        self.read()
    }

    fn read(&mut self) -> Vec<GateOutput> {
        std::iter::from_fn(|| self.gate.poll_output()).collect()
    }

    /// One answer with one call.
    fn answer(&mut self, id: &str, tool: &str, arguments: &str) -> Vec<GateOutput> {
        let mut events = vec![started("resp_1")];
        events.extend(call("resp_1", id, tool, arguments));
        events.push(done("resp_1"));
        self.hear(events)
    }
}

fn events(outputs: &[GateOutput]) -> Vec<BridgeEvent> {
    let events = outputs.iter().filter_map(|output| match output {
        GateOutput::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

/// What the model is told: the refusals of calls, and `go on` where it is asked for an answer.
fn told(outputs: &[GateOutput]) -> Vec<String> {
    let told = outputs.iter().filter_map(|output| match output {
        GateOutput::Item(item) => match &item.kind {
            ItemKind::ToolOutput { call_id, output } => Some(format!("{call_id}: {output}")),
            other => panic!("{other:?}"),
        },
        GateOutput::Answer(options) => {
            Some(options.instructions.clone().unwrap_or_else(|| "go on".to_owned()))
        }
        _ => None,
    });
    told.collect()
}

fn outcomes(outputs: &[GateOutput]) -> Vec<CallOutcome> {
    let outcomes = outputs.iter().filter_map(|output| match output {
        GateOutput::Outcome(outcome) => Some(*outcome),
        _ => None,
    });
    outcomes.collect()
}

fn held(outputs: &[GateOutput]) -> Vec<&str> {
    let held = outputs.iter().filter_map(|output| match output {
        GateOutput::Held(held) => Some(held.call_id.as_str()),
        _ => None,
    });
    held.collect()
}

#[test]
fn an_allowed_call_goes_on_as_it_came() {
    let mut world = World::new();
    let outputs = world.answer("call_1", "look", r#"{"amount": 5}"#);
    let mut expected = vec![started("resp_1")];
    expected.extend(call("resp_1", "call_1", "look", r#"{"amount": 5}"#));
    expected.push(done("resp_1"));
    assert_eq!(events(&outputs), expected);
    assert!(told(&outputs).is_empty());
    assert_eq!(outcomes(&outputs), [CallOutcome::Allowed]);
    let decided = outputs.iter().find_map(|output| match output {
        GateOutput::Decided { decision, .. } => Some(decision.clone()),
        _ => None,
    });
    assert_eq!(decided.unwrap().policies, [Arc::<str>::from("tools")]);
}

#[test]
fn the_arguments_of_a_tool_that_takes_anything_are_not_kept_back() {
    let mut world = World::new();
    let mut permissions = gate().permissions;
    permissions.tools = Arc::new(ToolRules::unrestricted());
    world.gate = ToolGate::new(permissions, 7);
    world.hear([started("resp_1")]);
    for event in call("resp_1", "call_1", "anything", r#"{"amount": 5}"#) {
        assert_eq!(events(&world.hear([event.clone()])), [event]);
    }
    let refused = world.hear(call("resp_1", "call_2", "erase", "{}"));
    assert!(events(&refused).is_empty(), "a policy can still forbid it by its name");
}

#[test]
fn a_refused_call_reaches_nobody_and_the_model_learns_why() {
    for (tool, arguments, reason) in [
        ("look", r#"{"amount": 11}"#, "the argument 'amount' must be a number from 0 to 10"),
        ("erase", "{}", "this agent may not call the tool"),
        ("other", "{}", "this agent may not call the tool"),
        ("look", "{", "the arguments are not a JSON object that names every argument once"),
    ] {
        let mut world = World::new();
        let outputs = world.answer("call_1", tool, arguments);
        assert_eq!(events(&outputs), [started("resp_1"), done("resp_1")], "{tool}");
        let told = told(&outputs);
        assert!(told[0].starts_with(&format!("call_1: The call was refused: {reason}.")), "{told:?}");
        assert_eq!(told[1..], ["go on"]);
        let last = outputs.iter().position(|output| *output == GateOutput::Event(done("resp_1"))).unwrap();
        assert_eq!(told, self::told(&outputs[last..]), "the model is told after its answer ended");
        assert_eq!(outcomes(&outputs), [CallOutcome::Refused]);
    }
}

#[test]
fn beside_an_allowed_call_the_client_makes_the_model_go_on() {
    let mut world = World::new();
    let mut answer = vec![started("resp_1")];
    answer.extend(call("resp_1", "call_1", "look", "{}"));
    answer.extend(call("resp_1", "call_2", "erase", "{}"));
    answer.push(done("resp_1"));
    let told = told(&world.hear(answer));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("call_2: "));
}

#[test]
fn a_held_call_goes_on_as_an_answer_of_its_own_once_a_person_approves() {
    let mut world = World::new();
    let outputs = world.answer("call_1", "refund", r#"{"amount": 50}"#);
    assert_eq!(events(&outputs), [started("resp_1"), done("resp_1")]);
    assert_eq!(told(&outputs), [FILLER]);
    let asked = GateOutput::Held(HeldCall {
        call_id: "call_1".into(),
        tool: "refund".to_owned(),
        risk: Risk::Dangerous,
        arguments: r#"{"amount": 50}"#.to_owned(),
    });
    assert!(outputs.contains(&asked), "{outputs:?}");
    assert!(!world.gate.has_approved());

    assert!(world.gate.settle(&"call_1".into(), ApprovalState::Approved));
    assert!(world.read().is_empty(), "it waits until it is let go");
    assert!(world.gate.has_approved());
    world.gate.release();
    let outputs = world.read();
    let all = events(&outputs);
    let [BridgeEvent::ResponseStarted { response_id }, rest @ ..] = all.as_slice() else { panic!("{all:?}") };
    let mut expected = call(response_id.as_str(), "call_1", "refund", r#"{"amount": 50}"#);
    expected.push(done(response_id.as_str()));
    assert_eq!(rest, expected);
    assert!(told(&outputs).is_empty(), "the client answers the call");
    world.gate.release();
    assert!(world.read().is_empty(), "it is let go once");
    assert!(!world.gate.settle(&"call_1".into(), ApprovalState::Denied));
}

#[test]
fn calls_approved_together_go_on_in_one_answer() {
    let mut world = World::new();
    let mut answer = vec![started("resp_1")];
    answer.extend(call("resp_1", "call_1", "refund", "{}"));
    answer.extend(call("resp_1", "call_2", "refund", "{}"));
    answer.push(done("resp_1"));
    assert_eq!(held(&world.hear(answer)), ["call_1", "call_2"]);
    for id in ["call_1", "call_2"] {
        world.gate.settle(&id.into(), ApprovalState::Approved);
    }
    world.gate.release();
    let all = events(&world.read());
    let answers = all.iter().filter(|event| matches!(event, BridgeEvent::ResponseStarted { .. })).count();
    assert_eq!((answers, all.len()), (1, 1 + 3 + 3 + 1));
}

#[test]
fn a_held_call_that_is_denied_or_forgotten_is_refused_and_the_conversation_goes_on() {
    for (state, reason) in [
        (ApprovalState::Denied, "a person decided against it"),
        (ApprovalState::Expired, "nobody approved it in time"),
    ] {
        let mut world = World::new();
        world.answer("call_1", "refund", "{}");
        assert!(world.gate.settle(&"call_1".into(), state));
        let outputs = world.read();
        assert!(events(&outputs).is_empty());
        let words = told(&outputs);
        assert!(words[0].contains(reason) && words[1] == "go on", "{words:?}");
        assert!(!world.gate.settle(&"call_1".into(), ApprovalState::Approved), "what is decided stays so");
        assert!(!world.gate.has_approved());
    }
}

#[test]
fn an_answer_that_was_stopped_stops_its_calls() {
    let cancelled =
        |id: Option<&str>| BridgeCommand::CancelResponse { response_id: id.map(ResponseId::from) };
    for tool in ["refund", "erase", "look"] {
        // The provider was done before it heard of it; the answer is named, or whichever is in progress is meant.
        for (status, command) in [
            (ResponseStatus::Completed, Some(cancelled(Some("resp_1")))),
            (ResponseStatus::Completed, Some(cancelled(None))),
            (ResponseStatus::CancelledByTurn, None),
        ] {
            let mut world = World::new();
            world.hear([started("resp_1")]);
            if let Some(command) = command {
                world.gate.handle_command(&command);
            }
            let mut rest = call("resp_1", "call_1", tool, "{}");
            let end = BridgeEvent::ResponseDone { response_id: "resp_1".into(), status, usage: None };
            rest.push(end.clone());
            if tool == "look" {
                rest.remove(2);
            }
            let outputs = world.hear(rest);
            assert_eq!(events(&outputs), [end], "{tool}");
            assert!(told(&outputs).is_empty() && held(&outputs).is_empty(), "{outputs:?}");
            assert_eq!(outcomes(&outputs), [CallOutcome::Dropped]);
        }
    }
}

#[test]
fn a_call_nobody_said_to_be_complete_is_what_its_answer_is() {
    let mut world = World::new();
    let mut answer = vec![started("resp_1")];
    answer.extend(call("resp_1", "call_1", "refund", "{}").into_iter().take(2));
    answer.push(done("resp_1"));
    let outputs = world.hear(answer);
    assert_eq!(held(&outputs), ["call_1"]);
    assert!(world.hear(call("resp_1", "call_1", "refund", "{}")).is_empty(), "what comes later is nothing");
}

#[test]
fn an_answer_beside_the_conversation_is_told_nothing() {
    for tool in ["refund", "erase"] {
        let mut world = World::new();
        world.hear([started("resp_1")]);
        world.gate.note_beside(&"resp_1".into());
        let mut rest = call("resp_1", "call_1", tool, "{}");
        rest.push(done("resp_1"));
        let outputs = world.hear(rest);
        assert_eq!(events(&outputs), [done("resp_1")]);
        assert!(told(&outputs).is_empty() && held(&outputs).is_empty(), "{outputs:?}");
        assert_eq!(outcomes(&outputs), [CallOutcome::Refused]);
    }
}

#[test]
fn a_connection_that_takes_over_is_told_of_held_calls_and_of_refusals_until_they_are_answered() {
    let mut world = World::new();
    world.answer("call_1", "refund", r#"{"amount": 5}"#);
    world.answer("call_2", "erase", "{}");
    let kinds: Vec<_> = world.gate.context().map(|item| item.kind).collect();
    let [
        ItemKind::ToolCall { call_id: refused, .. },
        ItemKind::ToolOutput { call_id: of, .. },
        ItemKind::ToolCall { call_id: held, arguments, .. },
    ] = kinds.as_slice()
    else {
        panic!("{kinds:?}")
    };
    assert_eq!([refused, of, held].map(ToolCallId::as_str), ["call_2", "call_2", "call_1"]);
    assert_eq!(arguments, r#"{"amount": 5}"#);
    world.hear([started("resp_2"), done("resp_2")]);
    assert_eq!(world.gate.context().count(), 1);
    world.gate.settle(&"call_1".into(), ApprovalState::Approved);
    assert_eq!(world.gate.context().count(), 1, "the client does not know it yet");
    world.gate.release();
    assert_eq!(world.gate.context().count(), 0);
}

#[test]
fn a_call_that_was_cut_off_reaches_nobody() {
    let mut world = World::new();
    let mut events_ = vec![started("resp_1")];
    events_.extend(call("resp_1", "call_1", "look", "{}"));
    if let Some(BridgeEvent::OutputItemDone { status, .. }) = events_.last_mut() {
        *status = ItemStatus::Incomplete;
    }
    events_.push(done("resp_1"));
    let outputs = world.hear(events_);
    assert_eq!(events(&outputs), [started("resp_1"), done("resp_1")]);
    assert_eq!(outcomes(&outputs), [CallOutcome::Dropped]);
    assert!(told(&outputs).is_empty());
}

#[test]
fn a_model_cannot_fill_the_gate() {
    let mut world = World::new();
    for number in 0..MAX_HELD {
        world.answer(&format!("call_{number}"), "refund", "{}");
    }
    let words = told(&world.answer("call_more", "refund", "{}"));
    assert!(words[0].contains("too many calls wait"), "{words:?}");
    let flood = "x".repeat(4 * LONGEST_ARGUMENTS);
    let words = told(&world.answer("call_flood", "look", &flood));
    assert!(words[0].contains("too long"), "{words:?}");
}

#[test]
fn everything_else_passes_untouched() {
    let mut world = World::new();
    let fault = |is_final| {
        BridgeEvent::Fault(Fault {
            owner: FaultOwner::Provider,
            code: "x".to_owned(),
            message: "x".to_owned(),
            may_retry: false,
            may_switch: false,
            is_final,
        })
    };
    let part = OutputPart::Transcript("words".to_owned());
    let words = BridgeEvent::Output { response_id: "resp_1".into(), item_id: "item_1".into(), part };
    let all = vec![BridgeEvent::Ready, started("resp_1"), words, fault(false), done("resp_1"), fault(true)];
    assert_eq!(world.hear(all.clone()), all.into_iter().map(GateOutput::Event).collect::<Vec<_>>());
}
