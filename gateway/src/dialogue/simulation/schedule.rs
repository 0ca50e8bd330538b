//! One call from its first to its last input.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{InterruptionRule, Leg, NetworkTimes};
use voxgate_media::turn::Backchannels;
use voxgate_media::uplink::RtpAudio;
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::bridge::{BridgeEvent, BridgeTraits, TurnOwner};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::session::{ClientReport, EndReason, SessionCommand};
use voxgate_protocol::settings::{InputSettings, SemanticVad, ServerVad, SessionSettings, TurnDetection};

use super::caller::{Caller, Edge, Said};
use super::client::Client;
use super::dice::Dice;
use super::judge::Judge;
use super::listener::Listener;
use super::person::{self, Person, Rule};
use super::provider::Provider;
use super::sidebands::{Act, Sidebands};
use crate::approvals::Ring;
use crate::dialogue::chronicle::Pen;
use crate::dialogue::core::{CoreConfig, CoreInput, CoreOutput, DialogueCore};
use crate::dialogue::gate::{Gate, Step};
use crate::dialogue::tests::presence;

/// Steps after which a schedule is taken to run for ever.
const MOST_STEPS: u32 = 20_000;

/// How a client is connected and who finds its turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) leg: Leg,
    pub(super) owner: TurnOwner,
}

/// What happened, to prove that something did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) schedules: u64,
    pub(super) turns: u64,
    pub(super) answers: u64,
    pub(super) interruptions: u64,
    pub(super) truncations: u64,
    pub(super) retrieved: u64,
    pub(super) refusals: u64,
    pub(super) provider_failures: u64,
    pub(super) packets: u64,
    /// Answers that fell silent until it was known whether the caller interrupts, those that went on, and those the
    /// client was told about.
    pub(super) held: u64,
    pub(super) resumed: u64,
    pub(super) held_and_told: u64,
    /// Tool calls a person was asked about, and those of them the client could run.
    pub(super) held_calls: u64,
    pub(super) approved_calls: u64,
    /// Sideband connections, and the events they sent.
    pub(super) sidebands: u64,
    pub(super) sideband_events: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.turns += other.turns;
        self.answers += other.answers;
        self.interruptions += other.interruptions;
        self.truncations += other.truncations;
        self.retrieved += other.retrieved;
        self.refusals += other.refusals;
        self.provider_failures += other.provider_failures;
        self.packets += other.packets;
        self.held += other.held;
        self.resumed += other.resumed;
        self.held_and_told += other.held_and_told;
        self.held_calls += other.held_calls;
        self.approved_calls += other.approved_calls;
        self.sidebands += other.sidebands;
        self.sideband_events += other.sideband_events;
    }
}

/// What is written down of a schedule that failed.
pub(super) enum Trace {
    Off,
    On(Vec<String>),
}

impl Trace {
    fn line(&mut self, at: Duration, text: impl FnOnce() -> String) {
        if let Self::On(lines) = self {
            lines.push(format!("{:>9.3} {}", at.as_secs_f64(), text()));
        }
    }

    pub(super) fn last_lines(&self, most: usize) -> String {
        match self {
            Self::Off => String::new(),
            Self::On(lines) => lines[lines.len().saturating_sub(most)..].join("\n"),
        }
    }
}

/// Runs the schedule of a seed.
pub(super) fn run(kind: Kind, seed: u64, trace: &mut Trace) -> Result<Figures, String> {
    Call::new(kind, seed, trace).run()
}

struct Call<'a> {
    start: Instant,
    now: Instant,
    opens_at: Option<Instant>,
    ends_at: Instant,
    core: DialogueCore,
    gate: Gate,
    person: Person,
    caller: Caller,
    client: Client,
    sidebands: Sidebands,
    provider: Provider,
    listener: Listener,
    judge: Judge,
    dice: Dice,
    trace: &'a mut Trace,
}

/// What is next.
#[derive(Clone, Copy)]
enum Due {
    Core,
    Provider,
    Caller,
    Client,
    Opening,
    Listener,
    Sideband,
    Person,
    Gate,
    End,
}

impl<'a> Call<'a> {
    fn new(kind: Kind, seed: u64, trace: &'a mut Trace) -> Self {
        let mut dice = Dice::new(seed);
        let start = Instant::now();
        let settings = settings(&mut dice);
        let rule = interruption(kind, &mut dice);
        // Long enough to fall silent and to go on.
        let length = if rule.is_some() { dice.millis(1_000, 4_500) } else { dice.millis(400, 3_500) };
        let rate = if dice.chance(15) { SampleRate::HZ_16000 } else { SampleRate::HZ_24000 };
        let traits = BridgeTraits {
            input_rate: if dice.chance(15) { SampleRate::HZ_24000 } else { SampleRate::HZ_16000 },
            output_rate: rate,
            turn_owner: kind.owner,
            truncates: dice.chance(80),
            transcribes: false,
        };
        // The cheapest coding: what is coded is checked elsewhere.
        let encoder = EncoderConfig { complexity: 0, fec: false, ..EncoderConfig::default() };
        // Draws from dice of its own, so that the rest of a schedule is the same with and without it.
        let listener = Listener::new(Dice::new(seed ^ 0x6c69_7374_656e));
        let person = Person::new(Dice::new(seed ^ 0x0070_6572_736f_6e00));
        let session_id = SessionId::from("sess_simulated");
        let owner = (session_id.clone(), voxgate_policy::directory::Caller::default());
        let ring: Ring = Arc::new(|| {});
        let gate =
            Gate::new(&person.permissions(), owner, ring, (person::metrics(), Pen::of(&presence())), seed);
        let config = CoreConfig {
            session_id,
            settings: settings.clone(),
            traits,
            leg: kind.leg,
            encoder,
            interruption: rule.clone(),
            listening: listener.rule,
            expires_at_unix: 1_800_000_000,
            max_session: Duration::from_secs(3_600),
            allowed_events: None,
            seed: dice.seed(),
        };
        let opens_late = kind.leg == Leg::Rtp && dice.chance(12);
        let opens_at = if opens_late { start + dice.millis(1, 1_500) } else { start };
        let provider_dice = Dice::new(dice.seed());
        let provider =
            Provider::new(kind.owner, rate, settings.clone(), start, length, rule.is_some(), provider_dice);
        let has_sidebands = kind.leg == Leg::Rtp && dice.chance(25);
        Self {
            start,
            now: start,
            opens_at: Some(opens_at),
            ends_at: start + length,
            core: DialogueCore::new(config).unwrap(),
            gate,
            caller: Caller::new(kind.leg, rule.as_ref(), start, length, &mut dice),
            client: Client::new("client".to_owned(), kind.leg, start, length, Dice::new(dice.seed())),
            sidebands: if has_sidebands {
                Sidebands::new(start, length, &mut dice)
            } else {
                Sidebands::none()
            },
            provider: if person.rule == Rule::Asked { provider.calling_often() } else { provider },
            listener,
            judge: Judge::new(kind, &settings, rule, !opens_late, dice.chance(12)).with_tool(person.rule),
            person,
            dice,
            trace,
        }
    }

    fn run(mut self) -> Result<Figures, String> {
        for _ in 0..MOST_STEPS {
            if self.core.ended().is_some() {
                if !self.person.is_at_rest(self.now) {
                    return Err("a person is asked about a session that is over".to_owned());
                }
                self.knock_at_a_closed_door()?;
                return self.judge.finish(&self.core);
            }
            let (at, due) = self.next_due();
            // The loop is busy with other calls now and then.
            let late = if self.dice.chance(1) { self.dice.millis(1, 150) } else { Duration::ZERO };
            self.now = self.now.max(at + late);
            self.step(due)?;
        }
        Err("the schedule does not end".to_owned())
    }

    fn next_due(&self) -> (Instant, Due) {
        let all = [
            (self.core.poll_timeout(), Due::Core),
            (self.provider.next_at(), Due::Provider),
            (self.caller.next_at(), Due::Caller),
            (self.client.next_at().filter(|_| self.opens_at.is_none()), Due::Client),
            (self.opens_at, Due::Opening),
            (self.listener.next_at(), Due::Listener),
            (self.sidebands.next_at(), Due::Sideband),
            (self.person.next_at(), Due::Person),
            (self.gate.poll_timeout(), Due::Gate),
        ];
        let due = all.into_iter().filter_map(|(at, due)| Some((at?, due)));
        due.fold((self.ends_at, Due::End), |first, next| if next.0 < first.0 { next } else { first })
    }

    fn step(&mut self, due: Due) -> Result<(), String> {
        self.act(due)?;
        if self.gate.has_approved() && self.core.is_free() {
            self.gate.release(self.now);
            self.pass_gate(self.now)?;
        }
        Ok(())
    }

    fn act(&mut self, due: Due) -> Result<(), String> {
        match due {
            Due::Core => self.feed(CoreInput::Timeout),
            Due::Provider => match self.provider.speak() {
                Some(event) => self.provider_speaks(event),
                None => Ok(()),
            },
            Due::Caller => self.caller_speaks(),
            Due::Client => self.client_asks(),
            Due::Opening => {
                self.opens_at = None;
                self.judge.opened();
                self.feed(CoreInput::Opened)
            }
            Due::Listener => match self.listener.judge() {
                Some((question, probability)) => self.feed(CoreInput::TurnJudged { question, probability }),
                None => Ok(()),
            },
            Due::Sideband => self.sideband_acts(),
            Due::Person => {
                if let Some((call_id, state)) = self.person.decide(self.now) {
                    self.judge.person_decided(call_id.as_str(), state)?;
                }
                self.look_at_held_calls()
            }
            Due::Gate => self.look_at_held_calls(),
            Due::End => {
                let reasons = [
                    EndReason::ClientClosed,
                    EndReason::ClientLost,
                    EndReason::HungUp,
                    EndReason::MaximumDuration,
                    EndReason::Drained,
                    EndReason::BudgetExhausted,
                ];
                let reason = self.dice.pick(&reasons).copied().unwrap_or(EndReason::HungUp);
                self.feed(CoreInput::End(reason))
            }
        }
    }

    fn provider_speaks(&mut self, event: BridgeEvent) -> Result<(), String> {
        // It came in a little before the loop took it from the queue.
        let at = self.now.checked_sub(self.dice.millis(0, 3)).unwrap_or(self.now);
        self.gate.hear(self.now, event);
        self.pass_gate(at)
    }

    fn look_at_held_calls(&mut self) -> Result<(), String> {
        self.gate.look(self.now);
        self.pass_gate(self.now)
    }

    /// As the shell of a session does it.
    fn pass_gate(&mut self, at: Instant) -> Result<(), String> {
        for asked in self.person.look(self.now) {
            self.judge.person_asked(&asked)?;
        }
        while let Some(step) = self.gate.poll_step() {
            let event = match step {
                Step::Command(command) => {
                    self.feed(CoreInput::Command(command))?;
                    continue;
                }
                Step::Event(event) => event,
            };
            let begun = match &event {
                BridgeEvent::ResponseStarted { response_id } => Some(response_id.clone()),
                _ => None,
            };
            self.feed(CoreInput::Bridge { at, event })?;
            if let Some(response_id) = begun.filter(|response_id| self.core.is_beside(response_id)) {
                self.gate.note_beside(&response_id);
            }
        }
        Ok(())
    }

    fn caller_speaks(&mut self) -> Result<(), String> {
        let Some((said, edge)) = self.caller.speak() else { return Ok(()) };
        if edge != Edge::None {
            self.provider.listen(self.now, edge);
        }
        match said {
            Said::Packet { sequence, timestamp, payload } => {
                if self.dice.chance(10) {
                    self.network()?;
                }
                let (marker, arrived) = (false, self.now);
                self.feed(CoreInput::Rtp(RtpAudio { sequence, timestamp, marker, payload, arrived }))
            }
            // A client cannot send before it is connected.
            Said::Message(_) if self.opens_at.is_some() => Ok(()),
            Said::Message(text) => self.feed(CoreInput::Text(text)),
        }
    }

    fn network(&mut self) -> Result<(), String> {
        let times = NetworkTimes {
            relay_in: self.dice.millis(0, 3),
            relay_out: Some(self.dice.millis(0, 3)),
            relay_error: Duration::ZERO,
            round_trip: Some(self.dice.millis(0, 200)),
            jitter: None,
        };
        self.feed(CoreInput::Network(times))?;
        let report = ClientReport {
            jitter_buffer: Some(self.dice.millis(0, 200)),
            playout: Some(self.dice.millis(0, 100)),
            ..ClientReport::default()
        };
        self.feed(CoreInput::Command(SessionCommand::ReportClient(report)))
    }

    fn client_asks(&mut self) -> Result<(), String> {
        let asked = self.client.ask(self.now);
        self.judge.asks(None, &asked, &self.core);
        self.feed(CoreInput::Text(&asked.text))
    }

    fn sideband_acts(&mut self) -> Result<(), String> {
        match self.sidebands.act(self.now) {
            Some(Act::Attach(id)) => {
                let is_taken = self.core.may_attach().is_ok();
                self.judge.attaches(id, is_taken)?;
                self.feed(CoreInput::Attach(id))
            }
            Some(Act::Leave(id)) => {
                self.judge.leaves(id);
                self.feed(CoreInput::Detach(id))
            }
            // A supervisor may end the call.
            Some(Act::Ask(..)) if self.dice.chance(1) => self.feed(CoreInput::End(EndReason::HungUp)),
            Some(Act::Ask(id, asked)) => {
                self.judge.asks(Some(id), &asked, &self.core);
                self.feed(CoreInput::Sideband(id, &asked.text))
            }
            None => Ok(()),
        }
    }

    /// Nothing may come of what is still under way when the session is over.
    fn knock_at_a_closed_door(&mut self) -> Result<(), String> {
        self.judge.closed(self.core.poll_timeout().is_none())?;
        if self.opens_at.take().is_some() && self.dice.chance(50) {
            self.judge.opened();
            self.feed(CoreInput::Opened)?;
        }
        for _ in 0..4 {
            self.now += self.dice.millis(0, 50);
            match self.dice.below(6) {
                0 => self.step(Due::Provider)?,
                1 => self.step(Due::Caller)?,
                2 => self.feed(CoreInput::Text(r#"{"type":"response.create","event_id":"client_late"}"#))?,
                3 => self.feed(CoreInput::Sent)?,
                4 => self.sideband_acts()?,
                _ => self.feed(CoreInput::Timeout)?,
            }
        }
        self.feed(CoreInput::End(EndReason::HungUp))
    }

    /// One input and everything that comes of it.
    fn feed(&mut self, input: CoreInput<'_>) -> Result<(), String> {
        let since = self.now.duration_since(self.start);
        self.trace.line(since, || format!("> {}", describe_input(&input)));
        self.judge.takes(self.now, &input);
        self.core.handle(self.now, input);
        let mut is_awaited = false;
        while let Some(output) = self.core.poll_output() {
            self.trace.line(since, || format!("<   {}", describe_output(&output)));
            match &output {
                CoreOutput::Text(text) => {
                    let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                    self.judge.event(&event, text)?;
                    self.client.read(self.now, &event);
                }
                CoreOutput::Sidebands(text) => {
                    self.judge.sidebands_told(text)?;
                    let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                    self.sidebands.read(self.now, None, &event);
                }
                CoreOutput::Sideband(id, text) => {
                    let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                    self.judge.sideband_told(*id, &event)?;
                    self.sidebands.read(self.now, Some(*id), &event);
                }
                CoreOutput::Bridge(command) => {
                    self.judge.command(self.now, command)?;
                    self.gate.tell(command);
                    self.provider.hear(self.now, command);
                }
                CoreOutput::Audio { payload, timestamp, is_measured, .. } => {
                    is_awaited |= is_measured;
                    self.judge.packet(self.now, payload, *timestamp)?;
                }
                CoreOutput::ConfirmSent => is_awaited = true,
                CoreOutput::JudgeTurn { question, speech } => {
                    self.listener.ask(self.now, *question, speech.duration())?;
                }
                CoreOutput::Turn(_) => self.judge.turn()?,
                CoreOutput::Ended(_) => self.judge.ended()?,
            }
        }
        if self.core.ended().is_some() {
            self.gate.close();
        }
        self.judge.settled(self.now, &self.core)?;
        if is_awaited {
            self.feed(CoreInput::Sent)?;
        }
        Ok(())
    }
}

/// A rule for some of the calls in which it counts; its times are those the configuration allows.
fn interruption(kind: Kind, dice: &mut Dice) -> Option<InterruptionRule> {
    let may_hold = kind.leg == Leg::Rtp && kind.owner == TurnOwner::Gateway;
    (may_hold && dice.chance(30)).then(|| {
        let backchannels: &[&str] = if dice.chance(85) { &["uh-huh", "yeah", "okay"] } else { &[] };
        InterruptionRule {
            minimum_speech: dice.millis(100, 800),
            resume_after: dice.millis(500, 1_500),
            backchannels: Backchannels::new(backchannels.iter().copied()),
        }
    })
}

fn settings(dice: &mut Dice) -> SessionSettings {
    let create_response = dice.chance(85);
    let interrupt_response = dice.chance(85);
    let turn_detection = match dice.below(10) {
        0 => None,
        1 => Some(TurnDetection::Semantic(SemanticVad {
            create_response,
            interrupt_response,
            ..SemanticVad::default()
        })),
        _ => Some(TurnDetection::ServerVad(ServerVad {
            silence: dice.millis(60, 400),
            prefix_padding: dice.millis(0, 300),
            create_response,
            interrupt_response,
            idle_timeout: dice.chance(5).then(|| Duration::from_secs(5)),
            ..ServerVad::default()
        })),
    };
    SessionSettings {
        model: "simulated".to_owned(),
        input: InputSettings { turn_detection, ..InputSettings::default() },
        ..SessionSettings::default()
    }
}

fn describe_input(input: &CoreInput<'_>) -> String {
    match input {
        CoreInput::Opened => "the channel opens".to_owned(),
        CoreInput::Text(text) => shortened(text),
        CoreInput::Sideband(sideband, text) => format!("{sideband:?}: {}", shortened(text)),
        CoreInput::Attach(sideband) => format!("{sideband:?} attaches"),
        CoreInput::Detach(sideband) => format!("{sideband:?} leaves"),
        CoreInput::Rtp(packet) => format!("{packet:?}"),
        CoreInput::Bridge { event, .. } => format!("{event:?}"),
        CoreInput::TurnJudged { question, probability } => format!("{question:?} judged: {probability:?}"),
        CoreInput::Command(command) => format!("{command:?}"),
        CoreInput::Timeout => "timeout".to_owned(),
        CoreInput::Sent => "sent".to_owned(),
        CoreInput::Network(times) => format!("{times:?}"),
        CoreInput::End(reason) => format!("end: {reason:?}"),
    }
}

fn describe_output(output: &CoreOutput) -> String {
    match output {
        CoreOutput::Text(text) => shortened(text),
        CoreOutput::Sidebands(text) => format!("to all sidebands: {}", shortened(text)),
        CoreOutput::Sideband(sideband, text) => format!("to {sideband:?}: {}", shortened(text)),
        CoreOutput::Audio { payload, timestamp, marker, .. } => {
            format!("packet of {} bytes at {timestamp}, marker {marker}", payload.len())
        }
        CoreOutput::JudgeTurn { question, speech } => format!("{question:?} about {speech:?}"),
        CoreOutput::Bridge(command) => format!("{command:?}"),
        CoreOutput::ConfirmSent => "say when that is sent".to_owned(),
        CoreOutput::Turn(_) => "a turn was measured".to_owned(),
        CoreOutput::Ended(reason) => format!("ended: {reason:?}"),
    }
}

/// Audio is long and says nothing to a reader.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 260;
    let shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() { format!("{shown}… ({} bytes)", text.len()) } else { shown }
}
