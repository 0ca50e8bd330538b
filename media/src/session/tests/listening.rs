//! A listener judges the sound of a turn.

use voxgate_protocol::settings::Eagerness;

use super::silence::{semantic, spoken};
use super::*;

const RULE: ListeningRule =
    ListeningRule { window: Duration::from_secs(8), patience: Duration::from_millis(600) };

fn stage(eagerness: Eagerness) -> Stage {
    let mut stage = Stage::with_rules(TurnOwner::Gateway, Leg::Rtp, None, Some(RULE));
    stage.command(semantic(eagerness));
    stage
}

impl Stage {
    fn questions(&self) -> Vec<(Question, &Pcm)> {
        let questions = self.outputs.iter().filter_map(|output| match output {
            SessionOutput::JudgeTurn { question, speech } => Some((*question, speech)),
            _ => None,
        });
        questions.collect()
    }

    /// The caller falls silent until the listener is asked about the end of the recording, whose last word ends about
    /// 0.2 s before it does.
    fn asked(&mut self) -> Question {
        self.silence(200 * MS);
        self.questions().last().unwrap().0
    }

    /// How long the pause behind the recording was that ended the turn.
    fn pause(&self) -> Option<Duration> {
        let heard = 400 * MS + speech_at(SampleRate::HZ_48000).duration();
        Some(self.stopped_at()?.saturating_sub(heard))
    }
}

#[test]
fn the_listener_hears_the_turn_and_the_pause_and_nothing_before() {
    let mut stage = stage(Eagerness::Auto);
    spoken(&mut stage);
    stage.asked();
    let questions = stage.questions();
    let (_, speech) = questions.last().unwrap();
    assert_eq!(speech.rate, SampleRate::HZ_16000);
    let sentence = speech_at(SampleRate::HZ_16000).duration();
    let (shortest, longest) = (sentence - 300 * MS, sentence + 500 * MS);
    assert!((shortest..longest).contains(&speech.duration()), "{:?} of {sentence:?}", speech.duration());
    assert!(
        speech.samples[..1_000].iter().all(|sample| sample.unsigned_abs() < 500),
        "it begins before speech"
    );
    let names: Vec<u64> = questions.iter().map(|(question, _)| question.0).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

#[test]
fn a_turn_that_sounds_unfinished_is_waited_for_and_a_finished_one_is_not() {
    let pause = |probability| {
        let mut stage = stage(Eagerness::Auto);
        spoken(&mut stage);
        let question = stage.asked();
        assert_eq!(stage.stopped_at(), None, "the verdict is awaited");
        stage.session.handle_verdict(question, Some(probability));
        stage.silence(5_000 * MS);
        let stats = stage.session.stats();
        assert_eq!((stats.verdicts_used, stats.verdicts_late), (1, 0));
        stage.pause().unwrap()
    };
    let (finished, unfinished) = (pause(0.97), pause(0.02));
    assert!(finished < 500 * MS, "{finished:?}");
    assert!((3_700 * MS..4_200 * MS).contains(&unfinished), "{unfinished:?}");
}

#[test]
fn a_listener_that_says_nothing_holds_a_turn_up_for_its_patience_only() {
    for (eagerness, usual) in [(Eagerness::High, 600), (Eagerness::Auto, 600), (Eagerness::Low, 1_200)] {
        let mut stage = stage(eagerness);
        spoken(&mut stage);
        let question = stage.asked();
        stage.silence(2_000 * MS);
        let pause = stage.pause().unwrap();
        assert!(pause <= Duration::from_millis(usual + 200), "{eagerness:?}: {pause:?}");
        stage.session.handle_verdict(question, Some(0.0));
        let stats = stage.session.stats();
        assert_eq!((stats.verdicts_used, stats.verdicts_late), (0, 1), "the turn was over");
    }
}

#[test]
fn a_listener_that_cannot_tell_leaves_it_to_the_words_at_once() {
    let mut stage = stage(Eagerness::High);
    spoken(&mut stage);
    let question = stage.asked();
    assert_eq!(stage.stopped_at(), None);
    stage.session.handle_verdict(question, None);
    stage.silence(40 * MS);
    assert!(stage.stopped_at().is_some());
}

#[test]
fn the_listener_outranks_the_words() {
    let mut stage = stage(Eagerness::Auto);
    spoken(&mut stage);
    let question = stage.asked();
    stage.session.handle_verdict(question, Some(0.99));
    stage.bridge(BridgeEvent::InterimTranscript { words: "I would like to".to_owned() });
    stage.silence(100 * MS);
    assert!(stage.pause().unwrap() < 600 * MS);
}

#[test]
fn a_caller_who_spoke_on_is_judged_anew() {
    let mut stage = stage(Eagerness::Low);
    spoken(&mut stage);
    let question = stage.asked();
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.session.handle_verdict(question, Some(1.0));
    assert_eq!(stage.session.stats().verdicts_late, 1);
    assert_eq!(stage.stopped_at(), None);
    assert!(stage.asked() > question);
}

#[test]
fn nobody_is_asked_about_a_fixed_pause_or_turns_of_the_provider() {
    let mut fixed = Stage::with_rules(TurnOwner::Gateway, Leg::Rtp, None, Some(RULE));
    ask(&mut fixed);
    let mut theirs = Stage::with_rules(TurnOwner::Provider, Leg::Rtp, None, Some(RULE));
    theirs.command(semantic(Eagerness::Auto));
    ask(&mut theirs);
    let mut alone = Stage::new(TurnOwner::Gateway);
    alone.command(semantic(Eagerness::Auto));
    ask(&mut alone);
    assert!(fixed.questions().is_empty() && theirs.questions().is_empty() && alone.questions().is_empty());
}
