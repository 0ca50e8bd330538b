//! The idle timeout, which counts from the end of playback whoever finds the turns and whoever plays.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

fn patient(owner: TurnOwner, leg: Leg) -> Stage {
    let mut stage = Stage::with_leg(owner, leg);
    stage.configure(Some(ServerVad { idle_timeout: Some(TIMEOUT), ..ServerVad::default() }));
    stage
}

impl Stage {
    /// A message of a client that sends PCM.
    fn send_silence(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / 20 {
            self.vanish(FRAME);
            let pcm = Pcm::silence(SampleRate::HZ_24000, FRAME);
            self.command(SessionCommand::AppendAudio(pcm));
        }
    }

    fn timed_out(&self) -> Option<(ItemId, Duration, Duration)> {
        self.events().into_iter().find_map(|event| match event {
            SessionEvent::InputTimedOut { item_id, from, to } => Some((item_id.clone(), *from, *to)),
            _ => None,
        })
    }

    /// The audio the provider was given since the last commit but one.
    fn committed(&self) -> Duration {
        let commands = self.commands();
        let at = commands.iter().rposition(|command| is_commit(command)).expect("no commit");
        let audio = commands[..at].iter().rev().take_while(|command| !is_commit(command));
        audio
            .map(
                |command| {
                    if let BridgeCommand::Audio(pcm) = command { pcm.duration() } else { Duration::ZERO }
                },
            )
            .sum()
    }
}

#[test]
fn a_provider_that_finds_turns_is_told_of_the_silence_after_playback() {
    let mut stage = patient(TurnOwner::Provider, Leg::Rtp);
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(TIMEOUT);
    assert_eq!(stage.count(is_question), 0, "the answer was heard for a second of it");
    stage.silence(2 * FRAME + Duration::from_secs(1));
    assert_eq!(stage.count(is_question), 1);
    let (item_id, from, to) = stage.timed_out().expect("nothing was told");
    assert!(to - from >= TIMEOUT - 100 * MS && to - from <= TIMEOUT + 100 * MS, "{from:?} {to:?}");
    let commit = BridgeCommand::CommitInput { item_id: item_id.clone(), is_silence: true };
    let commands = stage.commands();
    let at = commands.iter().position(|command| **command == commit).expect("no commit");
    assert!(is_question(commands[at + 1]));
    let committed = SessionEvent::InputCommitted { item_id: item_id.clone() };
    assert!(!stage.events().contains(&&committed), "the provider says when the item is made");
    stage.bridge(BridgeEvent::InputCommitted { item_id });
    assert!(stage.events().contains(&&committed));
    stage.silence(3 * TIMEOUT);
    assert_eq!(stage.count(is_question), 1, "once an answer");
}

#[test]
fn a_caller_who_speaks_or_is_answered_is_not_silent() {
    let mut stage = patient(TurnOwner::Provider, Leg::Rtp);
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(TIMEOUT);
    stage.bridge(BridgeEvent::SpeechStarted { item_id: "item_u".into(), at: TIMEOUT });
    stage.silence(2 * TIMEOUT);
    assert_eq!(stage.timed_out(), None, "the caller speaks");
    stage.bridge(BridgeEvent::SpeechStopped { item_id: "item_u".into(), at: 2 * TIMEOUT });
    stage.bridge(BridgeEvent::InputCommitted { item_id: "item_u".into() });
    stage.bridge(started("resp_2"));
    stage.silence(2 * TIMEOUT);
    assert_eq!(stage.timed_out(), None, "the answer is being made");
    stage.bridge(audio("resp_2"));
    stage.bridge(done("resp_2", ResponseStatus::Completed));
    stage.silence(TIMEOUT + Duration::from_secs(1));
    assert!(stage.timed_out().is_some());
}

#[test]
fn a_client_that_plays_by_itself_is_taken_to_play_in_real_time() {
    for owner in [TurnOwner::Gateway, TurnOwner::Provider] {
        let mut stage = patient(owner, Leg::Pcm);
        stage.answer(3);
        stage.bridge(done("resp_1", ResponseStatus::Completed));
        stage.send_silence(TIMEOUT + Duration::from_secs(2));
        assert_eq!(stage.timed_out(), None, "{owner:?}: it plays for three seconds");
        stage.send_silence(Duration::from_secs(2));
        let (_, from, to) = stage.timed_out().expect("nothing was told");
        assert!(to - from >= TIMEOUT - 100 * MS && to - from <= TIMEOUT + 100 * MS, "{from:?} {to:?}");
        assert_eq!(stage.count(is_question), 1);
    }
}

#[test]
fn the_whole_silence_becomes_an_item_and_no_word_after_it_is_lost() {
    let mut stage = patient(TurnOwner::Gateway, Leg::Rtp);
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(TIMEOUT + 2 * Duration::from_secs(1));
    let committed = stage.committed();
    assert!(committed >= TIMEOUT - 100 * MS && committed <= TIMEOUT + 100 * MS, "{committed:?}");
    stage.bridge(started("resp_2"));
    stage.bridge(done("resp_2", ResponseStatus::Completed));
    stage.silence(3 * Duration::from_secs(1));
    ask(&mut stage);
    let turn = stage.committed();
    let longest = speech_at(SampleRate::HZ_48000).duration() + Duration::from_secs(2);
    assert!(turn <= longest, "what was kept of the silence is no part of the turn: {turn:?}");
}

#[test]
fn a_caller_who_sends_nothing_at_all_still_gives_something_to_commit() {
    let mut stage = patient(TurnOwner::Provider, Leg::Pcm);
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.vanish(TIMEOUT + 2 * Duration::from_secs(1));
    assert_eq!(stage.committed(), 100 * MS);
    assert!(stage.timed_out().is_some());
}

#[test]
fn a_silent_caller_is_spoken_to_again_after_the_idle_timeout() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    let idle_timeout = Some(Duration::from_secs(5));
    stage.configure(Some(ServerVad { idle_timeout, ..ServerVad::default() }));
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(Duration::from_secs(5));
    assert_eq!(stage.count(is_question), 0);
    stage.silence(Duration::from_secs(2));
    assert_eq!(stage.count(is_question), 1);
    let events = stage.events();
    let timed_out = events.iter().find_map(|event| match event {
        SessionEvent::InputTimedOut { item_id, from, to } => Some((item_id.clone(), *from, *to)),
        _ => None,
    });
    let (item_id, from, to) = timed_out.unwrap();
    assert!(
        to - from >= Duration::from_millis(4_900) && to - from <= Duration::from_millis(5_100),
        "{from:?} {to:?}"
    );
    assert!(events.contains(&&SessionEvent::InputCommitted { item_id: item_id.clone() }));
    let commands = stage.commands();
    let commit = BridgeCommand::CommitInput { item_id, is_silence: true };
    let at = commands.iter().position(|command| **command == commit).unwrap();
    assert!(
        matches!(commands[at - 1], BridgeCommand::Audio(pcm) if pcm.duration() >= Duration::from_millis(100)),
        "a provider refuses to commit nothing"
    );
    assert!(is_question(commands[at + 1]));
}
