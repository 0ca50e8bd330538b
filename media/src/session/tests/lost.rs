//! What a client that was lost has heard.

use super::*;

fn lose(stage: &mut Stage, silent_for: Duration) -> Option<Duration> {
    stage.outputs.clear();
    stage.command(SessionCommand::LoseClient { silent_for });
    stage.events().into_iter().find_map(|event| match event {
        SessionEvent::ItemTruncated { heard, .. } => Some(*heard),
        _ => None,
    })
}

fn assert_about(heard: Option<Duration>, expected: Duration) {
    let heard = heard.expect("nothing was cut");
    assert!(heard <= expected && heard + 200 * MS >= expected, "{heard:?} of {expected:?}");
}

#[test]
fn an_answer_is_cut_where_the_last_sign_of_life_came() {
    for is_generated in [false, true] {
        let mut stage = Stage::new(TurnOwner::Gateway);
        stage.answer(20);
        if is_generated {
            stage.bridge(done("resp_1", ResponseStatus::Completed));
        }
        stage.silence(Duration::from_secs(3));
        stage.vanish(Duration::from_secs(9));
        assert_about(lose(&mut stage, Duration::from_secs(9)), Duration::from_secs(3));
        let truncate = |command: &BridgeCommand| matches!(command, BridgeCommand::Truncate { .. });
        assert_eq!(stage.count(truncate), 1);
        stage.outputs.clear();
        stage.vanish(Duration::from_secs(2));
        assert!(
            stage.outputs.iter().all(
                |output| !matches!(output, SessionOutput::Audio { payload, .. } if *payload != DTX_FRAME)
            )
        );
    }
}

#[test]
fn an_answer_that_was_played_to_a_client_long_gone_was_not_heard() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.answer(5);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(Duration::from_secs(2));
    stage.vanish(Duration::from_secs(15));
    assert_about(lose(&mut stage, Duration::from_secs(15)), Duration::from_secs(2));
}

#[test]
fn an_answer_that_was_heard_stays_whole() {
    for leg in [Leg::Rtp, Leg::Pcm] {
        let mut stage = Stage::with_leg(TurnOwner::Gateway, leg);
        stage.answer(2);
        stage.bridge(done("resp_1", ResponseStatus::Completed));
        stage.vanish(Duration::from_secs(20));
        assert_eq!(lose(&mut stage, Duration::from_secs(10)), None, "{leg:?}");
    }
}

#[test]
fn a_client_that_plays_by_itself_is_taken_to_have_played_until_then() {
    let mut stage = Stage::with_leg(TurnOwner::Provider, Leg::Pcm);
    stage.answer(20);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.vanish(Duration::from_secs(10));
    assert_about(lose(&mut stage, Duration::from_secs(6)), Duration::from_secs(4));
}
