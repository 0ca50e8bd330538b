//! A session with its provider on one side and its client protocol on the other.
//!
//! The part every kind of client shares. [`core`] decides everything and knows nothing of this process; [`Dialogue`] is
//! the shell around it: the queue to and from the bridge, metrics, the session's place. What is left over is for the
//! client's connection.

mod answers;
mod chronicle;
mod client;
mod consultant;
pub(crate) mod core;
mod ending;
mod gate;
mod guard;
mod hearing;
mod measuring;
mod opening;
mod provider;
mod rotation;
pub(crate) mod sight;
mod telling;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use voxgate_media::session::{Leg, NetworkTimes, SessionStats};
use voxgate_media::uplink::RtpAudio;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent};
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_realtime::{ApiError, SidebandId};
use voxgate_signaling::live::Presence;
use voxgate_signaling::permit::Permit;
use voxgate_signaling::resume::{ResumeTicket, UsedToken};
use voxgate_telemetry::metrics::Metrics;

use crate::end_of_turn::Ear;
use crate::latency::LatencyDesk;
use crate::limits::{self, Allowance};
use crate::money::{Account, Act};
use crate::replay::Recorder;

use self::answers::AnswerClock;
use self::chronicle::Chronicle;
use self::consultant::Consultant;
use self::core::{CoreInput, CoreOutput, DialogueCore};
use self::gate::Gate;
use self::guard::Guard;
use self::provider::Provider;

pub(crate) use self::chronicle::{Pen, Transported, sentences};
pub(crate) use self::client::{ClientMessage, ClientQuestion, ClientSide, TimeAnswer};
pub(crate) use self::ending::told_of_mistake;
pub(crate) use self::measuring::MeasuredTurn;
pub(crate) use self::opening::DialogueConfig;

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
    Audio {
        payload: Vec<u8>,
        timestamp: u32,
        marker: bool,
        first_received: Option<Instant>,
        is_measured: bool,
    },
    /// Say with [`Dialogue::handle_sent`] that everything before this was handed to the network.
    ConfirmSent,
    /// A turn was measured.
    Turn(Box<MeasuredTurn>),
    /// Ask the client about itself.
    Ask(ClientQuestion),
    /// The session is over; close the connection once everything before is sent.
    Ended(EndReason),
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
    /// For which model names the route is that serves the session.
    route: String,
    latency: Arc<LatencyDesk>,
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
    /// Writes down what happens.
    chronicle: Chronicle,
    /// Times the provider's answers.
    answers: AnswerClock,
    /// Held until the session ends.
    ticket: Option<ResumeTicket>,
    /// With what its client comes back, until it has come.
    used_token: Option<UsedToken>,
    /// The client's last sign of life.
    client_heard_at: Instant,
    client: ClientSide,
    /// A mistake of ours ends it.
    has_failed: bool,
}

impl Dialogue {
    /// The client's message channel is open.
    pub(crate) fn open(&mut self, now: Instant) {
        self.used_token = None;
        self.presence.open(now);
        self.chronicle.pen().event(now, sentences::connected());
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
        if let SessionCommand::ReportClient(report) = &command {
            self.chronicle.reported(now, *report);
        }
        self.take(now, CoreInput::Command(command));
    }

    /// An RTP packet of the caller.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: RtpAudio<'_>) {
        self.take(now, CoreInput::Rtp(packet));
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

    /// What the last output asked it of was handed to the network.
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
        let client = self.client.poll_timeout();
        let second = Some(self.chronicle.poll_timeout()).filter(|_| self.ended().is_none());
        let own = [self.core.poll_timeout(), provider, account, held, limits, client, second];
        own.into_iter().flatten().min()
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
        self.note_judges(now);
        self.ask_client(now, outputs);
        if self.ended().is_some() {
            self.gate.close();
            self.leave(now);
        } else if self.chronicle.is_due(now) {
            self.write_second(now);
        }
        self.count();
    }

    /// Does what the account says. True if the core was told something about it.
    fn settle(&mut self, now: Instant) -> bool {
        let act = self.account.as_mut().and_then(Account::poll_act);
        let Some(act) = act.filter(|_| self.ended().is_none()) else { return false };
        self.chronicle.pen().event(now, sentences::budget(&act));
        match act {
            Act::Warn(_) => {}
            Act::Cancel(_) => {
                self.take(now, CoreInput::Command(SessionCommand::CancelResponse { response_id: None }));
                if self.leg == Leg::Rtp {
                    self.take(now, CoreInput::Command(SessionCommand::ClearOutput));
                }
            }
            Act::Close(_) => self.take(now, CoreInput::End(EndReason::BudgetExhausted)),
        }
        true
    }

    /// Does what the limits say. True if the core was told something about it.
    fn keep_limits(&mut self, now: Instant) -> bool {
        let act = self.allowance.poll_act().filter(|_| self.ended().is_none());
        let Some(act) = act else { return false };
        match act {
            limits::Act::TakeBack(response_id, refusal) => {
                self.chronicle.pen().event(now, sentences::answer_taken_back(&refusal));
                self.tell_core(now, BridgeEvent::Fault(refusal.fault()));
                let cancel = SessionCommand::CancelResponse { response_id: Some(response_id) };
                self.take(now, CoreInput::Command(cancel));
                if self.leg == Leg::Rtp {
                    self.take(now, CoreInput::Command(SessionCommand::ClearOutput));
                }
            }
            limits::Act::Close => {
                self.chronicle.pen().event(now, sentences::audio_over_limit());
                self.take(now, CoreInput::End(EndReason::RateLimited));
            }
        }
        true
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
            CoreOutput::Audio { payload, timestamp, marker, first_received, is_measured, lateness } => {
                Metrics::observe(&self.metrics.pacing_late_seconds, lateness);
                let audio = DialogueOutput::Audio { payload, timestamp, marker, first_received, is_measured };
                outputs.push(audio);
            }
            CoreOutput::ConfirmSent => outputs.push(DialogueOutput::ConfirmSent),
            CoreOutput::JudgeTurn { question, speech } => self.judge_turn(now, question, speech),
            CoreOutput::Bridge(command) => self.tell_provider(now, arrived, command),
            CoreOutput::Turn(trace) => self.turn_sounds(now, trace, outputs),
            CoreOutput::Ended(reason) => {
                self.client.end();
                self.tell_turns(now, outputs);
                outputs.push(DialogueOutput::Ended(reason));
            }
        }
    }

    /// Everything that happens goes this way, so that a log has all of it.
    fn take(&mut self, now: Instant, input: CoreInput<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(now, &input);
        }
        if let CoreInput::Bridge { event, .. } = &input {
            self.chronicle.heard(now, event);
        }
        self.core.handle(now, input);
        while let Some(output) = self.core.poll_output() {
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output);
            }
            if let CoreOutput::Bridge(command) = &output {
                self.gate.tell(command);
                self.chronicle.told(now, command);
            }
            self.waiting.push_back(output);
        }
        self.look(now);
    }

    fn tell_core(&mut self, now: Instant, event: BridgeEvent) {
        self.take(now, CoreInput::Bridge { at: now, event });
    }

    fn count(&mut self) {
        let stats = self.core.stats();
        // Most frames change none of them, and a label costs a lookup.
        if stats == self.counted {
            return;
        }
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

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
