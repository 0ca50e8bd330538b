//! One session's account: what goes past on its way is metered, and what must be done about it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_policy::money::budget::Budget;
use voxgate_policy::money::spending::{Spending, SpendingOutput};
use voxgate_policy::routing::Target;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::tenant::TenantPath;

use super::{Billing, Money, Pricing};

/// What the session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing; this budget has passed its soft limit.
    Warn(Box<Budget>),
    /// Cancel the answer in progress and play no more of it: this budget is used up.
    Cancel(Option<Box<Budget>>),
    /// End the session: this budget is used up.
    Close(Option<Box<Budget>>),
}

/// One session's account.
pub(crate) struct Account {
    money: Arc<Money>,
    pricing: Arc<Pricing>,
    tenant: TenantPath,
    provider: String,
    spending: Spending,
    /// The generation of the budgets it has drawn on.
    generation: u64,
    began: Instant,
    /// The wall clock when the session began. From then on time is counted by the steady clock.
    began_unix: Duration,
    acts: VecDeque<Act>,
    has_ended: bool,
}

impl Account {
    /// A session of this tenant begins.
    pub(crate) fn open(
        Billing { money, pricing }: Billing,
        (now, now_unix): (Instant, Duration),
        tenant: TenantPath,
        session: SessionId,
        target: &Target,
        settings: &SessionSettings,
    ) -> Self {
        let meter = pricing.meter(now_unix, tenant.clone(), session, target, settings);
        let spending = Spending::new(now_unix, meter, pricing.lease);
        let mut account = Self {
            generation: money.budgets.generation(),
            money,
            pricing,
            tenant,
            provider: target.provider.clone(),
            spending,
            began: now,
            began_unix: now_unix,
            acts: VecDeque::new(),
            has_ended: false,
        };
        account.settle(now_unix);
        account
    }

    /// Another target serves the session from now on.
    pub(crate) fn moved(&mut self, now: Instant, target: &Target, settings: Option<&SessionSettings>) {
        let Some(settings) = settings else { return };
        let unix = self.unix(now);
        self.provider.clone_from(&target.provider);
        let service = self.pricing.service(unix, target, settings);
        self.spending.serve_by(unix, service);
        self.settle(unix);
    }

    fn unix(&self, now: Instant) -> Duration {
        self.began_unix + now.saturating_duration_since(self.began)
    }

    /// The provider is told something.
    pub(crate) fn told(&mut self, now: Instant, command: &BridgeCommand) {
        let unix = self.unix(now);
        self.heed_changes(unix);
        match command {
            BridgeCommand::Audio(pcm) => self.spending.listened(unix, pcm.duration()),
            BridgeCommand::Truncate { item_id, heard, .. } => self.spending.heard(unix, item_id, *heard),
            BridgeCommand::Configure(settings) => {
                self.spending.recognise_with(self.pricing.recogniser(unix, &self.provider, settings));
            }
            _ => return,
        }
        self.settle(unix);
    }

    /// The provider says something.
    pub(crate) fn heard(&mut self, now: Instant, event: &BridgeEvent) {
        let unix = self.unix(now);
        self.heed_changes(unix);
        match event {
            BridgeEvent::ResponseStarted { response_id } => self.spending.answer_started(unix, response_id),
            BridgeEvent::Output { response_id, item_id, part } => {
                let (audio, characters) = match part {
                    OutputPart::Audio(pcm) => (pcm.duration(), 0),
                    OutputPart::Transcript(text) | OutputPart::Text(text) => {
                        (Duration::ZERO, text.chars().count())
                    }
                    OutputPart::ToolArguments { delta, .. } => (Duration::ZERO, delta.chars().count()),
                };
                self.spending.spoke(unix, response_id, item_id, audio, characters as u64);
            }
            BridgeEvent::ResponseDone { response_id, usage, .. } => {
                self.spending.answer_done(unix, response_id, *usage);
            }
            BridgeEvent::InputTranscriptDone { item_id, usage, .. } => {
                self.spending.recognised(unix, item_id, *usage);
            }
            _ => return,
        }
        self.settle(unix);
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let unix = self.unix(now);
        self.heed_changes(unix);
        if self.spending.poll_timeout().is_some() {
            self.spending.tick(unix);
            self.settle(unix);
        }
    }

    /// Draws the lease anew if budgets have changed since the session drew on them first.
    fn heed_changes(&mut self, now: Duration) {
        let generation = self.money.budgets.generation();
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.spending.budgets_changed();
            self.settle(now);
        }
    }

    /// When [`Account::tick`] has something to do.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let unix = self.unix(now);
        self.spending.poll_timeout().map(|at| now + at.saturating_sub(unix))
    }

    /// What the session has cost so far, estimates included.
    pub(crate) fn cost(&self) -> NanoDollars {
        self.spending.cost()
    }

    /// What the session has to do next.
    pub(crate) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// The session is over: the rest of the lease goes back. What it cost; `None` if it was asked before.
    pub(crate) fn close(&mut self, now: Instant) -> Option<NanoDollars> {
        if self.has_ended {
            return None;
        }
        self.has_ended = true;
        let unix = self.unix(now);
        let rest = self.spending.end(unix);
        self.money.draw(unix, &self.tenant, rest);
        self.settle(unix);
        Some(self.spending.cost())
    }

    fn settle(&mut self, now: Duration) {
        let mut said = Vec::new();
        while let Some(output) = self.spending.poll_output() {
            match output {
                SpendingOutput::Entry(entry) => said.push(*entry),
                SpendingOutput::Draw(demand) if !self.has_ended => {
                    let draw = self.money.draw(now, &self.tenant, demand);
                    self.spending.drew(now, draw);
                }
                // What the session still owed was booked at its end.
                SpendingOutput::Draw(_) => {}
                SpendingOutput::Warn(budget) => {
                    self.money.warned(&self.tenant, &budget);
                    self.acts.push_back(Act::Warn(budget));
                }
                SpendingOutput::Cancel(budget) => {
                    self.money.acted("cancel");
                    self.acts.push_back(Act::Cancel(budget));
                }
                SpendingOutput::Close(budget) => {
                    self.money.acted("close");
                    self.acts.push_back(Act::Close(budget));
                }
            }
        }
        self.money.keep(said);
    }
}

/// Whatever becomes of a session, what it drew and did not spend goes back.
impl Drop for Account {
    fn drop(&mut self) {
        self.close(Instant::now());
    }
}
