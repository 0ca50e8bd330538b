//! Where the time of a session's turns went.

use voxgate_protocol::trace::TurnTrace;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::Breach;

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
    /// Reckons a turn and counts it. `None` if the clocks it was read from contradict each other.
    pub(super) fn measure(&self, trace: &TurnTrace) -> Option<Box<MeasuredTurn>> {
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
        Some(Box::new(MeasuredTurn { account, breaches }))
    }
}
