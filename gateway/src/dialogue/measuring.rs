//! Where the time of a session's turns went.

use std::time::{Duration, Instant};

use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::TurnTrace;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::Breach;
use voxgate_telemetry::session::facts::TurnNote;

use super::Dialogue;

/// A turn, and what of it took too long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MeasuredTurn {
    /// Hop by hop.
    pub(crate) account: TurnAccount,
    /// Of the budgets of the session's route.
    pub(crate) breaches: Vec<Breach>,
}

impl Dialogue {
    /// Reckons a turn that is told at `now`, counts it and writes it down. `None` if the clocks it was read from contradict each other.
    pub(super) fn measure(&self, now: Instant, trace: &TurnTrace) -> Option<Box<MeasuredTurn>> {
        let account = match TurnAccount::from_trace(trace) {
            Ok(account) => account,
            Err(error) => {
                self.metrics.turns_unreckoned.inc();
                tracing::warn!(session = %self.session_id, turn = trace.turn, %error, "a turn has no account");
                return None;
            }
        };
        let breaches = self.latency.turn(&self.route, &account);
        self.provider.measured(account.timeline());
        let budget = self.latency.budget(&self.route);
        let note = TurnNote { account: &account, budget: budget.as_ref(), breaches: &breaches };
        self.presence.record().turn(self.mouth_at(now, trace), note);
        Some(Box::new(MeasuredTurn { account, breaches }))
    }

    /// When the caller's last word was, since the session began. A turn is told when its first packet was sent.
    fn mouth_at(&self, now: Instant, trace: &TurnTrace) -> Duration {
        let sent = trace.works.iter().filter(|work| work.hop == Hop::Encode).map(|work| work.to.at).max();
        let passed = sent.unwrap_or(trace.ear.at).saturating_sub(trace.mouth.at);
        self.presence.since_began(now).saturating_sub(passed)
    }
}
