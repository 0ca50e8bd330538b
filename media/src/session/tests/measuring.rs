//! Who was at work in a turn, and since when.

use voxgate_protocol::audible::word_end;
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::trace::{TurnTrace, Work};

use super::*;

/// Of the first packet a caller sends.
const FIRST_TIMESTAMP: u32 = 100 * 960;

/// What takes time in a turn.
#[derive(Clone, Copy, Debug)]
struct Delays {
    capture: Duration,
    /// Between client and relay.
    round_trip: Duration,
    relay_in: Duration,
    relay_out: Duration,
    recognition: Duration,
    model: Duration,
    aggregation: Duration,
    voice: Duration,
    playout: Duration,
}

const USUAL: Delays = Delays {
    capture: Duration::from_millis(10),
    round_trip: Duration::from_millis(30),
    relay_in: Duration::from_millis(1),
    relay_out: Duration::from_millis(2),
    recognition: Duration::from_millis(40),
    model: Duration::from_millis(100),
    aggregation: Duration::from_millis(20),
    voice: Duration::from_millis(60),
    playout: Duration::from_millis(50),
};

fn turn(delays: Delays) -> TurnTrace {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.command(SessionCommand::ReportClient(ClientReport {
        capture: Some(delays.capture),
        round_trip: Some(delays.round_trip + delays.relay_in + delays.relay_out),
        playout: Some(delays.playout),
        ..ClientReport::default()
    }));
    let (relay_in, relay_out) = (delays.relay_in, Some(delays.relay_out));
    stage.session.note_network(NetworkTimes { relay_in, relay_out, ..NetworkTimes::default() });
    ask(&mut stage);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    stage.silence(delays.recognition);
    stage.bridge(BridgeEvent::Stage(TurnStage::Recognised));
    stage.silence(delays.model);
    stage.bridge(BridgeEvent::Stage(TurnStage::FirstToken));
    stage.silence(delays.aggregation);
    stage.bridge(BridgeEvent::Stage(TurnStage::SpeechRequested));
    stage.silence(delays.voice);
    stage.bridge(audio("resp_1"));
    stage.silence(40 * MS);
    measured(&stage)
}

pub(super) fn measured(stage: &Stage) -> TurnTrace {
    let measured = stage.position(|event| matches!(event, SessionEvent::TurnMeasured(_)));
    let SessionEvent::TurnMeasured(trace) = stage.events()[measured] else { panic!("no turn") };
    (**trace).clone()
}

pub(super) fn work(trace: &TurnTrace, wanted: Hop) -> Work {
    *trace.works.iter().find(|work| work.hop == wanted).unwrap()
}

pub(super) fn took(trace: &TurnTrace, hop: Hop) -> Duration {
    let works = trace.works.iter().filter(|work| work.hop == hop);
    works.map(|work| work.to.at - work.from.at).sum()
}

#[test]
fn each_delay_appears_in_its_own_hop_and_in_no_other() {
    let more = 200 * MS;
    let matrix = [
        (Delays { capture: USUAL.capture + more, ..USUAL }, vec![(Hop::Capture, more)]),
        (
            Delays { round_trip: USUAL.round_trip + more, ..USUAL },
            vec![(Hop::Uplink, more / 2), (Hop::Downlink, more / 2)],
        ),
        (Delays { relay_in: USUAL.relay_in + more, ..USUAL }, vec![(Hop::RelayIn, more)]),
        (Delays { relay_out: USUAL.relay_out + more, ..USUAL }, vec![(Hop::RelayOut, more)]),
        (Delays { recognition: USUAL.recognition + more, ..USUAL }, vec![(Hop::Stt, more)]),
        (Delays { model: USUAL.model + more, ..USUAL }, vec![(Hop::Model, more)]),
        (Delays { aggregation: USUAL.aggregation + more, ..USUAL }, vec![(Hop::Aggregation, more)]),
        (Delays { voice: USUAL.voice + more, ..USUAL }, vec![(Hop::Tts, more)]),
        (Delays { playout: USUAL.playout + more, ..USUAL }, vec![(Hop::Playout, more)]),
    ];
    let usual = turn(USUAL);
    for (delays, expected) in matrix {
        let slow = turn(delays);
        assert_eq!(slow.mouth_to_ear() - usual.mouth_to_ear(), more, "{expected:?}");
        for hop in Hop::ALL {
            let grown =
                expected.iter().find(|(grown, _)| *grown == hop).map_or(Duration::ZERO, |(_, by)| *by);
            assert_eq!(took(&slow, hop), took(&usual, hop) + grown, "{hop:?} with {expected:?}");
        }
    }
}

#[test]
fn recognition_that_began_before_the_turn_was_over_keeps_its_beginning() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.bridge(BridgeEvent::Stage(TurnStage::Recognising));
    stage.silence(900 * MS);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    stage.bridge(BridgeEvent::Stage(TurnStage::Recognised));
    stage.silence(100 * MS);
    stage.bridge(BridgeEvent::Stage(TurnStage::FirstToken));
    stage.bridge(audio("resp_1"));
    stage.silence(40 * MS);
    let trace = measured(&stage);
    let (endpointing, stt) = (work(&trace, Hop::Endpointing), work(&trace, Hop::Stt));
    assert!(stt.from.at < endpointing.to.at && endpointing.to.at < stt.to.at, "{trace:?}");
    assert_eq!(stt.to.at, work(&trace, Hop::Model).from.at, "the model began when the words were known");
}

#[test]
fn the_time_of_a_clients_tool_is_nobodys() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    stage.silence(100 * MS);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(300 * MS);
    stage.command(SessionCommand::CreateResponse(Box::default()));
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_2") });
    stage.silence(60 * MS);
    stage.bridge(audio("resp_2"));
    stage.silence(40 * MS);
    let trace = measured(&stage);
    let works: Duration = trace.works.iter().map(|work| work.to.at - work.from.at).sum();
    assert_eq!(trace.mouth_to_ear() - works, 300 * MS);
}

/// The playout of a turn whose client reports this by RTCP, and this by its script.
fn playout(jitter: Option<Duration>, report: ClientReport) -> (Duration, Duration) {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.command(SessionCommand::ReportClient(report));
    stage.session.note_network(NetworkTimes { jitter, ..NetworkTimes::default() });
    ask(&mut stage);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    stage.bridge(audio("resp_1"));
    stage.silence(40 * MS);
    let trace = measured(&stage);
    (took(&trace, Hop::Playout), work(&trace, Hop::Playout).from.error)
}

#[test]
fn the_playout_of_a_client_that_says_nothing_moves_with_the_jitter_it_reports() {
    let silent = ClientReport::default();
    assert_eq!(playout(None, silent), (60 * MS, Duration::ZERO), "nothing is known");
    assert_eq!(playout(Some(MS), silent), (60 * MS, 41 * MS));
    assert_eq!(playout(Some(40 * MS), silent), (160 * MS, 80 * MS));
    let report = ClientReport { jitter_buffer: Some(30 * MS), playout: Some(12 * MS), ..silent };
    assert_eq!(playout(Some(40 * MS), report), (42 * MS, Duration::ZERO), "what it says counts");
}

/// An answer to a question, of which the first `quiet` make no sound.
fn answered_after(quiet: Duration, sound: i16) -> (Stage, TurnTrace) {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.bridge(started("resp_1"));
    let rate = SampleRate::HZ_24000;
    let mut samples = vec![0; rate.samples_in(quiet).0 as usize];
    samples.extend([sound; 9_600]);
    stage.bridge(BridgeEvent::Output {
        response_id: ResponseId::from("resp_1"),
        item_id: ItemId::from("item_answer"),
        part: OutputPart::Audio(Pcm { rate, samples }),
    });
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(4_000 * MS);
    let trace = measured(&stage);
    (stage, trace)
}

#[test]
fn the_silence_a_voice_begins_with_is_its_own_and_the_turn_ends_with_the_sound() {
    let (stage, at_once) = answered_after(Duration::ZERO, 900);
    let (_, later) = answered_after(47 * MS, 900);
    assert_eq!(later.mouth_to_ear() - at_once.mouth_to_ear(), 47 * MS);
    assert_eq!(took(&later, Hop::Model) - took(&at_once, Hop::Model), 47 * MS);
    assert_eq!(took(&at_once, Hop::Encode), Duration::from_micros(6_500), "what Opus looks ahead");
    let (first, later) = (at_once.heard.unwrap(), later.heard.unwrap());
    let sent = stage.sent.iter().find(|sent| sent.is_speech && sent.marker).unwrap();
    assert_eq!((first.packet, first.sample), (sent.timestamp, sent.timestamp.wrapping_add(312)));
    assert_eq!(later.packet.wrapping_sub(first.packet), 2 * 960, "the third packet brings the sound");
    assert_eq!(later.sample.wrapping_sub(later.packet), 7 * 48 + 312);
}

#[test]
fn an_answer_that_makes_no_sound_counts_from_its_first_packet() {
    let (_, sounding) = answered_after(Duration::ZERO, 900);
    for quiet in [Duration::ZERO, 3_000 * MS] {
        let (_, silent) = answered_after(quiet, 3);
        assert_eq!(silent.heard, None);
        assert_eq!(sounding.mouth_to_ear() - silent.mouth_to_ear(), Duration::from_micros(6_500));
    }
}

#[test]
fn the_last_word_is_where_it_can_be_heard_last_and_the_client_can_find_it() {
    let (_, trace) = answered_after(Duration::ZERO, 900);
    let speech = speech_at(SampleRate::HZ_48000);
    let spoken = word_end(&speech.samples, SampleRate::HZ_48000).unwrap() as u32;
    // The caller counts from the first packet, and is silent for 400 ms.
    let began = FIRST_TIMESTAMP + 400 * 48;
    let found = trace.spoken.unwrap().sample.wrapping_sub(began) as i32;
    assert!(
        (found - spoken as i32).abs() < 5 * 48,
        "{found} of {spoken}: as far as the coder changes the sound"
    );
}
