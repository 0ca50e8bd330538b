//! Answers that are held while nobody knows whether the caller interrupts.

use super::*;
use crate::turn::Backchannels;
use crate::voice::{VOICE_FRAME, VoiceActivity};

fn rule() -> InterruptionRule {
    InterruptionRule {
        minimum_speech: 500 * MS,
        resume_after: Duration::from_secs(2),
        backchannels: Backchannels::new(["uh-huh", "yeah", "okay"]),
    }
}

/// A session whose agent has been speaking for a second, of twenty.
fn answering(interruption: Option<InterruptionRule>) -> Stage {
    let mut stage = Stage::with_rule(TurnOwner::Gateway, Leg::Rtp, interruption);
    stage.silence(400 * MS);
    stage.answer(20);
    stage.silence(Duration::from_secs(1));
    stage.outputs.clear();
    stage
}

/// A piece of a voice without a pause in it.
fn voice(duration: Duration) -> Pcm {
    let rate = SampleRate::HZ_48000;
    let speech = speech_at(rate);
    let frames = VoiceActivity::new(rate).unwrap().push(&speech.samples);
    let wanted = duration.as_millis().div_ceil(VOICE_FRAME.as_millis()) as usize;
    let voiced = frames.windows(wanted).find(|frames| frames.iter().all(|frame| frame.probability > 0.6));
    let end = voiced.expect("the recording has no such stretch").last().unwrap().end.0 as usize;
    let length = rate.samples_in(duration).0 as usize;
    Pcm { rate, samples: speech.samples[end - length..end].to_vec() }
}

fn understand(stage: &mut Stage, words: &str) {
    stage.bridge(BridgeEvent::InterimTranscript { words: words.to_owned() });
}

fn is_clear(command: &BridgeCommand) -> bool {
    *command == BridgeCommand::ClearInput
}

/// The answer plays on and nobody was told anything.
fn assert_resumed(stage: &Stage) {
    assert_eq!(stage.events(), Vec::<&SessionEvent>::new());
    let others =
        stage.count(|command| !matches!(command, BridgeCommand::Audio(_) | BridgeCommand::ClearInput));
    assert_eq!((stage.count(is_clear), others), (1, 0));
    let stats = stage.session.stats();
    assert_eq!((stats.interruptions, stats.noises + stats.backchannels), (0, 1));
    let last = stage.sent.last().unwrap();
    assert!(last.is_speech && stage.now - last.at <= FRAME, "the answer does not go on: {last:?}");
}

fn assert_interrupted(stage: &Stage) {
    let started = stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    let cleared = stage.position(|event| matches!(event, SessionEvent::PlayoutCleared { .. }));
    let truncated = stage.position(|event| matches!(event, SessionEvent::ItemTruncated { .. }));
    assert!(started < cleared && cleared < truncated);
    assert_eq!((stage.count(is_cancel_of("resp_1")), stage.count(is_clear)), (1, 0));
    let stats = stage.session.stats();
    assert_eq!((stats.interruptions, stats.noises, stats.backchannels), (1, 0, 0));
}

fn heard(stage: &Stage) -> Duration {
    let cut = stage.events().into_iter().find_map(|event| match event {
        SessionEvent::ItemTruncated { heard, .. } => Some(*heard),
        _ => None,
    });
    cut.expect("nothing was cut")
}

#[test]
fn after_a_short_noise_the_answer_goes_on_with_the_next_sample_and_the_right_timestamps() {
    let mut stage = answering(Some(rule()));
    let noise_from = stage.now;
    stage.say(&voice(200 * MS));
    stage.silence(Duration::from_secs(4));
    assert_resumed(&stage);

    let resumed = stage.sent.iter().rposition(|sent| sent.marker).unwrap();
    let (held, first) = (stage.sent[resumed - 1], stage.sent[resumed]);
    assert!(!held.is_speech, "the talkspurt was not ended");
    assert!(held.at - noise_from <= 200 * MS, "silent only after {:?}", held.at - noise_from);
    let silence = first.at - held.at;
    assert!(silence >= Duration::from_secs(2) && silence <= Duration::from_millis(2_300), "{silence:?}");
    let last_speech = stage.sent[resumed - 2];
    let ticks = u128::from(first.timestamp.wrapping_sub(last_speech.timestamp));
    assert!(ticks.abs_diff((first.at - last_speech.at).as_micros() * 48 / 1_000) <= 1, "{ticks} ticks");

    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(Duration::from_secs(20));
    assert_eq!(
        stage.sent.iter().filter(|sent| sent.is_speech).count(),
        20 * 50,
        "audio was lost or repeated"
    );
    let ends = stage.events().into_iter().filter(|event| {
        matches!(event, SessionEvent::PlayoutStopped { .. } | SessionEvent::PlayoutCleared { .. })
    });
    assert_eq!(ends.collect::<Vec<_>>(), [&SessionEvent::PlayoutStopped { response_id: "resp_1".into() }]);
}

#[test]
fn an_interruption_is_cut_to_the_same_moment_whether_or_not_the_answer_was_held_first() {
    let [at_once, held] = [None, Some(rule())].map(|rule| {
        let mut stage = answering(rule);
        stage.say(&speech_at(SampleRate::HZ_48000));
        assert_interrupted(&stage);
        stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
        stage.position(|event| {
            matches!(event, SessionEvent::ResponseDone { status: ResponseStatus::CancelledByTurn, .. })
        });
        heard(&stage)
    });
    assert_eq!(at_once, held);
}

#[test]
fn words_make_a_short_sound_an_interruption_at_once() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    assert!(stage.events().is_empty());
    understand(&mut stage, "stop");
    assert_interrupted(&stage);
    stage.silence(Duration::from_secs(1));
    assert_eq!(stage.count(is_commit), 1);
}

#[test]
fn words_that_come_after_the_pause_interrupt_and_make_the_turn_that_was_kept_back() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.silence(Duration::from_secs(1));
    assert!(stage.events().is_empty());
    understand(&mut stage, "stop");
    assert_interrupted(&stage);
    let order = [
        stage.position(|event| matches!(event, SessionEvent::ItemTruncated { .. })),
        stage.position(|event| matches!(event, SessionEvent::SpeechStopped { .. })),
        stage.position(|event| matches!(event, SessionEvent::InputCommitted { .. })),
    ];
    assert!(order.is_sorted(), "{order:?}");
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    assert_eq!((stage.count(is_commit), stage.count(is_question)), (1, 1));
}

#[test]
fn a_recogniser_that_hears_no_words_shortens_the_wait() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    understand(&mut stage, "");
    stage.silence(800 * MS);
    assert_resumed(&stage);
}

#[test]
fn a_backchannel_neither_interrupts_nor_makes_a_turn() {
    let mut stage = answering(Some(rule()));
    let speech = voice(400 * MS);
    stage.say(&speech);
    understand(&mut stage, "Uh-huh.");
    // Longer than the least length of an interruption, in two pieces.
    stage.silence(100 * MS);
    stage.say(&speech);
    understand(&mut stage, "uh huh yeah");
    stage.silence(500 * MS);
    assert_resumed(&stage);
    assert_eq!(stage.session.stats().backchannels, 1);
}

#[test]
fn a_backchannel_with_words_behind_it_interrupts() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(300 * MS));
    understand(&mut stage, "okay");
    assert!(stage.events().is_empty());
    understand(&mut stage, "okay but wait");
    assert_interrupted(&stage);
}

#[test]
fn every_word_interrupts_where_no_backchannels_are_configured() {
    let mut stage = answering(Some(InterruptionRule { backchannels: Backchannels::default(), ..rule() }));
    stage.say(&voice(300 * MS));
    understand(&mut stage, "okay");
    assert_interrupted(&stage);
}

#[test]
fn backchannels_without_end_interrupt() {
    let mut stage = answering(Some(rule()));
    for _ in 0..5 {
        stage.say(&voice(400 * MS));
        understand(&mut stage, "yeah yeah yeah");
    }
    assert_interrupted(&stage);
}

#[test]
fn a_noise_of_a_caller_who_then_vanishes_does_not_end_the_answer() {
    let mut stage = answering(Some(InterruptionRule { resume_after: Duration::from_secs(5), ..rule() }));
    stage.say(&voice(200 * MS));
    stage.vanish(Duration::from_secs(6));
    assert_resumed(&stage);
}

#[test]
fn a_client_that_clears_the_output_while_it_is_held_has_interrupted() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.command(SessionCommand::ClearOutput);
    assert_interrupted(&stage);
    stage.silence(Duration::from_secs(4));
    assert_eq!((stage.count(is_commit), stage.count(is_clear)), (1, 0));
    assert!(!stage.sent.last().unwrap().is_speech);
}

#[test]
fn a_client_that_clears_the_input_while_the_answer_is_held_lets_it_go_on() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.silence(200 * MS);
    assert!(!stage.sent.last().unwrap().is_speech);
    stage.command(SessionCommand::ClearInput);
    stage.silence(100 * MS);
    assert_eq!(stage.events(), [&SessionEvent::InputCleared]);
    assert!(stage.sent.last().unwrap().is_speech);
}

#[test]
fn a_client_that_commits_by_hand_while_the_answer_is_held_has_interrupted() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.command(SessionCommand::CommitInput);
    assert_interrupted(&stage);
    assert_eq!(stage.count(is_commit), 1);
}

#[test]
fn a_client_that_commits_after_a_held_sound_gets_its_turn_and_no_error() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.silence(Duration::from_secs(1));
    assert!(stage.events().is_empty());
    stage.command(SessionCommand::CommitInput);
    assert_interrupted(&stage);
    stage.position(|event| matches!(event, SessionEvent::InputCommitted { .. }));
    assert_eq!(stage.count(is_commit), 1);
    let others = |event: &&SessionEvent| {
        matches!(event, SessionEvent::InputEmpty | SessionEvent::SpeechStopped { .. })
    };
    assert_eq!(stage.events().into_iter().filter(others).count(), 0);
}

#[test]
fn rules_without_interruption_let_a_held_answer_go_on_beside_the_turn() {
    let mut stage = answering(Some(rule()));
    stage.say(&voice(200 * MS));
    stage.configure(Some(ServerVad { interrupt_response: false, ..ServerVad::default() }));
    stage.silence(Duration::from_secs(1));
    stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    stage.position(|event| matches!(event, SessionEvent::InputCommitted { .. }));
    assert!(stage.sent.last().unwrap().is_speech);
    assert_eq!(stage.session.stats().interruptions, 0);
}

#[test]
fn a_client_that_plays_by_itself_hears_of_every_sound_at_once() {
    let mut stage = Stage::with_rule(TurnOwner::Gateway, Leg::Pcm, Some(rule()));
    stage.answer(20);
    let mut sound = Pcm::silence(SampleRate::HZ_24000, 400 * MS);
    sound.samples.extend(voice(200 * MS).samples.iter().step_by(2));
    stage.command(SessionCommand::AppendAudio(sound));
    stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    assert_eq!(stage.count(is_cancel_of("resp_1")), 1);
}
