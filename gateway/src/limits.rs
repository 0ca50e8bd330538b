//! One session's limits: what goes past on its way is counted, and what must be done about it is told.
//!
//! Counters in this process are asked at once. Those in Redis are asked ahead, in small amounts: a session never waits for
//! them, and acts on their answer at the next answer, tool call or piece of audio.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use voxgate_policy::limits::credit::{Credit, Exhausted};
use voxgate_policy::limits::rules::{Resource, sentence};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, Fault, FaultOwner, OutputPart};
use voxgate_protocol::id::{ResponseId, ToolCallId};
use voxgate_signaling::limits::desk::{Answered, LimitLease};
use voxgate_telemetry::metrics::Metrics;

use crate::host::since_unix_epoch;

/// What audio is counted in.
pub(crate) const AUDIO_UNIT: Duration = Duration::from_millis(100);

/// Audio taken ahead at once: five seconds, so that a session asks a few times a minute.
const AUDIO_BATCH: u64 = 50;

/// What the session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Tell the client why, and cancel this answer.
    TakeBack(ResponseId, Refusal),
    /// End the session: its audio is over the limit.
    Close,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Of what.
    pub(crate) resource: Resource,
    /// Until there is room again.
    pub(crate) wait: Duration,
}

impl Refusal {
    /// What the client is told.
    pub(crate) fn fault(&self) -> Fault {
        Fault {
            owner: FaultOwner::Client,
            code: "rate_limit_exceeded".to_owned(),
            message: sentence(self.resource.as_str(), Some(self.wait)),
            may_retry: true,
            may_switch: false,
            is_final: false,
        }
    }
}

/// One session's limits.
pub(crate) struct Allowance {
    lease: LimitLease,
    credits: BTreeMap<Resource, Credit>,
    audio: Duration,
    /// Answers that were asked for and counted, and have not begun.
    expected: u32,
    tool_call: Option<ToolCallId>,
    acts: VecDeque<Act>,
    answers: UnboundedReceiver<Answered>,
    answered: UnboundedSender<Answered>,
    began: Instant,
    /// The wall clock when the session began. From then on time is counted by the steady clock.
    began_unix: Duration,
    metrics: Arc<Metrics>,
}

impl Allowance {
    /// A session begins. The places of the lease are held until this is dropped.
    pub(crate) fn open(lease: LimitLease, now: Instant, metrics: Arc<Metrics>) -> Self {
        let counted = [Resource::Audio, Resource::Responses, Resource::ToolCalls, Resource::Tokens];
        let limits = lease.limits();
        let credits = counted.into_iter().filter_map(|resource| {
            let narrowest = limits.narrowest(resource)?;
            let batch = match resource {
                // A fraction of what all sessions have together, so that what one holds is nothing to the others.
                Resource::Audio => (narrowest / 20).clamp(1, AUDIO_BATCH),
                Resource::Tokens => 0,
                _ => 1,
            };
            Some((resource, Credit::new(batch)))
        });
        let credits = credits.collect();
        let (answered, answers) = unbounded_channel();
        let mut allowance = Self {
            lease,
            credits,
            audio: Duration::ZERO,
            expected: 0,
            tool_call: None,
            acts: VecDeque::new(),
            answers,
            answered,
            began: now,
            began_unix: since_unix_epoch(),
            metrics,
        };
        allowance.ask_ahead(now);
        allowance
    }

    fn unix_us(&self, now: Instant) -> u64 {
        (self.began_unix + now.saturating_duration_since(self.began)).as_micros() as u64
    }

    /// Whether the provider may not be told this, and why.
    pub(crate) fn refuses(&mut self, now: Instant, command: &BridgeCommand) -> Option<Refusal> {
        if self.credits.is_empty() {
            return None;
        }
        let refusal = match command {
            BridgeCommand::Audio(pcm) => {
                self.listened(now, pcm.duration());
                None
            }
            BridgeCommand::CreateResponse(_) => {
                let refusal = self.may_answer(now);
                self.expected += u32::from(refusal.is_none());
                refusal
            }
            _ => return None,
        };
        self.ask_ahead(now);
        refusal
    }

    /// The provider says something.
    pub(crate) fn heard(&mut self, now: Instant, event: &BridgeEvent) {
        if self.credits.is_empty() {
            return;
        }
        match event {
            // One that nobody here asked for: the provider answers a turn it found.
            BridgeEvent::ResponseStarted { response_id } => {
                if self.expected > 0 {
                    self.expected -= 1;
                } else if let Some(refusal) = self.may_answer(now) {
                    self.acts.push_back(Act::TakeBack(response_id.clone(), refusal));
                }
            }
            BridgeEvent::Output { response_id, part: OutputPart::ToolArguments { call_id, .. }, .. }
                if self.tool_call.as_ref() != Some(call_id) =>
            {
                self.tool_call = Some(call_id.clone());
                if let Err(refusal) = self.use_up(now, Resource::ToolCalls, 1) {
                    self.acts.push_back(Act::TakeBack(response_id.clone(), refusal));
                }
            }
            BridgeEvent::ResponseDone { usage: Some(usage), .. } => {
                self.note(Resource::Tokens, usage.input().saturating_add(usage.output()));
            }
            _ => return,
        }
        self.ask_ahead(now);
    }

    fn listened(&mut self, now: Instant, audio: Duration) {
        self.audio += audio;
        let units = (self.audio.as_millis() / AUDIO_UNIT.as_millis()) as u64;
        if units > 0 {
            self.audio -= AUDIO_UNIT * u32::try_from(units).unwrap_or(u32::MAX);
            if self.use_up(now, Resource::Audio, units).is_err() && !self.acts.contains(&Act::Close) {
                self.acts.push_back(Act::Close);
            }
        }
    }

    /// Why no answer may begin; otherwise it is counted.
    fn may_answer(&mut self, now: Instant) -> Option<Refusal> {
        self.has_room(now, Resource::Tokens).and_then(|()| self.use_up(now, Resource::Responses, 1)).err()
    }

    fn has_room(&mut self, now: Instant, resource: Resource) -> Result<(), Refusal> {
        let now_us = self.unix_us(now);
        let Some(credit) = self.credits.get_mut(&resource) else { return Ok(()) };
        ask_here(&self.lease, resource, credit, 0);
        let room = credit.has_room(now_us);
        room.map_err(|exhausted| self.refused(now_us, resource, exhausted))
    }

    fn use_up(&mut self, now: Instant, resource: Resource, amount: u64) -> Result<(), Refusal> {
        let now_us = self.unix_us(now);
        let Some(credit) = self.credits.get_mut(&resource) else { return Ok(()) };
        ask_here(&self.lease, resource, credit, amount);
        let used = credit.use_up(now_us, amount);
        used.map_err(|exhausted| self.refused(now_us, resource, exhausted))
    }

    fn note(&mut self, resource: Resource, amount: u64) {
        let Some(credit) = self.credits.get_mut(&resource) else { return };
        credit.note(amount);
        ask_here(&self.lease, resource, credit, 0);
    }

    fn refused(&self, now_us: u64, resource: Resource, Exhausted { until_us }: Exhausted) -> Refusal {
        self.metrics.limits_reached.with_label_values(&[resource.as_str()]).inc();
        Refusal { resource, wait: Duration::from_micros(until_us.saturating_sub(now_us)) }
    }

    /// Takes the answers that have come.
    pub(crate) fn hear_answers(&mut self, now: Instant) {
        while let Ok((resource, answer)) = self.answers.try_recv() {
            if let Some(credit) = self.credits.get_mut(&resource) {
                credit.answered(answer);
            }
        }
        self.ask_ahead(now);
    }

    /// Asks counters elsewhere for what will be needed.
    fn ask_ahead(&mut self, now: Instant) {
        let now_us = self.unix_us(now);
        for (resource, credit) in &mut self.credits {
            if self.lease.is_counted_here() {
                continue;
            }
            if let Some(ask) = credit.poll_ask(now_us) {
                self.lease.ask_elsewhere(*resource, ask, self.answered.clone());
            }
        }
    }

    /// When [`Allowance::hear_answers`] has to be called, though nothing rang.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.lease.is_counted_here() {
            return None;
        }
        let now_us = self.unix_us(now);
        let next = self.credits.values().filter_map(Credit::poll_timeout_us).min()?;
        Some(now + Duration::from_micros(next.saturating_sub(now_us)))
    }

    /// What the session has to do next.
    pub(crate) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }
}

/// Counters in this process answer before anything is used, which makes the limit exact.
fn ask_here(lease: &LimitLease, resource: Resource, credit: &mut Credit, amount: u64) {
    if !lease.is_counted_here() {
        return;
    }
    if let Some(ask) = credit.need(amount)
        && let Some(answer) = lease.ask_here(resource, ask)
    {
        credit.answered(answer);
    }
}

#[cfg(test)]
mod tests;
