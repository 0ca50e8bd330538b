//! Sessions with several targets.

use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{FaultOwner, OutputPart, TurnOwner};

use super::*;

const AGE: Duration = Duration::from_mins(55);
const SECOND: Duration = Duration::from_secs(1);
const RATE: SampleRate = SampleRate::HZ_24000;
const RULE: Switching = Switching {
    attempt: Duration::from_secs(2),
    budget: Duration::from_secs(9),
    silence: Duration::from_secs(4),
    follows_better: true,
};

fn session(now: Instant) -> Rotation {
    session_with(now, RULE)
}

fn session_with(now: Instant, rule: Switching) -> Rotation {
    let traits = BridgeTraits {
        input_rate: RATE,
        output_rate: RATE,
        turn_owner: TurnOwner::Provider,
        truncates: true,
        transcribes: false,
    };
    Rotation::new(now, AGE, traits, SessionSettings::default()).switching(traits, Some(rule))
}

fn running(now: Instant) -> Rotation {
    let mut rotation = session(now);
    rotation.hear(now, BridgeEvent::Ready);
    rotation
}

fn fault(code: &str, may_retry: bool) -> BridgeEvent {
    BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: code.into(),
        message: "The end.".into(),
        may_retry,
        may_switch: true,
        is_final: true,
    })
}

fn create() -> BridgeCommand {
    BridgeCommand::CreateResponse(Box::default())
}

fn started() -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: "r".into() }
}

fn done() -> BridgeEvent {
    BridgeEvent::ResponseDone { response_id: "r".into(), status: ResponseStatus::Completed, usage: None }
}

fn failed_with(events: &[BridgeEvent]) -> Vec<&str> {
    let code = |event| match event {
        &BridgeEvent::ResponseDone { status: ResponseStatus::Failed { ref code, .. }, .. } => code.as_str(),
        other => panic!("{other:?}"),
    };
    events.iter().map(code).collect()
}

#[test]
fn a_first_connection_that_fails_is_replaced_by_one_to_another_target_and_nothing_is_told() {
    let now = Instant::now();
    for (event, is_told) in [
        (fault("provider_unreachable", true), false),
        (fault("provider_connect_timeout", true), false),
        (fault("insufficient_quota", false), false),
        (BridgeEvent::Closed { reason: "gone".to_owned() }, false),
    ] {
        let mut rotation = session(now);
        assert_eq!(rotation.route(now, create()), Some(create()));
        rotation.note_others(true);
        assert_eq!(!rotation.hear(now, event.clone()).is_empty(), is_told, "{event:?}");
        assert_eq!(rotation.step(now), Some(Step::Open));
        rotation.hear_standby(now, BridgeEvent::Ready);
        assert_eq!(rotation.step(now), Some(Step::Move(Reason::Setup)));
        assert_eq!(rotation.moved(now, Vec::new()), [create()], "what was asked for is asked for again");
        assert_eq!(rotation.step(now), None);
        // Without another target it is the provider's answer, as ever.
        let mut alone = session(now);
        alone.note_others(false);
        assert_eq!(alone.hear(now, event.clone()), [event]);
    }
}

#[test]
fn a_first_connection_that_hangs_is_left_for_another_target_and_waited_for_without_one() {
    let now = Instant::now();
    let late = now + RULE.attempt;
    for has_other in [true, false] {
        let mut rotation = session(now);
        assert_eq!((rotation.step(now), rotation.poll_timeout(now)), (None, Some(late)));
        assert_eq!(rotation.step(late), Some(Step::Overdue(Overdue::Connection)));
        assert_eq!(rotation.overdue(late, Overdue::Connection, has_other), []);
        assert_eq!(rotation.step(late), has_other.then_some(Step::Open));
    }
}

#[test]
fn targets_are_asked_one_after_the_other_until_the_budget_is_used_up() {
    let now = Instant::now();
    let mut rotation = session(now);
    rotation.note_others(true);
    rotation.hear(now, fault("provider_unreachable", true));
    assert_eq!(rotation.step(now), Some(Step::Open));
    let late = now + RULE.attempt;
    assert_eq!(rotation.poll_timeout(now), Some(late));
    assert_eq!(rotation.step(late), Some(Step::Overdue(Overdue::Standby)));
    assert_eq!(rotation.overdue(late, Overdue::Standby, true), []);
    assert_eq!(rotation.step(late), Some(Step::Open), "the next one, at once");
    let later = late + RULE.attempt;
    assert_eq!(rotation.step(later), Some(Step::Overdue(Overdue::Standby)));
    assert_eq!(rotation.overdue(later, Overdue::Standby, false), [], "the last one is waited for");
    assert_eq!((rotation.step(later), rotation.poll_timeout(later)), (None, Some(now + RULE.budget)));
    let end = rotation.step(now + RULE.budget);
    assert!(matches!(end, Some(Step::End(Reason::Setup, _))), "{end:?}");
}

#[test]
fn an_answer_that_stays_silent_fails_and_is_left_for_another_target() {
    let now = Instant::now();
    let mut rotation = running(now);
    let _ = rotation.route(now, create());
    rotation.hear(now, started());
    let late = now + RULE.silence;
    assert_eq!(rotation.step(late - Duration::from_millis(1)), None);
    assert_eq!(rotation.step(late), Some(Step::Overdue(Overdue::Answer)));
    let told = rotation.overdue(late, Overdue::Answer, true);
    assert_eq!(failed_with(&told), ["provider_silent"]);
    assert!(rotation.is_cut_off(), "what the silent one says now comes too late");
    assert_eq!(rotation.step(late), Some(Step::Open));
    rotation.hear_standby(late + SECOND, BridgeEvent::Ready);
    assert_eq!(rotation.step(late + SECOND), Some(Step::Move(Reason::Silent)));
    assert_eq!(rotation.outage(late + SECOND), Some(SECOND));
}

#[test]
fn a_question_that_is_never_answered_is_asked_elsewhere() {
    let now = Instant::now();
    let mut rotation = running(now);
    let _ = rotation.route(now, create());
    let late = now + RULE.silence;
    assert_eq!(rotation.step(late), Some(Step::Overdue(Overdue::Answer)));
    assert_eq!(rotation.overdue(late, Overdue::Answer, true), [], "no answer had begun");
    assert_eq!(rotation.step(late), Some(Step::Open));
    rotation.hear_standby(late, BridgeEvent::Ready);
    assert_eq!(rotation.step(late), Some(Step::Move(Reason::Silent)));
    assert_eq!(rotation.moved(late, Vec::new()), [create()]);
    // The new one has as long as the first had.
    assert_eq!(rotation.step(late), None);
    assert_eq!(rotation.step(late + RULE.silence), Some(Step::Overdue(Overdue::Answer)));
}

#[test]
fn silence_that_nobody_could_end_is_asked_about_once() {
    let now = Instant::now();
    let mut rotation = running(now);
    let _ = rotation.route(now, create());
    let late = now + RULE.silence;
    assert_eq!(rotation.step(late), Some(Step::Overdue(Overdue::Answer)));
    assert_eq!(rotation.overdue(late, Overdue::Answer, false), []);
    assert_eq!(rotation.step(late + 10 * SECOND), None);
}

#[test]
fn a_better_target_is_moved_to_in_a_pause_and_never_in_the_middle_of_an_answer() {
    let now = Instant::now();
    let mut rotation = running(now);
    assert!(rotation.may_reconsider(false));
    rotation.reconsidered(Some(Reason::Better));
    assert_eq!(rotation.step(now), Some(Step::Open));
    assert!(!rotation.may_reconsider(true), "one is on its way");
    let _ = rotation.route(now, create());
    rotation.hear(now, started());
    let part = OutputPart::Audio(Pcm::silence(RATE, SECOND));
    rotation.hear(now, BridgeEvent::Output { response_id: "r".into(), item_id: "a".into(), part });
    rotation.hear_standby(now, BridgeEvent::Ready);
    assert_eq!(rotation.step(now), None);
    rotation.hear(now, done());
    assert_eq!(rotation.step(now), None, "the caller still hears it");
    assert_eq!(rotation.step(now + 2 * SECOND), Some(Step::Move(Reason::Better)));
    assert_eq!(rotation.moved(now + 2 * SECOND, Vec::new()), []);
    assert_eq!(rotation.step(now + 2 * SECOND), None);
}

#[test]
fn a_session_that_does_not_follow_better_targets_leaves_a_slow_one_all_the_same() {
    let now = Instant::now();
    let mut rotation = session_with(now, Switching { follows_better: false, ..RULE });
    rotation.hear(now, BridgeEvent::Ready);
    assert!(!rotation.may_reconsider(false) && rotation.may_reconsider(true));
    rotation.reconsidered(Some(Reason::Slow));
    assert_eq!(rotation.step(now), Some(Step::Open));
    rotation.hear_standby(now, BridgeEvent::Ready);
    assert_eq!(rotation.step(now + 2 * SECOND), Some(Step::Move(Reason::Slow)));
}

#[test]
fn a_better_target_that_cannot_be_reached_changes_nothing() {
    let now = Instant::now();
    let mut rotation = running(now);
    rotation.reconsidered(Some(Reason::Slow));
    assert_eq!(rotation.step(now), Some(Step::Open));
    rotation.note_others(false);
    rotation.hear_standby(now, fault("provider_unreachable", true));
    assert!(!rotation.has_standby() && !rotation.is_cut_off());
    assert_eq!(rotation.step(now + 60 * SECOND), None);
}

#[test]
fn a_refusal_in_the_middle_of_a_call_is_no_end_while_another_target_is_there() {
    let now = Instant::now();
    let refused = || fault("insufficient_quota", false);
    let mut rotation = running(now);
    rotation.note_others(true);
    assert_eq!(rotation.hear(now, refused()), []);
    assert_eq!(rotation.step(now), Some(Step::Open));
    let mut alone = running(now);
    alone.note_others(false);
    assert_eq!(alone.hear(now, refused()), [refused()]);
}

#[test]
fn a_session_with_one_target_knows_no_overdue() {
    let now = Instant::now();
    let traits = BridgeTraits {
        input_rate: RATE,
        output_rate: RATE,
        turn_owner: TurnOwner::Provider,
        truncates: true,
        transcribes: false,
    };
    let mut rotation = Rotation::new(now, AGE, traits, SessionSettings::default()).switching(traits, None);
    assert_eq!(rotation.poll_timeout(now), None);
    rotation.hear(now, BridgeEvent::Ready);
    let _ = rotation.route(now, create());
    assert_eq!(rotation.step(now + 60 * SECOND), None);
}
