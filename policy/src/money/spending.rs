//! A meter and its lease together: warn, no new answer, cancel, close.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

use super::budget::{Budget, Demand, Draw, Lease};
use super::ledger::Entry;
use super::meter::{Meter, MeterConfig, Recogniser, Service};

/// How long a cancelled answer may take to end before its session is closed all the same. Vendors end one within a
/// round trip; what they count at its end is worth waiting for.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// What has to be done about a session's money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpendingOutput {
    /// Into the outbox, before anything else is done.
    Entry(Box<Entry>),
    /// Ask the budgets, then [`Spending::drew`]. Nothing else comes until then.
    Draw(Demand),
    /// The soft limit of this budget was passed.
    Warn(Box<Budget>),
    /// Cancel the answer in progress and play no more of it: this budget is used up.
    Cancel(Option<Box<Budget>>),
    /// End the session with `insufficient_quota`: this budget is used up.
    Close(Option<Box<Budget>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is money.
    Funded,
    /// The last lease is being used up: the answer in progress goes on, no other begins.
    Last,
    /// The answer was cancelled; closes at this time at the latest.
    Cancelled(Duration),
    Closed,
}

/// One session's money. Feed it what happens, with the time since the Unix epoch, then read
/// [`Spending::poll_output`] until `None`.
#[derive(Debug)]
pub struct Spending {
    meter: Meter,
    lease: Lease,
    stage: Stage,
    /// The demand that was handed out and the cost it was reckoned at.
    asked: Option<(NanoDollars, Demand)>,
    /// The budget that granted less than was asked the last time.
    short: Option<Box<Budget>>,
    outputs: VecDeque<SpendingOutput>,
}

impl Spending {
    /// A session begins with a lease of this size.
    #[must_use]
    pub fn new(now: Duration, config: MeterConfig, lease: NanoDollars) -> Self {
        let meter = Meter::new(now, config);
        let mut spending = Self {
            meter,
            lease: Lease::new(lease),
            stage: Stage::Funded,
            asked: None,
            short: None,
            outputs: VecDeque::new(),
        };
        spending.settle(now);
        spending
    }

    /// What the session costs so far.
    #[must_use]
    pub const fn cost(&self) -> NanoDollars {
        self.meter.cost()
    }

    /// Audio was sent to the provider.
    pub fn listened(&mut self, now: Duration, audio: Duration) {
        self.meter.listened(now, audio);
        self.settle(now);
    }

    /// An answer begins. One that begins after the last lease was drawn is cancelled.
    pub fn answer_started(&mut self, now: Duration, response: &ResponseId) {
        self.meter.answer_started(now, response);
        if matches!(self.stage, Stage::Last | Stage::Cancelled(_)) {
            self.cancel(now);
        }
        self.settle(now);
    }

    /// A piece of an answer was generated.
    pub fn spoke(
        &mut self,
        now: Duration,
        response: &ResponseId,
        item: &ItemId,
        audio: Duration,
        characters: u64,
    ) {
        self.meter.spoke(response, item, audio, characters);
        self.settle(now);
    }

    /// An answer ended.
    pub fn answer_done(&mut self, now: Duration, response: &ResponseId, usage: Option<TokenUsage>) {
        self.meter.answer_done(response, usage);
        self.settle(now);
    }

    /// From now on this model turns the caller's words into text.
    pub fn recognise_with(&mut self, recogniser: Recogniser) {
        self.meter.recognise_with(recogniser);
    }

    /// From now on another provider serves the session.
    pub fn serve_by(&mut self, now: Duration, service: Service) {
        self.meter.serve_by(now, service);
        self.settle(now);
    }

    /// The caller's words were recognised.
    pub fn recognised(&mut self, now: Duration, item: &ItemId, usage: Option<TranscriptionUsage>) {
        self.meter.recognised(now, item, usage);
        self.settle(now);
    }

    /// Only this much of an item was heard.
    pub fn heard(&mut self, now: Duration, item: &ItemId, heard: Duration) {
        self.meter.heard(item, heard);
        self.settle(now);
    }

    /// The budgets above the session have changed: its lease is given back and drawn anew, so that a limit that was lowered holds
    /// at once. If nothing is left the answer in progress is cancelled.
    pub fn budgets_changed(&mut self) {
        // A demand that is out is answered first: whoever feeds this reads all outputs before anything else happens.
        if self.stage == Stage::Closed || self.asked.is_some() {
            return;
        }
        let cost = self.meter.cost();
        let demand = self.lease.renew(cost);
        self.asked = Some((cost, demand));
        self.outputs.push_back(SpendingOutput::Draw(demand));
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) {
        self.meter.tick(now);
        self.settle(now);
    }

    /// When [`Spending::tick`] has something to do although nothing happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.stage {
            Stage::Cancelled(until) => Some(until),
            Stage::Closed => None,
            Stage::Funded | Stage::Last => self.meter.poll_timeout(),
        }
    }

    /// The budgets' answer to [`SpendingOutput::Draw`].
    pub fn drew(&mut self, now: Duration, draw: Draw) {
        let Some((cost, demand)) = self.asked.take() else { return };
        self.lease.drew(cost, demand, draw.granted);
        self.short = draw.short.map(Box::new);
        let warnings = draw.warns.into_iter().map(|budget| SpendingOutput::Warn(Box::new(budget)));
        self.outputs.extend(warnings);
        self.judge(now);
    }

    /// The session is over. What comes back is owed to the budgets: give it to them as a draw. Entries may still have to
    /// be read.
    #[must_use]
    pub fn end(&mut self, now: Duration) -> Demand {
        self.meter.end(now);
        self.collect();
        self.stage = Stage::Closed;
        self.lease.give_back(self.meter.cost())
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<SpendingOutput> {
        self.outputs.pop_front()
    }

    fn collect(&mut self) {
        while let Some(entry) = self.meter.poll_entry() {
            self.outputs.push_back(SpendingOutput::Entry(Box::new(entry)));
        }
    }

    fn settle(&mut self, now: Duration) {
        self.collect();
        if self.stage == Stage::Closed {
            return;
        }
        let cost = self.meter.cost();
        match self.lease.demand(cost).filter(|_| self.asked.is_none()) {
            Some(demand) => {
                self.asked = Some((cost, demand));
                self.outputs.push_back(SpendingOutput::Draw(demand));
            }
            None => self.judge(now),
        }
    }

    fn judge(&mut self, now: Duration) {
        if self.asked.is_some() {
            return;
        }
        let is_spent = self.lease.is_last() && self.lease.left(self.meter.cost()).is_spent();
        match self.stage {
            Stage::Funded | Stage::Last if is_spent => self.cancel(now),
            Stage::Funded if self.lease.is_last() => self.stage = Stage::Last,
            // Another session gave something back.
            Stage::Last if !self.lease.is_last() => self.stage = Stage::Funded,
            Stage::Cancelled(until) if until <= now || !self.meter.is_answering() => self.close(),
            Stage::Funded | Stage::Last | Stage::Cancelled(_) | Stage::Closed => {}
        }
    }

    fn cancel(&mut self, now: Duration) {
        if !self.meter.is_answering() {
            self.close();
            return;
        }
        self.outputs.push_back(SpendingOutput::Cancel(self.short.clone()));
        if !matches!(self.stage, Stage::Cancelled(_)) {
            self.stage = Stage::Cancelled(now + CANCEL_PATIENCE);
        }
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.outputs.push_back(SpendingOutput::Close(self.short.clone()));
    }
}

#[cfg(test)]
mod tests;
