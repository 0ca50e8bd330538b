use voxgate_protocol::bridge::{Fault, FaultOwner};

use super::*;
use crate::decision::{PolicyFile, Risk};
use crate::tool::{ArgumentLimit, ToolRule};

const WINDOW: Duration = Duration::from_secs(60);

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
        approval_window: WINDOW,
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
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { gate: gate(), now: Instant::now() }
    }

    fn hear(&mut self, events: impl IntoIterator<Item = BridgeEvent>) -> Vec<GateOutput> {
        for event in events {
            self.gate.handle_event(self.now, event);
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
        GateOutput::Command(BridgeCommand::CreateItem { item, .. }) => match &item.kind {
            ItemKind::ToolOutput { call_id, output } => Some(format!("{call_id}: {output}")),
            other => panic!("{other:?}"),
        },
        GateOutput::Command(BridgeCommand::CreateResponse(options)) => {
            Some(options.instructions.clone().unwrap_or_else(|| "go on".to_owned()))
        }
        _ => None,
    });
    told.collect()
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
    let decided = outputs.iter().find_map(|output| match output {
        GateOutput::Decided { decision: Some(decision), .. } => Some(decision.clone()),
        _ => None,
    });
    assert_eq!(decided.unwrap().policies, [Arc::<str>::from("tools")]);
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
        assert!(outputs[last..].len() == 3, "the model is told after its answer ended");
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
    let deadline = world.now + WINDOW;
    let held = GateOutput::Held {
        call_id: "call_1".into(),
        tool: "refund".to_owned(),
        arguments: r#"{"amount": 50}"#.to_owned(),
        deadline,
    };
    assert!(outputs.contains(&held), "{outputs:?}");
    assert_eq!(world.gate.poll_timeout(), Some(deadline));

    world.hear([started("resp_filler")]);
    assert_eq!(world.gate.decide(world.now, &"call_1".into(), Verdict::Approve), Ok(()));
    let settled = GateOutput::Settled { call_id: "call_1".into(), state: ApprovalState::Approved };
    assert_eq!(world.read(), [settled], "the filler is still being spoken");
    let outputs = world.hear([done("resp_filler")]);
    let all = events(&outputs);
    let [first, BridgeEvent::ResponseStarted { response_id }, rest @ ..] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(*first, done("resp_filler"));
    let mut expected = call(response_id.as_str(), "call_1", "refund", r#"{"amount": 50}"#);
    expected.push(done(response_id.as_str()));
    assert_eq!(rest, expected);
    assert!(told(&outputs).is_empty(), "the client answers the call");
    let again = world.gate.decide(world.now, &"call_1".into(), Verdict::Deny);
    assert_eq!(again, Err(ApprovalError::Unknown));
}

#[test]
fn a_held_call_that_is_denied_or_forgotten_is_refused_and_the_conversation_goes_on() {
    let mut world = World::new();
    world.answer("call_1", "refund", "{}");
    assert_eq!(world.gate.decide(world.now, &"call_1".into(), Verdict::Deny), Ok(()));
    let outputs = world.read();
    assert!(events(&outputs).is_empty());
    let words = told(&outputs);
    assert!(words[0].contains("a person decided against it") && words[1] == "go on", "{words:?}");

    world.answer("call_2", "refund", "{}");
    world.now += WINDOW;
    world.gate.handle_timeout(world.now);
    let outputs = world.read();
    let settled = GateOutput::Settled { call_id: "call_2".into(), state: ApprovalState::Expired };
    assert_eq!(outputs[0], settled);
    let words = told(&outputs);
    assert!(words[0].contains("nobody approved it in time") && words[1] == "go on", "{words:?}");
    assert_eq!(world.gate.poll_timeout(), None);
    let late = world.gate.decide(world.now, &"call_2".into(), Verdict::Approve);
    assert_eq!(late, Err(ApprovalError::Unknown), "what expired is not approved afterwards");
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
    assert_eq!(outputs, [started("resp_1"), done("resp_1")].map(GateOutput::Event));
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
