use std::sync::Arc;
use std::time::Duration;

use voxgate_policy::decision::{Act, Authorizer, PolicyFile};
use voxgate_policy::routing::RouteTable;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::tenant::{TeamId, TenantPath};

use super::*;
use crate::host::SessionHost;
use crate::host::idle::{Decided, Idle};

const DAY: Duration = Duration::from_hours(24);

/// What may be kept of a session of this team, what is demanded for it, and what was asked on the way.
fn ask(
    policies: &str,
    recording: Option<Recording>,
    team: &str,
) -> (Option<Recording>, Obligations, Vec<Decided>) {
    let file = PolicyFile { name: "test.cedar", text: policies };
    let files = if policies.is_empty() { Vec::new() } else { vec![file] };
    let host = Arc::new(Idle::recording(recording));
    let terms = Terms {
        revision: RevisionName::default(),
        authorizer: Arc::new(Authorizer::load(&files).unwrap()),
        routes: Arc::new(RouteTable::default()),
        default_model: "m".into(),
        agents: Arc::default(),
        limits: Arc::default(),
        host: Arc::clone(&host) as Arc<dyn SessionHost>,
    };
    let tenancy = TenantPath { team: TeamId::new(team).unwrap(), ..TenantPath::default() };
    let caller = Caller { tenancy, ..Caller::default() };
    let mut obligations = Obligations::default();
    let kept = may_record(&terms, &caller, &mut obligations);
    (kept, obligations, host.take_decided())
}

const EVERYTHING: Recording = Recording { audio: true, keep: DAY };
const WORDS: Recording = Recording { audio: false, keep: DAY };

#[test]
fn without_policies_of_ones_own_everything_the_configuration_keeps_is_kept() {
    let by = || vec!["callers-call".into()];
    let (kept, _, decided) = ask("", Some(EVERYTHING), "red");
    assert_eq!(kept, Some(EVERYTHING));
    let allowed = |act| (act, Effect::Allow, by());
    assert_eq!(decided, [allowed(Act::RecordTranscript), allowed(Act::RecordAudio)]);
    let (kept, _, decided) = ask("", Some(WORDS), "red");
    assert_eq!((kept, decided), (Some(WORDS), vec![allowed(Act::RecordTranscript)]));
}

#[test]
fn a_gateway_that_keeps_nothing_asks_nothing() {
    let (kept, _, decided) = ask("", None, "red");
    assert_eq!((kept, decided), (None, Vec::new()));
}

const FOR_A_DAY: &str = r#"
@id("calls") permit (principal, action == Action::"session.start", resource);
@id("kept-for-a-day") permit (principal, action in Action::"record", resource) when { context.keep_seconds <= 86400 };
@id("red-is-not-heard") forbid (principal in Team::"default/red", action == Action::"record.audio", resource);
@id("black-is-not-kept") forbid (principal in Team::"default/black", action == Action::"record.transcript", resource);
"#;

#[test]
fn a_policy_that_forbids_voices_leaves_the_words_and_is_named() {
    let (kept, _, decided) = ask(FOR_A_DAY, Some(EVERYTHING), "red");
    assert_eq!(kept, Some(WORDS));
    let expected = [
        (Act::RecordTranscript, Effect::Allow, vec!["kept-for-a-day".into()]),
        (Act::RecordAudio, Effect::Deny, vec!["red-is-not-heard".into()]),
    ];
    assert_eq!(decided, expected);
    assert_eq!(ask(FOR_A_DAY, Some(EVERYTHING), "blue").0, Some(EVERYTHING), "another team is heard");
}

#[test]
fn a_policy_that_forbids_the_words_leaves_nothing_and_is_named() {
    let (kept, _, decided) = ask(FOR_A_DAY, Some(EVERYTHING), "black");
    assert_eq!(kept, None);
    assert_eq!(decided, [(Act::RecordTranscript, Effect::Deny, vec!["black-is-not-kept".into()])]);
}

#[test]
fn what_would_be_kept_longer_than_a_policy_permits_is_not_kept_at_all() {
    let longer = Recording { keep: DAY + Duration::from_secs(1), ..EVERYTHING };
    let (kept, _, decided) = ask(FOR_A_DAY, Some(longer), "blue");
    assert_eq!((kept, decided), (None, vec![(Act::RecordTranscript, Effect::Deny, Vec::new())]));
}

#[test]
fn policies_that_permit_calls_alone_let_nothing_be_kept() {
    let calls = r#"@id("calls") permit (principal, action == Action::"session.start", resource);"#;
    assert_eq!(ask(calls, Some(EVERYTHING), "red").0, None);
}

#[test]
fn what_waits_for_a_person_is_not_kept_and_what_a_policy_demands_holds_only_for_what_is_kept() {
    let policies = r#"
@id("words") @max_session_seconds("600") permit (principal, action == Action::"record.transcript", resource);
@id("voices") @approval("human") @max_session_seconds("60") permit (principal, action == Action::"record.audio", resource);
"#;
    let (kept, obligations, _) = ask(policies, Some(EVERYTHING), "red");
    assert_eq!(kept, Some(WORDS));
    assert_eq!(obligations.max_session, Some(Duration::from_secs(600)));
    assert!(!obligations.needs_approval);
}
