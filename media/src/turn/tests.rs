use voxgate_protocol::settings::{SemanticVad, ServerVad};

use super::*;
use crate::voice::SILENCE_DBFS;

const RATE: SampleRate = SampleRate::HZ_16000;

/// Feeds frames of 16 ms with the given probabilities.
struct Speaker {
    machine: TurnMachine,
    end: u64,
}

impl Speaker {
    fn new(detection: &TurnDetection) -> Self {
        Self { machine: TurnMachine::new(detection, RATE), end: 0 }
    }

    fn say(&mut self, probability: f32, milliseconds: u64) {
        for _ in 0..milliseconds / 16 {
            self.end += 256;
            let halves = [if probability > 0.0 { -20.0 } else { SILENCE_DBFS }; 2];
            self.machine.push(VoiceFrame { end: SampleCount(self.end), probability, halves });
        }
    }

    fn events(&mut self) -> Vec<TurnEvent> {
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }
}

fn server() -> TurnDetection {
    TurnDetection::ServerVad(ServerVad::default())
}

fn semantic(eagerness: Eagerness) -> TurnDetection {
    TurnDetection::Semantic(SemanticVad { eagerness, ..SemanticVad::default() })
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_turn_begins_with_its_prefix_and_ends_after_its_pause() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.0, 800);
    speaker.say(0.9, 640);
    speaker.say(0.0, 640);
    let detected_at = SampleCount((800 + 48) * 16);
    let last_speech = SampleCount(1_440 * 16);
    // 500 ms of pause are complete with the 32nd frame of 16 ms.
    assert_eq!(
        speaker.events(),
        [
            TurnEvent::SpeechStarted { at: ms(500), detected_at },
            TurnEvent::SpeechStopped { at: ms(1_440 + 512), last_speech },
        ]
    );
}

#[test]
fn the_prefix_never_reaches_before_the_stream_or_into_the_turn_before() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.0, 96);
    speaker.say(0.9, 320);
    speaker.say(0.0, 512);
    speaker.say(0.9, 320);
    let starts: Vec<Duration> = speaker
        .events()
        .into_iter()
        .filter_map(|event| if let TurnEvent::SpeechStarted { at, .. } = event { Some(at) } else { None })
        .collect();
    assert_eq!(starts, [ms(0), ms(928)]);
}

#[test]
fn a_click_is_not_speech() {
    let mut speaker = Speaker::new(&server());
    for _ in 0..50 {
        speaker.say(1.0, 32);
        speaker.say(0.0, 48);
    }
    assert_eq!(speaker.events(), []);
}

#[test]
fn one_weak_frame_does_not_delay_the_start() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.9, 32);
    speaker.say(0.2, 16);
    speaker.say(0.9, 16);
    assert!(speaker.machine.is_speaking());
}

#[test]
fn speech_below_the_threshold_keeps_a_turn_but_does_not_begin_one() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.4, 1_600);
    assert_eq!(speaker.events(), []);
    speaker.say(0.6, 160);
    speaker.say(0.4, 3_200);
    assert!(speaker.machine.is_speaking());
    speaker.say(0.3, 512);
    assert!(!speaker.machine.is_speaking());
}

#[test]
fn eagerness_chooses_the_pause() {
    for (eagerness, pause) in
        [(Eagerness::High, 300), (Eagerness::Auto, 600), (Eagerness::Medium, 600), (Eagerness::Low, 1_200)]
    {
        let mut speaker = Speaker::new(&semantic(eagerness));
        speaker.say(0.9, 320);
        speaker.say(0.0, pause - 16);
        assert!(speaker.machine.is_speaking(), "{eagerness:?}");
        speaker.say(0.0, 32);
        assert!(!speaker.machine.is_speaking(), "{eagerness:?}");
    }
}

#[test]
fn an_estimate_of_unfinished_words_stretches_the_pause_to_the_maximum() {
    let mut speaker = Speaker::new(&semantic(Eagerness::High));
    speaker.say(0.9, 320);
    speaker.machine.estimate_complete(Some(0.1));
    speaker.say(0.0, 1_984);
    assert!(speaker.machine.is_speaking());
    speaker.say(0.0, 32);
    assert!(!speaker.machine.is_speaking());
    // The estimate belongs to the words before; the next turn starts without one.
    speaker.say(0.9, 320);
    speaker.say(0.0, 320);
    assert!(!speaker.machine.is_speaking());
}

#[test]
fn the_likelier_the_words_are_whole_the_shorter_the_pause() {
    let pause = |estimate| {
        let mut speaker = Speaker::new(&semantic(Eagerness::Medium));
        speaker.say(0.9, 320);
        speaker.machine.estimate_complete(estimate);
        (1..400).find(|_| {
            speaker.say(0.0, 16);
            !speaker.machine.is_speaking()
        })
    };
    let pauses =
        [Some(1.0), Some(0.7), None, Some(0.3), Some(0.0)].map(|estimate| pause(estimate).unwrap() * 16);
    assert!(pauses.is_sorted() && pauses[0] <= 256 && pauses[4] >= 4_000, "{pauses:?}");
    assert_eq!(pause(Some(f32::NAN)), pause(None));
}

#[test]
fn an_estimate_outlives_the_end_of_its_last_word_but_not_the_next_one() {
    for (spoken_on, is_speaking) in [(160, true), (320, false)] {
        let mut speaker = Speaker::new(&semantic(Eagerness::High));
        speaker.say(0.9, 320);
        speaker.machine.estimate_complete(Some(0.1));
        speaker.say(0.9, spoken_on);
        speaker.say(0.0, 480);
        assert_eq!(speaker.machine.is_speaking(), is_speaking, "{spoken_on} ms");
    }
}

#[test]
fn the_end_of_the_stream_ends_speech_in_progress_once() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.9, 320);
    speaker.machine.end_of_stream();
    speaker.machine.end_of_stream();
    let last_speech = SampleCount(320 * 16);
    assert_eq!(speaker.events()[1..], [TurnEvent::SpeechStopped { at: ms(320), last_speech }]);
}

#[test]
fn a_discarded_turn_leaves_no_event_and_is_not_part_of_the_next() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.9, 320);
    speaker.machine.discard();
    assert_eq!(speaker.events().len(), 1);
    speaker.say(0.9, 48);
    let detected_at = SampleCount(368 * 16);
    assert_eq!(speaker.events(), [TurnEvent::SpeechStarted { at: ms(320), detected_at }]);
}

#[test]
fn new_rules_apply_to_speech_in_progress() {
    let mut speaker = Speaker::new(&server());
    speaker.say(0.9, 320);
    let quick = TurnDetection::ServerVad(ServerVad { silence: ms(200), ..ServerVad::default() });
    speaker.machine.reconfigure(&quick);
    speaker.say(0.0, 208);
    assert!(!speaker.machine.is_speaking());
}

#[test]
fn extreme_settings_neither_panic_nor_hang() {
    for threshold in [f32::NAN, -1.0, 0.0, 1.0, 2.0] {
        let vad = ServerVad {
            threshold,
            silence: Duration::ZERO,
            prefix_padding: Duration::MAX,
            ..ServerVad::default()
        };
        let mut speaker = Speaker::new(&TurnDetection::ServerVad(vad));
        speaker.say(1.0, 160);
        speaker.say(0.0, 160);
        speaker.machine.end_of_stream();
        let events = speaker.events();
        assert!(events.len().is_multiple_of(2), "{threshold}: {events:?}");
    }
}

#[test]
fn the_idle_timeout_counts_from_the_end_of_playback() {
    let now = Instant::now();
    let timeout = Duration::from_secs(6);
    let vad = ServerVad { idle_timeout: Some(timeout), ..ServerVad::default() };
    let mut speaker = Speaker::new(&TurnDetection::ServerVad(vad));
    assert_eq!(speaker.machine.poll_timeout(), None);
    speaker.say(0.0, 1_600);
    speaker.machine.playback_ended(now);
    assert_eq!(speaker.machine.poll_timeout(), Some(now + timeout));
    speaker.say(0.0, 6_000);
    speaker.machine.handle_timeout(now + timeout - ms(1));
    assert_eq!(speaker.events(), []);
    speaker.machine.handle_timeout(now + timeout);
    assert_eq!(speaker.events(), [TurnEvent::IdleTimeout { from: ms(1_600), to: ms(7_600) }]);
    assert_eq!(speaker.machine.poll_timeout(), None);
}

#[test]
fn speech_playback_or_new_rules_stop_the_idle_timeout() {
    let now = Instant::now();
    let vad = ServerVad { idle_timeout: Some(Duration::from_secs(5)), ..ServerVad::default() };
    let mut speaker = Speaker::new(&TurnDetection::ServerVad(vad));
    speaker.machine.playback_ended(now);
    speaker.machine.playback_started();
    assert_eq!(speaker.machine.poll_timeout(), None);
    speaker.machine.playback_ended(now);
    speaker.say(0.9, 320);
    assert_eq!(speaker.machine.poll_timeout(), None);
    // While the caller speaks the end of playback does not count either.
    speaker.machine.playback_ended(now);
    assert_eq!(speaker.machine.poll_timeout(), None);
    speaker.machine.end_of_stream();
    speaker.machine.playback_ended(now);
    speaker.machine.reconfigure(&server());
    assert_eq!(speaker.machine.poll_timeout(), None);
}
