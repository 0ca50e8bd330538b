//! The turns of a client that sends its audio in messages.

use voxgate_protocol::audible::word_end;
use voxgate_protocol::audio::SampleCount;
use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Position, Role};
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::trace::TurnTrace;

use super::measuring::{measured, took, work};
use super::*;

const RATE: SampleRate = SampleRate::HZ_24000;

/// The detector's windows and the blocks of the converter to the provider's rate blur the last word by a few milliseconds.
const BLUR: Duration = Duration::from_millis(10);

fn silent(duration: Duration) -> Vec<i16> {
    Pcm::silence(RATE, duration).samples
}

/// A question with silence around it, and where in it the last word ends.
fn question(pause: Duration) -> (Vec<i16>, Duration) {
    let samples = [silent(400 * MS), speech_at(RATE).samples, silent(pause)].concat();
    let end = word_end(&samples, RATE).unwrap() as u64;
    (samples, SampleCount(end).duration_at(RATE))
}

/// A live caller whose client bundles audio in pieces, and what passes on the way.
struct Caller {
    stage: Stage,
    piece: Duration,
    /// Audio that ends within this stretch of the question is held up until the stretch is over.
    held_up: (Duration, Duration),
}

impl Caller {
    fn new(piece: Duration) -> Self {
        let stage = Stage::with_leg(TurnOwner::Gateway, Leg::Pcm);
        Self { stage, piece, held_up: (Duration::ZERO, Duration::ZERO) }
    }

    fn pass_until(&mut self, at: Instant) {
        self.stage.vanish(at.saturating_duration_since(self.stage.now));
    }

    /// Speaks from now on, and sends each piece when it is full.
    fn say(&mut self, samples: &[i16]) -> Instant {
        let began = self.stage.now;
        let mut spoken = Duration::ZERO;
        for piece in samples.chunks(RATE.samples_in(self.piece).0 as usize) {
            spoken += SampleCount(piece.len() as u64).duration_at(RATE);
            let (from, until) = self.held_up;
            let comes = if (from..until).contains(&spoken) { until } else { spoken };
            self.pass_until(began + comes);
            let samples = piece.to_vec();
            self.stage.command(SessionCommand::AppendAudio(Pcm { rate: RATE, samples }));
        }
        began
    }

    fn answer(&mut self, pcm: Pcm) {
        let part = OutputPart::Audio(pcm);
        let (response_id, item_id) = (ResponseId::from("resp_1"), ItemId::from("item_answer"));
        self.stage.bridge(BridgeEvent::Output { response_id, item_id, part });
    }
}

fn sound() -> Pcm {
    Pcm { rate: RATE, samples: vec![900; 2_400] }
}

/// A turn of pieces of 20 ms, and how long it really took from the last word to the message with the sound.
fn turn(caller: &mut Caller, delays: [Duration; 4]) -> (TurnTrace, Duration) {
    let (samples, last_word) = question(900 * MS);
    let spoke = caller.say(&samples) + last_word;
    caller.stage.bridge(started("resp_1"));
    for (delay, stage) in
        delays.into_iter().zip([TurnStage::Recognised, TurnStage::FirstToken, TurnStage::SpeechRequested])
    {
        caller.stage.vanish(delay);
        caller.stage.bridge(BridgeEvent::Stage(stage));
    }
    caller.stage.vanish(delays[3]);
    caller.answer(sound());
    (measured(&caller.stage), caller.stage.now - spoke)
}

const USUAL: [Duration; 4] = [
    Duration::from_millis(40),
    Duration::from_millis(100),
    Duration::from_millis(20),
    Duration::from_millis(60),
];

fn sum(trace: &TurnTrace) -> Duration {
    Hop::ALL.into_iter().map(|hop| took(trace, hop)).sum()
}

#[test]
fn a_turn_lasts_from_the_last_word_to_the_message_with_the_sound_whatever_the_pieces() {
    for piece in [20 * MS, 100 * MS, 250 * MS] {
        let mut caller = Caller::new(piece);
        let (trace, truth) = turn(&mut caller, USUAL);
        assert!(trace.mouth_to_ear().abs_diff(truth) < BLUR, "{piece:?}: {:?}", trace.mouth_to_ear());
        assert_eq!(sum(&trace), trace.mouth_to_ear());
        assert!(took(&trace, Hop::Capture) <= piece);
        assert_eq!(took(&trace, Hop::Model), 100 * MS);
        assert_eq!(took(&trace, Hop::Tts), 60 * MS);
    }
}

#[test]
fn what_nobody_can_know_of_a_message_client_is_named_and_not_made_up() {
    let mut caller = Caller::new(20 * MS);
    let (trace, _) = turn(&mut caller, USUAL);
    assert_eq!(trace.unseen, [Hop::Uplink, Hop::Downlink, Hop::Playout]);
    let seen: Vec<Hop> = trace.works.iter().map(|work| work.hop).collect();
    assert!(!seen.iter().any(|hop| matches!(
        hop,
        Hop::RelayIn | Hop::Jitter | Hop::Decode | Hop::Pacing | Hop::RelayOut | Hop::Playout
    )));
    assert_eq!((trace.spoken, trace.heard), (None, None));
    let mut caller = Caller::new(20 * MS);
    let round_trip = Some(30 * MS);
    caller.stage.session.note_network(NetworkTimes { round_trip, ..NetworkTimes::default() });
    let (known, _) = turn(&mut caller, USUAL);
    assert_eq!(known.unseen, [Hop::Playout]);
    assert_eq!(known.mouth_to_ear(), trace.mouth_to_ear() + 30 * MS);
}

#[test]
fn each_delay_appears_in_its_own_hop_and_in_no_other() {
    let more = 200 * MS;
    let measure = |delays: [Duration; 4], round_trip: Duration, report: ClientReport| {
        let mut caller = Caller::new(20 * MS);
        caller.stage.command(SessionCommand::ReportClient(report));
        let round_trip = Some(round_trip);
        caller.stage.session.note_network(NetworkTimes { round_trip, ..NetworkTimes::default() });
        turn(&mut caller, delays).0
    };
    let report = |capture, playout| ClientReport {
        capture: Some(capture),
        playout: Some(playout),
        ..ClientReport::default()
    };
    let (few, at_rest) = (10 * MS, report(10 * MS, 50 * MS));
    let usual = measure(USUAL, few, at_rest);
    let longer = |index: usize| {
        let mut delays = USUAL;
        delays[index] += more;
        measure(delays, few, at_rest)
    };
    let matrix = [
        (measure(USUAL, few, report(10 * MS + more, 50 * MS)), vec![(Hop::Capture, more)]),
        (measure(USUAL, few + more, at_rest), vec![(Hop::Uplink, more / 2), (Hop::Downlink, more / 2)]),
        (longer(0), vec![(Hop::Stt, more)]),
        (longer(1), vec![(Hop::Model, more)]),
        (longer(2), vec![(Hop::Aggregation, more)]),
        (longer(3), vec![(Hop::Tts, more)]),
        (measure(USUAL, few, report(10 * MS, 50 * MS + more)), vec![(Hop::Playout, more)]),
    ];
    for (slow, expected) in matrix {
        assert_eq!(slow.mouth_to_ear(), usual.mouth_to_ear() + more, "{expected:?}");
        for hop in Hop::ALL {
            let grown = expected.iter().find(|(grown, _)| *grown == hop);
            let grown = grown.map_or(Duration::ZERO, |(_, by)| *by);
            assert_eq!(took(&slow, hop), took(&usual, hop) + grown, "{hop:?} with {expected:?}");
        }
    }
}

#[test]
fn a_network_that_holds_the_last_word_up_is_the_uplinks_and_the_rest_of_the_pause_is_endpointings() {
    let measure = |held_for: Duration| {
        let (_, last_word) = question(900 * MS);
        let mut caller = Caller::new(20 * MS);
        let from = last_word - 50 * MS;
        caller.held_up = (from, from + held_for);
        let round_trip = Some(10 * MS);
        caller.stage.session.note_network(NetworkTimes { round_trip, ..NetworkTimes::default() });
        turn(&mut caller, USUAL)
    };
    let (usual, _) = measure(Duration::ZERO);
    let (held, truth) = measure(250 * MS);
    // The answer is not later: what was held up came while the pause was still waited for.
    assert!(held.mouth_to_ear().abs_diff(usual.mouth_to_ear()) < BLUR);
    assert!((truth + 10 * MS).abs_diff(held.mouth_to_ear()) < BLUR);
    let later = took(&held, Hop::Uplink) - took(&usual, Hop::Uplink);
    assert!((150 * MS..250 * MS).contains(&later), "{later:?}");
    assert!((took(&usual, Hop::Endpointing) - took(&held, Hop::Endpointing)).abs_diff(later) < BLUR);
}

#[test]
fn a_client_that_sends_nothing_while_nobody_speaks_is_not_a_slow_network() {
    let mut caller = Caller::new(20 * MS);
    let round_trip = Some(10 * MS);
    caller.stage.session.note_network(NetworkTimes { round_trip, ..NetworkTimes::default() });
    caller.say(&silent(400 * MS));
    caller.stage.vanish(700 * MS);
    let (trace, truth) = turn(&mut caller, USUAL);
    assert_eq!(took(&trace, Hop::Uplink), 5 * MS);
    assert!(trace.mouth_to_ear().abs_diff(truth + 10 * MS) < BLUR);
}

#[test]
fn a_turn_the_client_commits_begins_with_its_last_word_too() {
    let (samples, last_word) = question(300 * MS);
    let mut caller = Caller::new(20 * MS);
    caller.stage.configure(None);
    let spoke = caller.say(&samples) + last_word;
    caller.stage.vanish(70 * MS);
    caller.stage.command(SessionCommand::CommitInput);
    let committed = caller.stage.now;
    caller.stage.command(SessionCommand::CreateResponse(Box::default()));
    caller.stage.bridge(started("resp_1"));
    caller.stage.vanish(100 * MS);
    caller.answer(sound());
    let trace = measured(&caller.stage);
    assert!(trace.mouth_to_ear().abs_diff(caller.stage.now - spoke) < BLUR);
    let endpointing = work(&trace, Hop::Endpointing);
    let waited = endpointing.to.at - trace.mouth.at;
    assert!(waited.abs_diff(committed - spoke) < BLUR, "{waited:?}: until the client was sure");
    assert_eq!(took(&trace, Hop::Model), 100 * MS);
}

#[test]
fn a_question_out_of_a_file_begins_when_it_came() {
    let mut caller = Caller::new(60_000 * MS);
    caller.stage.configure(None);
    let (samples, _) = question(2_000 * MS);
    // All of it at once, without the time it would take to say it.
    caller.stage.command(SessionCommand::AppendAudio(Pcm { rate: RATE, samples }));
    let came = caller.stage.now;
    caller.stage.command(SessionCommand::CommitInput);
    caller.stage.bridge(started("resp_1"));
    caller.stage.vanish(100 * MS);
    caller.answer(sound());
    let trace = measured(&caller.stage);
    let before = trace.mouth_to_ear() - (caller.stage.now - came);
    assert!(before <= 250 * MS, "{before:?}: no more than clients bundle");
}

#[test]
fn a_typed_turn_has_no_mouth() {
    let mut caller = Caller::new(20 * MS);
    caller.say(&silent(400 * MS));
    let content = vec![Content::InputText("what time is it".to_owned())];
    let kind = ItemKind::Message { role: Role::User, content };
    let item = Item { id: ItemId::from("item_typed"), status: ItemStatus::Completed, kind };
    caller.stage.command(SessionCommand::CreateItem { item, position: Position::Last });
    caller.stage.command(SessionCommand::CreateResponse(Box::default()));
    caller.stage.bridge(started("resp_1"));
    caller.answer(sound());
    caller.stage.bridge(done("resp_1", ResponseStatus::Completed));
    assert!(!caller.stage.events().iter().any(|event| matches!(event, SessionEvent::TurnMeasured(_))));
}

#[test]
fn silence_a_voice_begins_with_is_its_own_however_its_messages_come() {
    let opened = |pieces: [Duration; 3], opening: i16| {
        let mut caller = Caller::new(20 * MS);
        let (samples, _) = question(900 * MS);
        caller.say(&samples);
        caller.stage.bridge(started("resp_1"));
        caller.stage.vanish(100 * MS);
        for (index, after) in pieces.into_iter().enumerate() {
            caller.stage.vanish(after);
            let quiet = Pcm { rate: RATE, samples: vec![opening; 2_400] };
            caller.answer(if index == 2 { sound() } else { quiet });
        }
        measured(&caller.stage)
    };
    let loud = took(&opened([Duration::ZERO; 3], 900), Hop::Model);
    let at_once = opened([Duration::ZERO; 3], 3);
    let spoken = opened([Duration::ZERO, 100 * MS, 100 * MS], 3);
    assert_eq!(at_once.mouth_to_ear(), spoken.mouth_to_ear(), "it is played in its own time");
    let quiet = loud + 200 * MS;
    assert_eq!((took(&at_once, Hop::Model), took(&spoken, Hop::Model)), (quiet, quiet));
    let slow = opened([Duration::ZERO, 100 * MS, 250 * MS], 3);
    assert_eq!(took(&slow, Hop::Model), loud + 350 * MS);
    assert_eq!(sum(&slow), slow.mouth_to_ear());
}

#[test]
fn an_answer_without_a_sound_counts_from_its_first_message() {
    let answered = |sample: i16| {
        let mut caller = Caller::new(20 * MS);
        let (samples, _) = question(900 * MS);
        caller.say(&samples);
        caller.stage.bridge(started("resp_1"));
        caller.stage.vanish(100 * MS);
        caller.answer(Pcm { rate: RATE, samples: vec![sample; 4_800] });
        caller.stage.vanish(80 * MS);
        caller.stage.bridge(done("resp_1", ResponseStatus::Completed));
        measured(&caller.stage)
    };
    let (silent, loud) = (answered(3), answered(900));
    assert_eq!((silent.mouth_to_ear(), silent.sent), (loud.mouth_to_ear(), silent.ear.at));
}
