//! Answers that policy takes back.

use voxgate_protocol::settings::ResponseOptions;

use super::*;

fn sorry() -> Box<ResponseOptions> {
    Box::new(ResponseOptions {
        instructions: Some("Say exactly: Sorry.".to_owned()),
        ..ResponseOptions::default()
    })
}

fn withdraw(response_id: Option<&str>) -> SessionCommand {
    SessionCommand::WithdrawAnswer { response_id: response_id.map(Into::into), instead: Some(sorry()) }
}

fn is_sorry(command: &BridgeCommand) -> bool {
    matches!(command, BridgeCommand::CreateResponse(options) if options.instructions.is_some())
}

#[test]
fn a_withdrawn_answer_falls_silent_and_the_other_one_is_asked_for_when_it_is_over() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.answer(20);
    stage.silence(Duration::from_secs(1));
    stage.outputs.clear();
    stage.command(withdraw(Some("resp_1")));
    stage.bridge(audio("resp_1"));
    assert_eq!(stage.count(is_cancel_of("resp_1")), 1);
    assert_eq!(stage.count(is_sorry), 0, "one answer at a time");
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    assert_eq!(stage.count(is_sorry), 1);
    let names = stage.events().into_iter().filter_map(|event| match event {
        SessionEvent::PlayoutCleared { .. } => Some("cleared"),
        SessionEvent::ItemTruncated { .. } => Some("truncated"),
        SessionEvent::Output { .. } => Some("stale"),
        SessionEvent::ResponseDone { status: ResponseStatus::IncompleteByFilter, .. } => Some("filtered"),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["cleared", "truncated", "filtered"]);
}

#[test]
fn an_answer_of_the_provider_that_has_not_begun_is_taken_back_when_it_begins() {
    let mut stage = Stage::new(TurnOwner::Provider);
    stage.command(withdraw(None));
    assert_eq!(stage.count(is_sorry), 0, "the provider answers by itself");
    stage.bridge(BridgeEvent::ResponseStarted { response_id: "resp_1".into() });
    assert_eq!(stage.count(is_cancel_of("resp_1")), 1);
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    assert_eq!(stage.count(is_sorry), 1);
}

#[test]
fn a_caller_who_goes_on_makes_the_other_answer_needless() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.answer(20);
    stage.silence(Duration::from_secs(1));
    stage.command(withdraw(Some("resp_1")));
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    assert_eq!(stage.count(is_sorry), 0);
}

/// What the client is told of an answer that its provider completed although it was to be cancelled.
fn told_of(cancel: SessionCommand, came_too_late: Option<BridgeEvent>) -> ResponseStatus {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.answer(20);
    stage.command(cancel);
    if let Some(event) = came_too_late {
        stage.bridge(event);
    }
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    let mut over = stage.events().into_iter().filter_map(|event| match event {
        SessionEvent::ResponseDone { status, .. } => Some(status),
        _ => None,
    });
    over.next().unwrap().clone()
}

#[test]
fn an_answer_its_provider_completed_too_late_to_be_cancelled_is_complete_only_for_who_got_all_of_it() {
    let cancel = || SessionCommand::CancelResponse { response_id: Some("resp_1".into()) };
    assert_eq!(told_of(cancel(), None), ResponseStatus::Completed);
    assert_eq!(told_of(cancel(), Some(audio("resp_1"))), ResponseStatus::CancelledByClient);
    assert_eq!(told_of(withdraw(Some("resp_1")), Some(audio("resp_1"))), ResponseStatus::IncompleteByFilter);
    assert_eq!(told_of(withdraw(Some("resp_1")), None), ResponseStatus::IncompleteByFilter, "it was cut off");
}
