//! What somebody who looks on sees of a session.

use super::*;

/// What was seen, with times since the stage was set.
fn seen(stage: &mut Stage, since: Instant) -> Vec<(&'static str, Duration)> {
    let mut seen = Vec::new();
    while let Some(observed) = stage.session.poll_observed() {
        let (name, at) = match observed {
            Observed::CallerSpeaks(at) => ("caller speaks", at),
            Observed::CallerSilent(at) => ("caller silent", at),
            Observed::AgentSpeaks(at) => ("agent speaks", at),
            Observed::AgentSilent(at) => ("agent silent", at),
            Observed::Interrupted { spoke, silent } => {
                assert!(spoke <= silent && silent - spoke < 400 * MS, "{:?}", silent - spoke);
                ("interrupted", silent)
            }
        };
        seen.push((name, at - since));
    }
    seen
}

fn names(seen: &[(&'static str, Duration)]) -> Vec<&'static str> {
    seen.iter().map(|(name, _)| *name).collect()
}

#[test]
fn a_turn_its_answer_and_the_interruption_of_it_are_seen_where_they_were() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    let since = stage.now;
    stage.session.observe_since(since);
    let speech = speech_at(SampleRate::HZ_48000);
    stage.silence(400 * MS);
    stage.say(&speech);
    let spoken_until = stage.now - since;
    stage.silence(900 * MS);
    stage.answer(20);
    stage.silence(1_000 * MS);
    let before = seen(&mut stage, since);
    assert_eq!(names(&before), ["caller speaks", "caller silent", "agent speaks"]);
    assert!(before[0].1 >= 380 * MS && before[0].1 < 1_000 * MS, "{before:?}");
    assert!(before[1].1 > before[0].1 + 500 * MS && before[1].1 <= spoken_until + FRAME, "{before:?}");
    let again = stage.now - since;
    stage.say(&speech);
    let after = seen(&mut stage, since);
    assert_eq!(names(&after)[..3], ["caller speaks", "interrupted", "agent silent"]);
    assert!(after[0].1 + FRAME >= again, "{after:?}");
    let last = stage.sent.iter().rfind(|sent| sent.is_speech).unwrap().at - since;
    assert!(after[2].1 >= last && after[2].1 <= last + FRAME, "{after:?} {last:?}");
}

#[test]
fn both_sides_are_as_loud_as_they_were_when_they_were() {
    let mut stage = Stage::new(TurnOwner::Provider);
    let since = stage.now;
    stage.session.observe_since(since);
    stage.silence(500 * MS);
    stage.answer(1);
    stage.silence(500 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.silence(400 * MS);
    let loudness = stage.session.take_loudness(stage.now).unwrap();
    let steps = (stage.now - since - 200 * MS).as_millis() / 100;
    assert_eq!((loudness.from, loudness.caller.len() as u128), (Duration::ZERO, steps));
    let loud = |levels: &[u8]| levels.iter().filter(|level| **level > 20).count();
    // A constant of 900 is 31 dB below full scale.
    let spoken: Vec<usize> = (0..loudness.agent.len()).filter(|step| loudness.agent[*step] > 40).collect();
    assert!((9..=11).contains(&spoken.len()) && spoken[0] >= 5, "{:?}", loudness.agent);
    assert!(loud(&loudness.caller[..9]) == 0 && loud(&loudness.caller[10..]) > 10, "{:?}", loudness.caller);
    assert_eq!(stage.session.take_loudness(stage.now), None);
}

#[test]
fn a_message_client_that_is_spoken_over_hears_no_more_of_what_it_was_sent() {
    let mut stage = Stage::with_leg(TurnOwner::Provider, Leg::Pcm);
    let since = stage.now;
    stage.session.observe_since(since);
    stage.answer(5);
    stage.vanish(1_000 * MS);
    stage.bridge(BridgeEvent::SpeechStarted { item_id: ItemId::from("item_user"), at: 900 * MS });
    stage.vanish(2_000 * MS);
    let seen = seen(&mut stage, since);
    assert_eq!(names(&seen), ["agent speaks", "caller speaks", "interrupted", "agent silent"]);
    let loudness = stage.session.take_loudness(stage.now).unwrap();
    let spoken = loudness.agent.iter().filter(|level| **level > 40).count();
    assert_eq!(spoken, 10, "{:?}", loudness.agent);
}

#[test]
fn nothing_is_kept_for_nobody() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    assert_eq!(stage.session.poll_observed(), None);
    assert_eq!(stage.session.take_loudness(stage.now), None);
}
