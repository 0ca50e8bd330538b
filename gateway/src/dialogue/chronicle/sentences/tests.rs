use voxgate_policy::money::budget::Scope;
use voxgate_protocol::tenant::{OrganisationId, TeamId};
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::burn::Spending;
use voxgate_telemetry::session::view::Severity;

use super::*;

const REASONS: [Reason; 10] = [
    Reason::Age,
    Reason::Expired,
    Reason::Closed,
    Reason::Lost,
    Reason::Stalled,
    Reason::Silent,
    Reason::Setup,
    Reason::Refused,
    Reason::Better,
    Reason::Slow,
];

fn told(owner: FaultOwner, code: &str, is_final: bool) -> Fault {
    let (code, message) = (code.to_owned(), "Account 4711 of Mr Smith has no money.".to_owned());
    Fault { owner, code, message, may_retry: true, may_switch: true, is_final }
}

fn slow_model() -> Grounds {
    let spending = Spending { turns: 12, breaches: 7 };
    Grounds { subject: Subject::Hop(Hop::Model), budget: Some(Duration::from_secs(3)), spending }
}

fn monthly() -> Budget {
    let (organisation, team) = (OrganisationId::new("acme").unwrap(), Some(TeamId::new("support").unwrap()));
    let scope = Scope { organisation, team, key: None, agent: None };
    Budget { scope, window: Window::Month, soft: None, hard: Some(NanoDollars::new(2_000_000_000)) }
}

#[test]
fn what_a_budget_does_says_whose_it_is_and_its_limits() {
    let note = budget(&money::Act::Close(Some(Box::new(monthly()))));
    let expected = "The monthly budget of team support of acme is used up: the session ends.";
    assert_eq!((note.text.as_str(), note.severity), (expected, Severity::Error));
    let limits = json!({ "budget": "team support of acme", "window": "month", "soft_nano_dollars": null,
        "hard_nano_dollars": 2_000_000_000_i64 });
    assert_eq!(note.detail, limits);
    let note = budget(&money::Act::Warn(Box::new(monthly())));
    assert_eq!(note.text, "The monthly budget of team support of acme has passed its soft limit.");
}

#[test]
fn a_move_away_from_a_slow_target_says_which_budget_it_broke_and_how_often() {
    let (first, second) = (Target::new("first", None), Target::new("second", None));
    let (from, to, grounds) = (Some(&first), Some(&second), Some(slow_model()));
    let note = moved(&Move { reason: Reason::Slow, from, to, waited: None, grounds });
    let expected = "Moved from first to second: first has been over its budget of 3000 ms for model in 7 of 12 turns of the last hour.";
    assert_eq!((note.text.as_str(), note.severity), (expected, Severity::Warning));
    let figures = json!({ "reason": "slow", "from": "first", "to": "second", "provider": "second", "region": null,
        "waited_ms": null, "subject": "model", "budget_ms": 3_000.0, "breaches": 7, "turns": 12 });
    assert_eq!(note.detail, figures);
}

#[test]
fn a_target_that_was_passed_over_for_so_long_that_no_turn_is_left_is_left_without_a_figure() {
    let (first, second) = (Target::new("first", None), Target::new("second", None));
    let grounds = Some(Grounds { spending: Spending::default(), ..slow_model() });
    let note =
        moved(&Move { reason: Reason::Slow, from: Some(&first), to: Some(&second), waited: None, grounds });
    assert_eq!(note.text, "Moved from first to second: first has been over its budget of 3000 ms for model.");
}

#[test]
fn a_move_after_an_outage_says_how_long_the_caller_had_nobody() {
    let first = Target::new("first", None);
    let waited = Some(Duration::from_millis(812));
    let note = moved(&Move { reason: Reason::Lost, from: Some(&first), to: None, waited, grounds: None });
    let expected =
        "Moved to a new connection to first, after 812 ms without a provider: the connection broke.";
    assert_eq!((note.text.as_str(), note.kind), (expected, EventKind::Rotation));
}

#[test]
fn optional_work_is_left_out_with_the_hop_that_burns() {
    let spending = Spending { turns: 10, breaches: 10 };
    let budget = Some(Duration::from_micros(1));
    let grounds = Grounds { subject: Subject::Hop(Hop::Encode), budget, spending };
    let note = left_out(Optional::Opinion, Some("vendor"), Some(&grounds));
    let expected = "Left out, since encode has been over its budget of 0.001 ms in 10 of 10 turns of the last hour: the guardrail vendor is not asked.";
    assert_eq!((note.text.as_str(), note.kind), (expected, EventKind::Shed));
    assert_eq!(note.detail["work"], "opinion");
}

#[test]
fn of_what_a_provider_says_only_a_code_that_looks_like_one_is_written_down() {
    for (said, written) in [
        ("server_error", "server_error"),
        ("http.503", "http.503"),
        ("", UNKNOWN_CODE),
        ("Account 4711", UNKNOWN_CODE),
        ("sk-Secret", UNKNOWN_CODE),
        (&"a".repeat(65), UNKNOWN_CODE),
    ] {
        for owner in [FaultOwner::Provider, FaultOwner::Client, FaultOwner::Gateway] {
            let note = fault(&told(owner, said, false));
            assert_eq!(note.detail["code"], written);
            assert!(note.text.contains(written) && !note.text.contains("4711"), "{}", note.text);
        }
    }
}

#[test]
fn a_fault_that_ends_the_session_is_an_error_and_says_so() {
    let note = fault(&told(FaultOwner::Provider, "provider_disconnected", true));
    let expected = "The provider, or the way to it, failed with provider_disconnected: the session ends.";
    assert_eq!((note.text.as_str(), note.severity), (expected, Severity::Error));
    assert_eq!(fault(&told(FaultOwner::Provider, "server_error", false)).severity, Severity::Warning);
}

#[test]
fn a_limit_says_which_and_when_there_is_room_again() {
    let refusal = limits::Refusal { resource: Resource::ToolCalls, wait: Duration::from_millis(1_500) };
    let expected = "The limit of tool calls per minute is reached: an answer is taken back; there is room again in 1500 ms.";
    assert_eq!(answer_taken_back(&refusal).text, expected);
    assert_eq!(answer_refused(&refusal).detail["limit"], "tool_calls");
}

/// Every sentence there is once.
fn everything() -> Vec<EventNote> {
    let target = Target::new("first", None);
    let of_reason = |reason| {
        let lost = BridgeEvent::Fault(told(FaultOwner::Provider, "provider_disconnected", true));
        let here = Move { reason, from: Some(&target), to: None, waited: None, grounds: None };
        [retry(reason), gave_up(reason, &lost), moved(&here), moved(&Move { to: Some(&target), ..here })]
    };
    let ends = [
        EndReason::ClientClosed,
        EndReason::ClientLost,
        EndReason::HungUp,
        EndReason::ProviderFailed,
        EndReason::MaximumDuration,
        EndReason::Drained,
        EndReason::SetupTimeout,
        EndReason::KeyRevoked,
        EndReason::EndedByOperator,
        EndReason::Guardrail,
        EndReason::BudgetExhausted,
        EndReason::RateLimited,
        EndReason::InternalError,
    ];
    let rule = |is_unheard| Note { rule: "rule".to_owned(), direction: "agent", act: "end", is_unheard };
    let refusal = limits::Refusal { resource: Resource::Tokens, wait: Duration::ZERO };
    let failed = ResponseStatus::Failed { code: "server_error".to_owned(), message: "Mr Smith".to_owned() };
    let response_id = voxgate_protocol::id::ResponseId::from("resp_1");
    let answer = BridgeEvent::ResponseDone { response_id, status: failed, usage: None };
    let mut notes = vec![
        connected(),
        not_begun(&ApiError::server_error("Mr Smith")),
        goes_on_from_another(),
        goes_on_elsewhere(),
        did_not_come_back(),
        restarts_ice(),
        relay_goes(true),
        relay_goes(false),
        carried_by(None, "1"),
        carried_by(Some("1"), "2"),
        interrupted(Duration::from_millis(90)),
        budget(&money::Act::Warn(Box::new(monthly()))),
        budget(&money::Act::Cancel(Some(Box::new(monthly())))),
        budget(&money::Act::Close(None)),
        answer_refused(&refusal),
        answer_taken_back(&refusal),
        audio_over_limit(),
        provider_congested(),
        audio_dropped(),
        client_refused("invalid_value"),
        more_client_refused(7),
        left_out(Optional::Voices, None, None),
        left_out(Optional::Opinion, None, None),
        asked_again("rule", 3),
        guardrail(&rule(true)),
        guardrail(&rule(false)),
        judge_is_silent("rule"),
        judge_is_back("rule", 3),
        tool_called("tool"),
        tool_refused("tool", true),
        tool_refused("tool", false),
        person_decided("call_1", ApprovalState::Denied),
    ];
    notes.extend(failure(&BridgeEvent::Closed { reason: "Mr Smith".to_owned() }));
    notes.extend(failure(&answer));
    notes.extend(REASONS.into_iter().flat_map(of_reason));
    notes.extend(ends.map(ended));
    notes
}

#[test]
fn every_event_is_one_whole_sentence_of_ours() {
    for note in everything() {
        let text = note.text;
        assert!(
            text.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit()),
            "{text}"
        );
        assert!(text.ends_with('.') && !text.contains(". ") && !text.contains('\n'), "{text}");
        assert!(text.len() <= 200, "{text}");
        assert!(!text.contains("Smith"), "{text}");
    }
}
