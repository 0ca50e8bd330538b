//! How exactly an interruption stops an answer.

use voxgate_protocol::session::ClientReport;

use super::*;

/// Where in the outputs the gateway decided that the caller speaks.
fn decision(stage: &Stage) -> usize {
    let is_it =
        |output: &SessionOutput| matches!(output, SessionOutput::Event(SessionEvent::SpeechStarted { .. }));
    stage.outputs.iter().position(is_it).expect("no speech was detected")
}

fn speech_packets(outputs: &[SessionOutput]) -> usize {
    let is_speech = |output: &&SessionOutput| matches!(output, SessionOutput::Audio { payload, .. } if *payload != DTX_FRAME);
    outputs.iter().filter(is_speech).count()
}

#[test]
fn no_packet_of_the_answer_leaves_after_the_decision_and_one_frame_ends_the_talkspurt() {
    for is_generated in [false, true] {
        let mut stage = Stage::new(TurnOwner::Gateway);
        stage.silence(400 * MS);
        stage.answer(20);
        if is_generated {
            stage.bridge(done("resp_1", ResponseStatus::Completed));
        }
        stage.silence(Duration::from_secs(1));
        stage.outputs.clear();
        for (index, frame) in speech_at(SampleRate::HZ_48000).samples.chunks_exact(960).enumerate() {
            stage.step(frame);
            if !is_generated && index % 5 == 0 {
                // The provider has not heard of it yet.
                stage.bridge(audio("resp_1"));
            }
        }
        let decision = decision(&stage);
        assert!(speech_packets(&stage.outputs[..decision]) > 0);
        let after = &stage.outputs[decision..];
        assert_eq!(speech_packets(after), 0, "stale audio");
        let packets = after.iter().filter(|output| matches!(output, SessionOutput::Audio { .. })).count();
        assert_eq!(packets, 1, "the end of the talkspurt");
        let deltas =
            |output: &&SessionOutput| matches!(output, SessionOutput::Event(SessionEvent::Output { .. }));
        assert_eq!(after.iter().filter(deltas).count(), 0, "late deltas");
        assert_eq!(stage.count(is_cancel_of("resp_1")), usize::from(!is_generated));
    }
}

#[test]
fn the_cut_lies_where_the_ear_was_and_the_provider_is_told_the_same() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    let report = ClientReport {
        round_trip: Some(80 * MS),
        jitter_buffer: Some(120 * MS),
        playout: Some(30 * MS),
        ..ClientReport::default()
    };
    stage.command(SessionCommand::ReportClient(report));
    stage.silence(400 * MS);
    stage.answer(20);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(Duration::from_secs(2));
    stage.say(&speech_at(SampleRate::HZ_48000));
    let first = *stage.sent.first().unwrap();
    let last = *stage.sent.iter().rfind(|sent| sent.is_speech).unwrap();
    let left = last.at + FRAME - first.at;
    let cut = stage.events().into_iter().find_map(|event| match event {
        SessionEvent::ItemTruncated { item_id, heard, .. } => Some((item_id.clone(), *heard)),
        _ => None,
    });
    let (item, heard) = cut.unwrap();
    // Half the round trip, the jitter buffer and the sound card.
    let expected = left - 190 * MS;
    assert!(heard.abs_diff(expected) <= FRAME, "heard {heard:?} of {left:?}");
    let told = BridgeCommand::Truncate { item_id: item, content_index: 0, heard };
    assert_eq!(stage.count(|command| *command == told), 1);
}

#[test]
fn an_interrupted_turn_is_told_in_the_documented_order() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.answer(20);
    stage.silence(Duration::from_secs(1));
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    stage.silence(Duration::from_secs(1));
    let names = stage.events().into_iter().filter_map(|event| match event {
        SessionEvent::PlayoutStarted { .. } => Some("started"),
        SessionEvent::SpeechStarted { .. } => Some("speech_started"),
        SessionEvent::PlayoutCleared { .. } => Some("cleared"),
        SessionEvent::PlayoutStopped { .. } => Some("stopped"),
        SessionEvent::ItemTruncated { .. } => Some("truncated"),
        SessionEvent::ResponseDone { status: ResponseStatus::CancelledByTurn, .. } => Some("turn_detected"),
        SessionEvent::SpeechStopped { .. } => Some("speech_stopped"),
        SessionEvent::InputCommitted { .. } => Some("committed"),
        _ => None,
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["started", "speech_started", "cleared", "truncated", "turn_detected", "speech_stopped", "committed"]
    );
}
