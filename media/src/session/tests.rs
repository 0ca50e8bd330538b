use std::time::{Duration, Instant};

use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{
    BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner, OutputPart, ResponseStatus, TurnOwner,
    TurnStage,
};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::{EndReason, SessionCommand, SessionEvent};
use voxgate_protocol::settings::{InputSettings, ResponseOptions, ServerVad, SessionSettings, TurnDetection};
use voxgate_protocol::timeline::Hop;

use super::*;
use crate::encode::{DTX_FRAME, Encoder};
use crate::speech_fixture::speech_at;
use crate::uplink::RtpAudio;

mod barge_in;
mod holding;
mod idle;
mod listening;
mod lost;
mod measuring;
mod messages;
mod observing;
mod silence;
mod waiting;
mod withdrawing;

const MS: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_millis(20);

/// A session in virtual time with a caller who sends RTP.
struct Stage {
    session: Session,
    encoder: Encoder,
    now: Instant,
    sequence: u16,
    outputs: Vec<SessionOutput>,
    /// When each packet left.
    sent: Vec<Sent>,
}

/// One packet to the caller.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    timestamp: u32,
    marker: bool,
    /// Whether it holds speech; else it ends a talkspurt.
    is_speech: bool,
}

impl Stage {
    fn new(owner: TurnOwner) -> Self {
        Self::with_leg(owner, Leg::Rtp)
    }

    fn with_leg(owner: TurnOwner, leg: Leg) -> Self {
        Self::with_rule(owner, leg, None)
    }

    fn with_rule(owner: TurnOwner, leg: Leg, interruption: Option<InterruptionRule>) -> Self {
        Self::with_rules(owner, leg, interruption, None)
    }

    fn with_rules(
        owner: TurnOwner,
        leg: Leg,
        interruption: Option<InterruptionRule>,
        listening: Option<ListeningRule>,
    ) -> Self {
        let settings = SessionSettings {
            input: InputSettings {
                turn_detection: Some(TurnDetection::ServerVad(ServerVad::default())),
                ..InputSettings::default()
            },
            ..SessionSettings::default()
        };
        let traits = BridgeTraits {
            input_rate: SampleRate::HZ_16000,
            output_rate: SampleRate::HZ_24000,
            turn_owner: owner,
            truncates: true,
            transcribes: false,
        };
        let session = Session::new(SessionConfig {
            traits,
            settings,
            leg,
            encoder: EncoderConfig::default(),
            interruption,
            listening,
            seed: 11,
        });
        Self {
            session: session.unwrap(),
            encoder: Encoder::new(SampleRate::HZ_48000, EncoderConfig::default()).unwrap(),
            now: Instant::now(),
            sequence: 100,
            outputs: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Lets 20 ms pass, with one packet of the caller at their end, and every deadline in between.
    fn step(&mut self, samples: &[i16]) {
        let until = self.now + FRAME;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at < until) {
            self.now = at.max(self.now);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
        self.session.handle_timeout(self.now);
        let payload = self.encoder.encode(samples).unwrap();
        let packet = RtpAudio {
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 960,
            marker: false,
            payload: &payload,
            arrived: self.now,
        };
        self.session.handle_rtp(self.now, packet);
        self.sequence += 1;
        self.drain();
    }

    fn say(&mut self, speech: &Pcm) {
        for frame in speech.samples.chunks_exact(960) {
            self.step(frame);
        }
    }

    fn silence(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / 20 {
            self.step(&[0; 960]);
        }
    }

    fn bridge(&mut self, event: BridgeEvent) {
        self.session.handle_bridge(self.now, self.now, event);
        self.drain();
    }

    fn command(&mut self, command: SessionCommand) {
        self.session.handle_command(self.now, command);
        self.drain();
    }

    fn configure(&mut self, vad: Option<ServerVad>) {
        let mut settings = SessionSettings::default();
        settings.input.turn_detection = vad.map(TurnDetection::ServerVad);
        self.command(SessionCommand::Configure(Box::new(settings)));
    }

    /// Nothing comes from the caller any more.
    fn vanish(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn count(&self, wanted: impl Fn(&BridgeCommand) -> bool) -> usize {
        self.commands().into_iter().filter(|command| wanted(command)).count()
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            if let SessionOutput::Audio { payload, timestamp, marker, is_measured, .. } = &output {
                let is_speech = *payload != DTX_FRAME;
                self.sent.push(Sent { at: self.now, timestamp: *timestamp, marker: *marker, is_speech });
                if *is_measured {
                    self.session.handle_sent(self.now);
                }
            }
            if output == SessionOutput::ConfirmSent {
                self.session.handle_sent(self.now);
            }
            self.outputs.push(output);
        }
    }

    fn answer(&mut self, seconds: u64) {
        self.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
        for _ in 0..seconds * 10 {
            self.bridge(audio("resp_1"));
        }
    }

    fn events(&self) -> Vec<&SessionEvent> {
        let events = self.outputs.iter().filter_map(|output| match output {
            SessionOutput::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }

    fn commands(&self) -> Vec<&BridgeCommand> {
        let commands = self.outputs.iter().filter_map(|output| match output {
            SessionOutput::Bridge(command) => Some(command),
            _ => None,
        });
        commands.collect()
    }

    fn position(&self, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.events().iter().position(|event| wanted(event)).unwrap_or_else(|| panic!("{:#?}", self.events()))
    }
}

fn audio(response: &str) -> BridgeEvent {
    BridgeEvent::Output {
        response_id: ResponseId::from(response),
        item_id: ItemId::from("item_answer"),
        part: OutputPart::Audio(Pcm { rate: SampleRate::HZ_24000, samples: vec![900; 2_400] }),
    }
}

fn done(response: &str, status: ResponseStatus) -> BridgeEvent {
    BridgeEvent::ResponseDone { response_id: ResponseId::from(response), status, usage: None }
}

fn started(response: &str) -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: ResponseId::from(response) }
}

fn is_commit(command: &BridgeCommand) -> bool {
    matches!(command, BridgeCommand::CommitInput { .. })
}

fn is_question(command: &BridgeCommand) -> bool {
    matches!(command, BridgeCommand::CreateResponse(_))
}

fn is_cancel_of(response: &str) -> impl Fn(&BridgeCommand) -> bool {
    move |command| *command == BridgeCommand::CancelResponse { response_id: Some(ResponseId::from(response)) }
}

fn ask(stage: &mut Stage) {
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.silence(900 * MS);
}

#[test]
fn a_spoken_turn_reaches_the_provider_whole_and_asks_for_an_answer() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    let started = stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    let committed = stage.position(|event| matches!(event, SessionEvent::InputCommitted { .. }));
    assert!(started < committed);
    let heard: Duration = stage
        .commands()
        .iter()
        .filter_map(|command| match command {
            BridgeCommand::Audio(pcm) => Some(pcm.duration()),
            _ => None,
        })
        .sum();
    assert!(heard > Duration::from_secs(3), "{heard:?}");
    let commits = stage
        .commands()
        .iter()
        .filter(|command| matches!(command, BridgeCommand::CommitInput { .. }))
        .count();
    let asks =
        stage.commands().iter().filter(|command| matches!(command, BridgeCommand::CreateResponse(_))).count();
    assert_eq!((commits, asks), (1, 1));
}

#[test]
fn silence_costs_the_provider_nothing() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(Duration::from_secs(5));
    assert_eq!(stage.commands(), Vec::<&BridgeCommand>::new());
}

#[test]
fn a_provider_that_owns_the_turns_hears_everything() {
    let mut stage = Stage::new(TurnOwner::Provider);
    stage.silence(Duration::from_secs(2));
    let frames = stage.commands().len();
    assert!(frames >= 95, "{frames}");
}

#[test]
fn speech_over_an_answer_stops_it_everywhere_and_in_the_documented_order() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.answer(20);
    stage.silence(1_000 * MS);
    stage.outputs.clear();
    stage.say(&speech_at(SampleRate::HZ_48000));
    let started = stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    let cleared = stage.position(|event| matches!(event, SessionEvent::PlayoutCleared { .. }));
    let truncated = stage.position(|event| matches!(event, SessionEvent::ItemTruncated { .. }));
    assert!(started < cleared && cleared < truncated);
    assert!(stage.commands().iter().any(|command| matches!(command, BridgeCommand::CancelResponse { .. })));
    let SessionEvent::ItemTruncated { heard, .. } = stage.events()[truncated] else { panic!("not a cut") };
    assert!(*heard > 500 * MS && *heard < Duration::from_secs(4), "{heard:?}");
    assert_eq!(stage.session.stats().interruptions, 1);

    stage.outputs.clear();
    stage.bridge(audio("resp_1"));
    assert!(stage.outputs.is_empty(), "a late delta got through: {:?}", stage.outputs);
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    let expected = SessionEvent::ResponseDone {
        response_id: ResponseId::from("resp_1"),
        status: ResponseStatus::CancelledByTurn,
        usage: None,
    };
    assert_eq!(stage.events(), [&expected]);
}

#[test]
fn an_answer_that_is_generated_but_still_playing_is_cut_to_what_was_heard() {
    let mut stage = Stage::new(TurnOwner::Provider);
    stage.silence(200 * MS);
    stage.answer(10);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(2_000 * MS);
    stage.outputs.clear();
    stage.bridge(BridgeEvent::SpeechStarted { item_id: ItemId::from("item_user"), at: 3_000 * MS });
    let cut = stage.commands().into_iter().find_map(|command| match command {
        BridgeCommand::Truncate { item_id, heard, .. } => Some((item_id.clone(), *heard)),
        _ => None,
    });
    let (item, heard) = cut.expect("the provider was not told what was heard");
    assert_eq!(item, ItemId::from("item_answer"));
    // Two seconds have left; the default client buffer and the relay are still on the way to the ear.
    assert!(heard > 1_800 * MS && heard <= 2_000 * MS, "{heard:?}");
    let cancels = stage
        .commands()
        .iter()
        .filter(|command| matches!(command, BridgeCommand::CancelResponse { .. }))
        .count();
    assert_eq!(cancels, 0, "there was nothing left to cancel");
}

#[test]
fn a_provider_lost_inside_an_answer_leaves_no_answer_open() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.answer(1);
    stage.outputs.clear();
    stage.bridge(BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: "provider_closed".to_owned(),
        message: "The provider closed the connection.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: true,
    }));
    let failed = stage.position(|event| {
        matches!(event, SessionEvent::ResponseDone { status: ResponseStatus::Failed { .. }, .. })
    });
    let fault = stage.position(|event| matches!(event, SessionEvent::Fault(_)));
    let ended = stage.position(|event| matches!(event, SessionEvent::Ended(EndReason::ProviderFailed)));
    assert!(failed < fault && fault < ended);
    assert_eq!(stage.session.poll_timeout(), None);
}

#[test]
fn the_trace_of_a_turn_says_who_was_at_work_and_since_when() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.bridge(BridgeEvent::ResponseStarted { response_id: ResponseId::from("resp_1") });
    stage.silence(100 * MS);
    stage.bridge(BridgeEvent::Stage(TurnStage::Recognised));
    stage.silence(200 * MS);
    stage.bridge(BridgeEvent::Stage(TurnStage::FirstToken));
    stage.bridge(BridgeEvent::Stage(TurnStage::SpeechRequested));
    stage.silence(60 * MS);
    stage.bridge(audio("resp_1"));
    stage.silence(40 * MS);
    let measured = stage.position(|event| matches!(event, SessionEvent::TurnMeasured(_)));
    let SessionEvent::TurnMeasured(trace) = stage.events()[measured] else { panic!("no turn") };
    let work = |wanted| trace.works.iter().find(|work| work.hop == wanted).copied();
    let hop = |wanted| work(wanted).map(|work| work.to.at - work.from.at);
    assert_eq!(hop(Hop::Model), Some(200 * MS));
    assert_eq!(hop(Hop::Tts), Some(60 * MS));
    assert_eq!(hop(Hop::Pacing), Some(Duration::ZERO));
    let endpointing = hop(Hop::Endpointing).unwrap();
    assert!(endpointing >= 450 * MS && endpointing <= 600 * MS, "{endpointing:?}");
    let sum: Duration = trace.works.iter().map(|work| work.to.at - work.from.at).sum();
    assert_eq!(sum, trace.mouth_to_ear());
}

#[test]
fn an_answer_is_started_once_and_stopped_once() {
    let mut stage = Stage::new(TurnOwner::Provider);
    stage.answer(1);
    stage.bridge(done("resp_1", ResponseStatus::Completed));
    stage.silence(2_000 * MS);
    let count =
        |wanted: fn(&SessionEvent) -> bool| stage.events().into_iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, SessionEvent::PlayoutStarted { .. })), 1);
    assert_eq!(count(|event| matches!(event, SessionEvent::PlayoutStopped { .. })), 1);
    assert_eq!(count(|event| matches!(event, SessionEvent::PlayoutCleared { .. })), 0);
    let packets = stage.outputs.iter().filter(|output| matches!(output, SessionOutput::Audio { .. })).count();
    assert_eq!(packets, 51, "fifty frames of speech and the one that ends the talkspurt");
}

#[test]
fn a_muted_caller_without_any_packet_still_ends_the_turn() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.vanish(Duration::from_secs(3));
    stage.position(|event| matches!(event, SessionEvent::SpeechStopped { .. }));
}

#[test]
fn a_manual_commit_without_a_tenth_of_a_second_of_audio_is_reported_as_empty() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.configure(None);
    stage.silence(80 * MS);
    stage.command(SessionCommand::CommitInput);
    stage.position(|event| matches!(event, SessionEvent::InputEmpty));
    assert_eq!(stage.count(is_commit), 0);
    stage.silence(100 * MS);
    stage.command(SessionCommand::CommitInput);
    assert_eq!(stage.count(is_commit), 1);
}

#[test]
fn speech_before_the_answer_has_begun_stops_it_when_it_begins() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.bridge(started("resp_1"));
    assert_eq!(stage.count(is_cancel_of("resp_1")), 1);
    stage.outputs.clear();
    stage.bridge(audio("resp_1"));
    assert!(stage.outputs.is_empty(), "the caller is speaking: {:?}", stage.outputs);
    stage.silence(900 * MS);
    assert_eq!(stage.count(is_question), 0, "the provider refuses a second answer");
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    stage.position(|event| {
        matches!(event, SessionEvent::ResponseDone { status: ResponseStatus::CancelledByTurn, .. })
    });
    assert_eq!(stage.count(is_question), 1, "the second turn is answered");
}

#[test]
fn an_answer_the_provider_refuses_does_not_hold_up_the_next_turn() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.bridge(BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: "rate_limit_exceeded".to_owned(),
        message: "Too much.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: false,
    }));
    stage.outputs.clear();
    ask(&mut stage);
    assert_eq!(stage.count(is_question), 1);
}

#[test]
fn an_answer_beside_the_conversation_is_neither_interrupted_nor_waited_for() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.answer(20);
    let beside = ResponseOptions { is_beside: true, ..ResponseOptions::default() };
    stage.command(SessionCommand::CreateResponse(Box::new(beside)));
    stage.bridge(started("resp_beside"));
    stage.outputs.clear();
    ask(&mut stage);
    assert_eq!((stage.count(is_cancel_of("resp_1")), stage.count(is_cancel_of("resp_beside"))), (1, 0));
    stage.outputs.clear();
    stage.bridge(done("resp_1", ResponseStatus::CancelledByClient));
    assert_eq!(stage.count(is_question), 1);
    stage.bridge(audio("resp_beside"));
    stage.position(|event| matches!(event, SessionEvent::Output { .. }));
}

#[test]
fn a_client_that_asks_while_the_turn_is_being_answered_is_refused() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    ask(&mut stage);
    stage.command(SessionCommand::CreateResponse(Box::default()));
    assert_eq!(stage.count(is_question), 1);
    stage.position(|event| {
        matches!(event, SessionEvent::Fault(fault) if fault.code == "conversation_already_has_active_response")
    });
}

#[test]
fn a_cancelled_request_stays_cancelled_when_its_answer_begins() {
    let mut stage = Stage::new(TurnOwner::Provider);
    stage.command(SessionCommand::CreateResponse(Box::default()));
    stage.command(SessionCommand::CancelResponse { response_id: None });
    stage.bridge(started("resp_1"));
    stage.outputs.clear();
    stage.bridge(audio("resp_1"));
    assert!(stage.outputs.is_empty(), "{:?}", stage.outputs);
}

#[test]
fn a_turn_inside_one_long_message_reaches_the_provider_whole() {
    let mut stage = Stage::with_leg(TurnOwner::Gateway, Leg::Pcm);
    let rate = SampleRate::HZ_24000;
    let speech = speech_at(rate);
    let mut message = Pcm::silence(rate, 400 * MS);
    message.samples.extend(&speech.samples);
    message.samples.extend(Pcm::silence(rate, 900 * MS).samples);
    stage.command(SessionCommand::AppendAudio(message));
    let heard: Duration = stage
        .commands()
        .iter()
        .take_while(|command| !is_commit(command))
        .filter_map(|command| match command {
            BridgeCommand::Audio(pcm) => Some(pcm.duration()),
            _ => None,
        })
        .sum();
    assert!(heard >= speech.duration(), "{heard:?} of {:?}", speech.duration());
    assert_eq!((stage.count(is_commit), stage.count(is_question)), (1, 1));
    let audio_commands = stage.count(|command| matches!(command, BridgeCommand::Audio(_)));
    assert!(audio_commands <= 3, "one message must not fill the provider's queue: {audio_commands}");
}

#[test]
fn turn_detection_switched_on_within_a_call_counts_from_the_start_of_the_call() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.configure(None);
    stage.silence(Duration::from_secs(3));
    stage.configure(Some(ServerVad::default()));
    ask(&mut stage);
    let started = stage.position(|event| matches!(event, SessionEvent::SpeechStarted { .. }));
    let SessionEvent::SpeechStarted { at, .. } = stage.events()[started] else { panic!("no speech") };
    assert!(*at >= Duration::from_secs(3) && *at < Duration::from_secs(4), "{at:?}");
}

#[test]
fn a_manual_commit_inside_a_turn_is_the_end_of_that_turn() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.command(SessionCommand::CommitInput);
    stage.silence(900 * MS);
    assert_eq!(stage.count(is_commit), 1);
    assert!(!stage.events().iter().any(|event| matches!(event, SessionEvent::SpeechStopped { .. })));
}

#[test]
fn the_longest_pause_a_client_may_set_ends_the_turn_of_a_caller_who_vanished() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.configure(Some(ServerVad { silence: Duration::from_secs(10), ..ServerVad::default() }));
    stage.silence(400 * MS);
    stage.say(&speech_at(SampleRate::HZ_48000));
    stage.vanish(Duration::from_secs(20));
    stage.position(|event| matches!(event, SessionEvent::SpeechStopped { .. }));
}

#[test]
fn nothing_follows_the_end_of_a_session() {
    let mut stage = Stage::new(TurnOwner::Gateway);
    stage.answer(2);
    stage.session.end(EndReason::HungUp);
    stage.drain();
    stage.outputs.clear();
    ask(&mut stage);
    assert!(stage.outputs.is_empty(), "{:?}", stage.outputs);
}
