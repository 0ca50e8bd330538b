//! Callers whose microphone falls silent in other ways than by silence.

use voxgate_protocol::settings::{Eagerness, SemanticVad};

use super::*;

impl Stage {
    /// One packet of the caller.
    fn packet(&mut self, timestamp: u32, payload: &[u8]) {
        let packet =
            RtpAudio { sequence: self.sequence, timestamp, marker: false, payload, arrived: self.now };
        self.session.handle_rtp(self.now, packet);
        self.sequence += 1;
        self.drain();
    }

    pub(super) fn stopped_at(&self) -> Option<Duration> {
        self.events().into_iter().find_map(|event| match event {
            SessionEvent::SpeechStopped { at, .. } => Some(*at),
            _ => None,
        })
    }
}

pub(super) fn semantic(eagerness: Eagerness) -> SessionCommand {
    let mut settings = SessionSettings::default();
    settings.input.turn_detection =
        Some(TurnDetection::Semantic(SemanticVad { eagerness, ..SemanticVad::default() }));
    SessionCommand::Configure(Box::new(settings))
}

/// The caller has spoken for as long as the recording lasts.
pub(super) fn spoken(stage: &mut Stage) {
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    assert_eq!(stage.stopped_at(), None, "the recording ends with speech");
}

#[test]
fn words_that_lead_on_are_waited_for_to_the_maximum_even_if_no_packet_comes() {
    for (eagerness, seconds) in [(Eagerness::High, 2), (Eagerness::Auto, 4), (Eagerness::Low, 8)] {
        let mut stage = Stage::new(TurnOwner::Gateway);
        stage.command(semantic(eagerness));
        spoken(&mut stage);
        stage.bridge(BridgeEvent::InterimTranscript { words: "I would like to".to_owned() });
        let muted = stage.now;
        stage.vanish(Duration::from_secs(12));
        assert!(stage.stopped_at().is_some(), "{eagerness:?}");
        let stopped = stage.stopped_at().unwrap();
        let heard = 400 * MS + speech_at(SampleRate::HZ_48000).duration();
        let pause = stopped.saturating_sub(heard);
        let maximum = Duration::from_secs(seconds);
        assert!(pause + 300 * MS >= maximum && pause <= maximum + 200 * MS, "{eagerness:?}: {pause:?}");
        assert!(stage.now - muted >= pause, "silence is made in real time");
        assert_eq!(stage.count(is_commit), 1);
    }
}

#[test]
fn whole_words_end_the_turn_sooner_than_the_usual_pause() {
    let [understood, not] = [Some("what time is it now"), None].map(|words| {
        let mut stage = Stage::new(TurnOwner::Gateway);
        stage.command(semantic(Eagerness::Auto));
        spoken(&mut stage);
        if let Some(words) = words {
            stage.bridge(BridgeEvent::InterimTranscript { words: words.to_owned() });
        }
        stage.silence(Duration::from_secs(2));
        stage.stopped_at().unwrap()
    });
    assert!(not - understood >= 200 * MS, "{understood:?} and {not:?}");
}

#[test]
fn streamed_transcripts_of_the_turn_count_and_late_ones_of_the_turn_before_do_not() {
    let stopped = |item: &'static str, committed: &'static str| {
        let mut stage = Stage::new(TurnOwner::Gateway);
        stage.command(semantic(Eagerness::Auto));
        stage.bridge(BridgeEvent::InputCommitted { item_id: committed.into() });
        spoken(&mut stage);
        for delta in ["I would", " like to"] {
            stage.bridge(BridgeEvent::InputTranscriptDelta { item_id: item.into(), delta: delta.to_owned() });
        }
        stage.silence(Duration::from_secs(2));
        stage.stopped_at().is_some()
    };
    assert!(!stopped("item_now", "item_before"));
    assert!(stopped("item_before", "item_before"));
}

#[test]
fn a_caller_who_sends_dtx_ends_the_turn_as_one_who_sends_silence() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    spoken(&mut stage);
    let last = u32::from(stage.sequence) * 960;
    // Opus DTX: one tiny packet every 400 ms (RFC 7587 section 3.1.3).
    for index in 0..4 {
        stage.packet(last + index * 19_200, &DTX_FRAME);
        stage.vanish(400 * MS);
    }
    let heard = 400 * MS + speech_at(SampleRate::HZ_48000).duration();
    let pause = stage.stopped_at().expect("the turn goes on for ever") - heard;
    assert!(pause <= 700 * MS, "{pause:?}");
    assert_eq!(stage.count(is_commit), 1);
}

#[test]
fn a_replaced_track_ends_the_turn_and_the_next_one_is_heard() {
    // A new track goes on with the sequence of the sender, or begins with numbers of its own.
    for (sequence, timestamp) in [(None, 9_000_000), (Some(61_000), 4_000_000_000)] {
        let mut stage = Stage::new(TurnOwner::Gateway);
        spoken(&mut stage);
        stage.vanish(200 * MS);
        stage.sequence = sequence.unwrap_or(stage.sequence);
        let mut timestamp: u32 = timestamp;
        let mut speak = |stage: &mut Stage, samples: &[i16]| {
            for frame in samples.chunks_exact(960) {
                stage.vanish(FRAME);
                let payload = stage.encoder.encode(frame).unwrap();
                stage.packet(timestamp, &payload);
                timestamp = timestamp.wrapping_add(960);
            }
        };
        speak(&mut stage, &[0; 48_000]);
        assert_eq!(stage.count(is_commit), 1, "{sequence:?}");
        stage.bridge(started("resp_1"));
        stage.bridge(done("resp_1", ResponseStatus::Completed));
        speak(&mut stage, &speech_at(SampleRate::HZ_48000).samples);
        speak(&mut stage, &[0; 48_000]);
        assert_eq!(stage.count(is_commit), 2, "{sequence:?}");
    }
}
