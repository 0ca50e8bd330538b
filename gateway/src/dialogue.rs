//! A session with its provider on one side and its client protocol on the other.
//!
//! The part every kind of client shares. [`core`] decides everything and knows nothing of this process; [`Dialogue`] is
//! the shell around it: the queue to and from the bridge, metrics, the session's place. What is left over is for the
//! client's connection.

mod consultant;
pub(crate) mod core;
mod gate;
mod guard;
mod provider;
mod rotation;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{InterruptionRule, Leg, NetworkTimes, SessionError, SessionStats};
use voxgate_media::turn::Question;
use voxgate_media::uplink::RtpAudio;
use voxgate_policy::guardrail::RuleSet;
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::Target;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, FaultOwner};
use voxgate_protocol::id::{IdSource, SessionId};
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_providers::bridge::StampedEvent;
use voxgate_realtime::{ApiError, ContextItem, SidebandId};
use voxgate_signaling::host::SessionRequest;
use voxgate_signaling::live::Presence;
use voxgate_signaling::permit::Permit;
use voxgate_signaling::resume::{ResumeTicket, Resumed, UsedToken};
use voxgate_telemetry::metrics::Metrics;

use tokio::sync::mpsc;

use crate::bridges::Connected;
use crate::end_of_turn::{Ear, Verdict};
use crate::host::since_unix_epoch;
use crate::limits::{self, Allowance};
use crate::money::{Account, Act, Money};
use crate::permissions::Permissions;
use crate::replay::{Kept, Recorder, ReplayLog};
use crate::webhook::{Judge, Webhooks};

use self::consultant::Consultant;
use self::core::{CoreConfig, CoreInput, CoreOutput, DialogueCore};
use self::gate::{Gate, Step as Passed};
use self::guard::{Guard, Judgement};
use self::provider::{Provider, Untold};
use self::rotation::Step;

/// Events of a provider taken in one go, so that a burst of one call does not hold up the others.
const EVENTS_AT_ONCE: usize = 64;

/// What the client's connection has to do.
#[derive(Debug)]
pub(crate) enum DialogueOutput {
    /// Send one message of the client protocol.
    Text(String),
    /// Tell every sideband connection.
    Sidebands(String),
    /// Tell one sideband connection.
    Sideband(SidebandId, String),
    /// Send one RTP packet.
    Audio { payload: Vec<u8>, timestamp: u32, marker: bool, first_received: Option<Instant> },
    /// A turn was measured.
    Turn(Box<TurnTimeline>),
    /// The session is over; close the connection once everything before is sent.
    Ended(EndReason),
}

/// What a dialogue is started with.
pub(crate) struct DialogueConfig {
    pub(crate) leg: Leg,
    pub(crate) encoder: EncoderConfig,
    pub(crate) interruption: Option<InterruptionRule>,
    pub(crate) expires_at_unix: u64,
    pub(crate) max_session: Duration,
    pub(crate) seed: u64,
    pub(crate) metrics: Arc<Metrics>,
    /// What may be said.
    pub(crate) guardrails: Arc<RuleSet>,
    /// Who else is asked about it.
    pub(crate) judges: Arc<[Arc<Judge>]>,
    /// How they are asked.
    pub(crate) webhooks: Webhooks,
    /// Which tools may be called.
    pub(crate) permissions: Permissions,
    /// Where what happens is written down, if the request lets it.
    pub(crate) replay: Option<Arc<ReplayLog>>,
    /// Who is told what it costs; only tests do without.
    pub(crate) money: Option<Arc<Money>>,
}

/// A session, its provider and its client protocol.
pub(crate) struct Dialogue {
    core: DialogueCore,
    guard: Guard,
    consultant: Consultant,
    gate: Gate,
    /// What the core wants done, oldest first.
    waiting: VecDeque<CoreOutput>,
    recorder: Option<Recorder>,
    account: Option<Account>,
    allowance: Allowance,
    session_id: SessionId,
    leg: Leg,
    provider: Provider,
    ear: Option<Ear>,
    metrics: Arc<Metrics>,
    has_more_events: bool,
    counted: SessionStats,
    /// Held for as long as the session runs.
    permit: Permit,
    /// What the administration sees of the session, and ends it by.
    presence: Presence,
    /// Held until the session ends.
    ticket: Option<ResumeTicket>,
    /// With what its client comes back, until it has come.
    used_token: Option<UsedToken>,
    /// The client's last sign of life.
    client_heard_at: Instant,
}

impl Dialogue {
    pub(crate) fn new(
        request: SessionRequest,
        mut connected: Connected,
        config: DialogueConfig,
    ) -> Result<Self, SessionError> {
        let SessionRequest {
            session_id,
            settings,
            permit,
            presence,
            limits,
            ticket,
            resumed,
            allowed_events,
            caller,
            recording,
            ..
        } = request;
        let target = connected.way.current().cloned();
        if let Some(target) = &target {
            presence.served_by(&target.provider, target.region.as_deref());
        }
        let account = config.money.zip(target.as_ref()).map(|(money, target)| {
            let now = (Instant::now(), since_unix_epoch());
            Account::open(money, now, caller.tenancy.clone(), session_id.clone(), target, &settings)
        });
        if let Some(target) = &target {
            tracing::info!(session = %session_id, served_by = target.name(), "a session begins");
        }
        let allowance = Allowance::open(limits, Instant::now(), Arc::clone(&config.metrics));
        let mut seeds = IdSource::new(config.seed);
        let core_seed = seeds.next_seed();
        let metrics = Arc::clone(&config.metrics);
        let ear = connected.ear.take();
        let ring = Arc::clone(&connected.ring);
        let mut provider =
            Provider::new(Instant::now(), connected, settings.clone(), seeds.next_seed(), metrics);
        let bell = Arc::clone(&ring);
        let consultant = Consultant::new(config.judges, config.webhooks, session_id.clone(), bell);
        let owner = (session_id.clone(), caller);
        let gate_metrics = Arc::clone(&config.metrics);
        let gate = Gate::new(&config.permissions, owner, ring, gate_metrics, seeds.next_seed());
        let leg_name = match config.leg {
            Leg::Rtp => "webrtc",
            Leg::Pcm => "websocket",
        };
        let core_config = CoreConfig {
            session_id: session_id.clone(),
            settings,
            traits: provider.traits(),
            leg: config.leg,
            encoder: config.encoder,
            interruption: config.interruption,
            listening: ear.as_ref().map(Ear::rule),
            expires_at_unix: config.expires_at_unix,
            max_session: config.max_session,
            allowed_events,
            seed: core_seed,
        };
        let mut core = DialogueCore::new(core_config.clone())?;
        let (parked, used_token) = resumed.and_then(Resumed::go_on).unzip();
        let recorder = config.replay.zip(recording).map(|(log, recording)| {
            let kept = Kept { audio: recording.audio, words: !config.guardrails.masks() };
            log.record(&core_config, parked.as_ref(), kept)
        });
        let guard = Guard::new(config.guardrails);
        if let Some(parked) = parked {
            core = core.resume(parked);
            provider.restore(masked(&guard, core.context()));
        }
        config.metrics.sessions.inc();
        config.metrics.sessions_started.with_label_values(&[leg_name]).inc();
        Ok(Self {
            core,
            guard,
            consultant,
            gate,
            waiting: VecDeque::new(),
            recorder,
            account,
            allowance,
            session_id,
            leg: config.leg,
            provider,
            ear,
            metrics: config.metrics,
            has_more_events: false,
            counted: SessionStats::default(),
            permit,
            presence,
            ticket,
            used_token,
            client_heard_at: Instant::now(),
        })
    }

    /// The client's message channel is open.
    pub(crate) fn open(&mut self, now: Instant) {
        self.used_token = None;
        self.presence.open();
        self.take(now, CoreInput::Opened);
    }

    /// The queue to the provider, to see how full it is.
    pub(crate) fn to_provider(&self) -> mpsc::Sender<BridgeCommand> {
        self.provider.queue()
    }

    /// A message of the client.
    pub(crate) fn handle_text(&mut self, now: Instant, text: &str) {
        self.take(now, CoreInput::Text(text));
    }

    /// A sideband connection begins to listen.
    pub(crate) fn attach(&mut self, now: Instant, sideband: SidebandId) -> Result<(), ApiError> {
        self.core.may_attach()?;
        self.take(now, CoreInput::Attach(sideband));
        Ok(())
    }

    /// A sideband connection is gone.
    pub(crate) fn detach(&mut self, now: Instant, sideband: SidebandId) {
        self.take(now, CoreInput::Detach(sideband));
    }

    /// A message of a sideband connection.
    pub(crate) fn handle_sideband(&mut self, now: Instant, sideband: SidebandId, text: &str) {
        self.take(now, CoreInput::Sideband(sideband, text));
    }

    /// A command that does not come from the client protocol.
    pub(crate) fn handle_command(&mut self, now: Instant, command: SessionCommand) {
        self.take(now, CoreInput::Command(command));
    }

    /// An RTP packet of the caller.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: RtpAudio<'_>) {
        self.take(now, CoreInput::Rtp(packet));
    }

    /// The bridge has something to say.
    pub(crate) fn handle_bridge(&mut self, now: Instant) {
        if self.ticket.as_ref().is_some_and(ResumeTicket::is_wanted) {
            // The client goes on elsewhere: it has noticed the loss first.
            self.end(now, EndReason::ClientLost);
        }
        if self.presence.is_told_to_end() {
            self.end(now, EndReason::EndedByOperator);
        }
        self.has_more_events = false;
        self.allowance.hear_answers(now);
        self.provider.answered();
        self.hear_verdicts(now);
        self.look_at_held_calls(now);
        self.hear_judges(now);
        for _ in 0..EVENTS_AT_ONCE {
            let Some(StampedEvent { at, event }) = self.provider.hear(now) else { return };
            let judgement = self.guard.hear(&event);
            self.obey(now, at, judgement);
            self.consultant.hear(&event);
            if let Some(account) = &mut self.account {
                account.heard(now, &event);
            }
            self.allowance.heard(now, &event);
            self.gate.hear(now, event);
            self.pass_gate(now, at);
        }
        self.has_more_events = true;
    }

    fn hear_verdicts(&mut self, now: Instant) {
        while let Some(Verdict { question, probability }) = self.ear.as_mut().and_then(Ear::hear) {
            self.take(now, CoreInput::TurnJudged { question, probability });
        }
    }

    /// Takes what the gate lets through.
    fn pass_gate(&mut self, now: Instant, at: Instant) {
        while let Some(step) = self.gate.poll_step() {
            let event = match step {
                Passed::Command(command) => {
                    self.take(now, CoreInput::Command(command));
                    continue;
                }
                Passed::Event(event) => event,
            };
            let begun = match &event {
                BridgeEvent::ResponseStarted { response_id } => Some(response_id.clone()),
                _ => None,
            };
            self.take(now, CoreInput::Bridge { at, event });
            if let Some(response_id) = begun.filter(|response_id| self.core.is_beside(response_id)) {
                self.gate.note_beside(&response_id);
            }
        }
    }

    fn hear_judges(&mut self, now: Instant) {
        while let Some(heard) = self.consultant.poll() {
            let judgement = self.guard.heed(&heard);
            self.obey(now, now, judgement);
        }
    }

    fn look_at_held_calls(&mut self, now: Instant) {
        self.gate.look(now);
        self.pass_gate(now, now);
    }

    /// Gives the client what a person approved, once that disturbs no answer. True if there was something.
    fn release(&mut self, now: Instant) -> bool {
        if !self.gate.has_approved() || !self.core.is_free() {
            return false;
        }
        self.gate.release(now);
        self.pass_gate(now, now);
        true
    }

    fn judge_turn(&mut self, now: Instant, question: Question, speech: Pcm) {
        let is_asked = self.ear.as_ref().is_some_and(|ear| ear.ask(now, question, speech));
        if !is_asked {
            self.take(now, CoreInput::TurnJudged { question, probability: None });
        }
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.has_more_events {
            self.handle_bridge(now);
        }
        if let Some(account) = &mut self.account {
            account.tick(now);
        }
        self.look_at_held_calls(now);
        self.allowance.hear_answers(now);
        self.take(now, CoreInput::Timeout);
    }

    /// The audio of the last output was handed to the network.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.take(now, CoreInput::Sent);
    }

    /// What the network added on the way of the last packet.
    pub(crate) fn note_network(&mut self, now: Instant, times: NetworkTimes) {
        self.take(now, CoreInput::Network(times));
    }

    /// The client gave a sign of life.
    pub(crate) const fn note_client(&mut self, heard_at: Instant) {
        self.client_heard_at = heard_at;
    }

    /// Ends the session. What a lost client cannot have heard is cut from its conversation first.
    pub(crate) fn end(&mut self, now: Instant, reason: EndReason) {
        if reason == EndReason::ClientLost && self.ended().is_none() {
            let silent_for = now.saturating_duration_since(self.client_heard_at);
            self.take(now, CoreInput::Command(SessionCommand::LoseClient { silent_for }));
        }
        self.take(now, CoreInput::End(reason));
    }

    /// Whose session it is.
    pub(crate) const fn key(&self) -> KeyIndex {
        self.permit.key()
    }

    /// Why the session ended, once it has.
    pub(crate) const fn ended(&self) -> Option<EndReason> {
        self.core.ended()
    }

    /// When [`Dialogue::handle_timeout`] has to be called; in the past if work waits.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.has_more_events {
            return Some(now);
        }
        let provider = self.provider.poll_timeout(now).filter(|_| self.ended().is_none());
        let account = self.account.as_ref().and_then(|account| account.poll_timeout(now));
        let account = account.filter(|_| self.ended().is_none());
        let held = self.gate.poll_timeout().filter(|_| self.ended().is_none());
        let limits = self.allowance.poll_timeout(now).filter(|_| self.ended().is_none());
        [self.core.poll_timeout(), provider, account, held, limits].into_iter().flatten().min()
    }

    /// Hands out what the core wants done. `arrived` is set if this follows an audio packet.
    pub(crate) fn drain(
        &mut self,
        now: Instant,
        arrived: Option<Instant>,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        loop {
            while let Some(output) = self.waiting.pop_front() {
                self.take_output(now, arrived, output, outputs);
            }
            if !self.settle(now) && !self.keep_limits(now) && !self.rotate(now) && !self.release(now) {
                break;
            }
        }
        if self.ended().is_some() {
            self.gate.close();
            self.leave(now);
        }
        self.count();
    }

    /// Does what the account says. True if the core was told something about it.
    fn settle(&mut self, now: Instant) -> bool {
        let act = self.account.as_mut().and_then(Account::poll_act);
        let Some(act) = act.filter(|_| self.ended().is_none()) else { return false };
        match act {
            Act::Cancel => {
                self.take(now, CoreInput::Command(SessionCommand::CancelResponse { response_id: None }));
                if self.leg == Leg::Rtp {
                    self.take(now, CoreInput::Command(SessionCommand::ClearOutput));
                }
            }
            Act::Close => self.take(now, CoreInput::End(EndReason::BudgetExhausted)),
        }
        true
    }

    /// Does what the limits say. True if the core was told something about it.
    fn keep_limits(&mut self, now: Instant) -> bool {
        let act = self.allowance.poll_act().filter(|_| self.ended().is_none());
        let Some(act) = act else { return false };
        match act {
            limits::Act::TakeBack(response_id, fault) => {
                self.tell_core(now, BridgeEvent::Fault(fault));
                let cancel = SessionCommand::CancelResponse { response_id: Some(response_id) };
                self.take(now, CoreInput::Command(cancel));
                if self.leg == Leg::Rtp {
                    self.take(now, CoreInput::Command(SessionCommand::ClearOutput));
                }
            }
            limits::Act::Close => self.take(now, CoreInput::End(EndReason::RateLimited)),
        }
        true
    }

    /// What is left of a session whose client was lost waits for it; any other end ends the conversation. A client that
    /// wanted to come back and did not reach this session tries again with the token it has.
    fn leave(&mut self, now: Instant) {
        let ticket = self.ticket.take();
        let used = self.used_token.take().filter(|_| self.ended() != Some(EndReason::HungUp));
        if let Some(used) = used {
            return used.put_back(self.core.park());
        }
        let Some(ticket) = ticket else { return };
        if self.ended() == Some(EndReason::ClientLost) {
            ticket.park(now, self.core.park());
        }
    }

    fn take_output(
        &mut self,
        now: Instant,
        arrived: Option<Instant>,
        output: CoreOutput,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        match output {
            CoreOutput::Text(text) => outputs.push(DialogueOutput::Text(text)),
            CoreOutput::Sidebands(text) => outputs.push(DialogueOutput::Sidebands(text)),
            CoreOutput::Sideband(id, text) => outputs.push(DialogueOutput::Sideband(id, text)),
            CoreOutput::Audio { payload, timestamp, marker, first_received, lateness } => {
                Metrics::observe(&self.metrics.pacing_late_seconds, lateness);
                outputs.push(DialogueOutput::Audio { payload, timestamp, marker, first_received });
            }
            CoreOutput::JudgeTurn { question, speech } => self.judge_turn(now, question, speech),
            CoreOutput::Bridge(command) => self.tell_provider(now, arrived, command),
            CoreOutput::Turn(timeline) => {
                self.metrics.turn_measured(&timeline);
                self.provider.measured((*timeline).clone());
                outputs.push(DialogueOutput::Turn(timeline));
            }
            CoreOutput::Ended(reason) => outputs.push(DialogueOutput::Ended(reason)),
        }
    }

    /// Does what the rules ask for.
    fn obey(&mut self, now: Instant, arrived: Instant, judgement: Judgement) {
        for note in &judgement.notes {
            self.metrics.guardrail_matched(&note.rule, note.direction, note.act);
            tracing::info!(
                rule = note.rule,
                direction = note.direction,
                act = note.act,
                "a guardrail matched"
            );
        }
        if let Some(command) = judgement.command {
            self.take(now, CoreInput::Command(command));
            Metrics::observe(&self.metrics.guardrail_stop_seconds, arrived.elapsed());
        }
        if let Some(reason) = judgement.end {
            self.end(now, reason);
        }
    }

    fn tell_provider(&mut self, now: Instant, arrived: Option<Instant>, command: BridgeCommand) {
        if let Some(fault) = self.allowance.refuses(now, &command) {
            return self.tell_core(now, BridgeEvent::Fault(fault));
        }
        let judgement = self.guard.read(&command);
        self.consultant.read(&command);
        let command = self.guard.mask(command);
        if let Some(account) = &mut self.account {
            account.told(now, &command);
        }
        let is_audio = matches!(command, BridgeCommand::Audio(_));
        match self.provider.tell(now, command) {
            Ok(()) => {}
            // What the pump said last is in the queue; behind it lies the news of its end, which rings no bell.
            Err(Untold::Gone) => {
                self.has_more_events = true;
                return;
            }
            Err(Untold::Full) => {
                self.metrics.provider_fault(FaultOwner::Gateway);
                if !is_audio {
                    // The client would wait for the answer to this command for ever.
                    self.tell_core(now, BridgeEvent::Fault(provider::takes_nothing()));
                }
                return;
            }
        }
        if let (true, Some(arrived)) = (is_audio, arrived) {
            Metrics::observe(&self.metrics.ingress_seconds, arrived.elapsed());
        }
        self.obey(now, now, judgement);
    }

    /// Looks after the connections to the provider, now that every command was told. True if the core was told
    /// something about it.
    fn rotate(&mut self, now: Instant) -> bool {
        let mut has_told = false;
        if self.ended().is_some() {
            return false;
        }
        while let Some(step) = self.provider.step(now) {
            let news = match step {
                Step::Open => {
                    self.provider.open_next(now);
                    None
                }
                Step::Overdue(_) => None,
                Step::Move(reason) => {
                    // What the new connection says from now on may have rung before it was listened to.
                    self.has_more_events = true;
                    let mut context = self.core.context();
                    context.extend(self.gate.context());
                    let context = masked(&self.guard, context);
                    let moved = self.provider.move_over(now, reason, context);
                    if let Some(target) = &moved.target {
                        self.presence.served_by(&target.provider, target.region.as_deref());
                    }
                    if let (Some(account), Some(target)) = (&mut self.account, &moved.target) {
                        account.moved(now, target, self.provider.settings());
                    }
                    moved.fault
                }
                Step::End(reason, event) => {
                    self.provider.gave_up(reason, &event);
                    Some(*event)
                }
            };
            if let Some(event) = news {
                self.tell_core(now, event);
                has_told = true;
            }
        }
        self.has_more_events |= self.provider.has_heard();
        if self.provider.has_cut() {
            self.provider.recut(&masked(&self.guard, self.core.context()));
        }
        has_told
    }

    /// Everything that happens goes this way, so that a log has all of it.
    fn take(&mut self, now: Instant, input: CoreInput<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(now, &input);
        }
        if let CoreInput::Bridge { event: BridgeEvent::ResponseDone { .. }, .. } = &input {
            self.presence.answered();
        }
        self.core.handle(now, input);
        while let Some(output) = self.core.poll_output() {
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output);
            }
            if let CoreOutput::Bridge(command) = &output {
                self.gate.tell(command);
            }
            self.waiting.push_back(output);
        }
    }

    fn tell_core(&mut self, now: Instant, event: BridgeEvent) {
        self.take(now, CoreInput::Bridge { at: now, event });
    }

    fn count(&mut self) {
        if let Some(account) = &self.account {
            self.presence.costs(account.cost());
        }
        let stats = self.core.stats();
        let metrics = &self.metrics;
        metrics.interruptions.inc_by(u64::from(stats.interruptions - self.counted.interruptions));
        for (sound, now, before) in [
            ("noise", stats.noises, self.counted.noises),
            ("backchannel", stats.backchannels, self.counted.backchannels),
        ] {
            metrics.false_interruptions.with_label_values(&[sound]).inc_by(u64::from(now - before));
        }
        metrics.concealed_frames.inc_by(stats.concealed_frames - self.counted.concealed_frames);
        for (outcome, now, before) in [
            ("used", stats.verdicts_used, self.counted.verdicts_used),
            ("late", stats.verdicts_late, self.counted.verdicts_late),
        ] {
            metrics.end_of_turn_verdicts.with_label_values(&[outcome]).inc_by(u64::from(now - before));
        }
        metrics.playout_underruns.inc_by(stats.underruns - self.counted.underruns);
        self.counted = stats;
    }
}

/// What a new connection is told of a conversation, without what a rule hides.
fn masked(guard: &Guard, mut context: Vec<ContextItem>) -> Vec<ContextItem> {
    context.iter_mut().filter_map(|entry| entry.item.as_mut()).for_each(|item| guard.mask_item(item));
    context
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let now = Instant::now();
        self.leave(now);
        let reason = self.ended().unwrap_or(EndReason::ClientLost);
        if let Some(cost) = self.account.as_mut().and_then(|account| account.close(now)) {
            let served_by = self.provider.target().map(Target::name);
            let reason = reason.as_str();
            tracing::info!(session = %self.session_id, %cost, reason, served_by, "a session ended");
        }
        self.metrics.sessions.dec();
        self.metrics.session_ended(reason);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
