//! What policy has the model answer.

use super::*;

fn told() -> SessionCommand {
    let instructions = Some("One moment.".to_owned());
    SessionCommand::AnswerWhenFree(Box::new(ResponseOptions { instructions, ..ResponseOptions::default() }))
}

fn is_told(command: &BridgeCommand) -> bool {
    matches!(command, BridgeCommand::CreateResponse(options) if options.instructions.is_some())
}

fn is_asked(command: &BridgeCommand) -> bool {
    matches!(command, BridgeCommand::CreateResponse(_))
}

#[test]
fn it_is_asked_at_once_where_nothing_is_under_way_and_the_client_has_not_asked() {
    for owner in [TurnOwner::Gateway, TurnOwner::Provider] {
        let mut stage = Stage::new(owner);
        stage.command(told());
        assert_eq!(stage.count(is_told), 1, "{owner:?}");
        assert!(!stage.session.is_free());
        stage.bridge(BridgeEvent::ResponseStarted { response_id: "resp_1".into() });
        let for_client = stage
            .events()
            .into_iter()
            .any(|event| matches!(event, SessionEvent::ResponseStarted { is_for_turn: false, .. }));
        assert!(!for_client, "it takes no request of the client's");
        stage.bridge(done("resp_1", ResponseStatus::Completed));
        assert!(stage.session.is_free());
    }
}

#[test]
fn it_waits_for_the_answer_in_progress_and_the_last_of_several_counts() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.command(SessionCommand::CreateResponse(Box::default()));
    stage.command(SessionCommand::AnswerWhenFree(Box::default()));
    stage.command(told());
    assert_eq!(stage.count(is_told), 0);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: "resp_1".into() });
    assert_eq!(stage.count(is_told), 0);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    assert_eq!((stage.count(is_told), stage.count(is_asked)), (1, 2));
}

#[test]
fn a_turn_of_the_caller_makes_it_needless() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.command(SessionCommand::CreateResponse(Box::default()));
    stage.bridge(BridgeEvent::ResponseStarted { response_id: "resp_1".into() });
    stage.command(told());
    stage.say(&speech_at(SampleRate::HZ_48000));
    // While they speak nothing is added either.
    stage.command(told());
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    stage.silence(Duration::from_secs(1));
    assert_eq!((stage.count(is_told), stage.count(is_asked)), (0, 2), "only the turn is answered");
}

#[test]
fn an_answer_beside_the_conversation_holds_nothing_up_and_is_known_as_such() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    let beside = ResponseOptions { is_beside: true, ..ResponseOptions::default() };
    stage.command(SessionCommand::CreateResponse(Box::new(beside)));
    assert!(!stage.session.is_free(), "the next answer that begins is that one");
    stage.bridge(BridgeEvent::ResponseStarted { response_id: "resp_1".into() });
    assert!(stage.session.is_free());
    assert!(stage.session.is_beside(&"resp_1".into()));
    stage.command(told());
    assert_eq!(stage.count(is_told), 1);
}
