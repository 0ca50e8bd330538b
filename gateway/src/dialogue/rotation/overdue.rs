//! Whose patience ends when: who takes longer than another target would, and when an outage is not waited out.

use std::time::Instant;

use voxgate_protocol::bridge::{BridgeEvent, Fault, FaultOwner};

use super::silence::Silence;
use super::{LONGEST_OUTAGE, Outage, Reason, Rotation};

/// Who takes longer than it should, if another target could serve instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The first connection, to begin.
    Connection,
    /// The next connection, to begin, while the caller waits.
    Standby,
    /// An answer that is owed.
    Answer,
}

impl Rotation {
    /// When whose patience ends that another target could spare.
    pub(super) fn next_overdue(&self) -> Option<(Instant, Overdue)> {
        if self.outage.is_some() {
            let waiting = self.standby.as_ref().filter(|standby| !standby.is_ready)?;
            return Some((waiting.overdue_at?, Overdue::Standby));
        }
        let first = self.overdue_at.map(|at| (at, Overdue::Connection));
        let answer = self.silence.as_ref().filter(|_| self.is_ready).and_then(Silence::due_at);
        first.or_else(|| Some((answer?, Overdue::Answer)))
    }

    /// What [`Step::Overdue`] asked: whether another target could serve. Gives what the session has to be told.
    pub(crate) fn overdue(&mut self, now: Instant, overdue: Overdue, has_other: bool) -> Vec<BridgeEvent> {
        self.has_other = has_other;
        let may_open = self.standby.is_some() || self.allowance.is_left(now);
        if !has_other || !may_open {
            // Nobody is better; it is waited for as if there were no other target.
            match overdue {
                Overdue::Connection => self.overdue_at = None,
                Overdue::Standby => {
                    if let Some(standby) = &mut self.standby {
                        standby.overdue_at = None;
                    }
                }
                Overdue::Answer => {
                    if let Some(silence) = &mut self.silence {
                        silence.forget();
                    }
                }
            }
            return Vec::new();
        }
        match overdue {
            Overdue::Connection => self.lose(now, Reason::Setup, late("provider_connect_timeout")),
            Overdue::Answer => self.lose(now, Reason::Silent, late("provider_silent")),
            Overdue::Standby => {
                self.lose_standby(now, late("provider_connect_timeout"), true);
                Vec::new()
            }
        }
    }

    /// When an outage is not to be mended any more.
    pub(super) fn gives_up_at(&self, outage: &Outage) -> Instant {
        match self.switching.filter(|_| outage.reason == Reason::Setup) {
            Some(rule) => self.opened_at + rule.budget,
            None => outage.since + LONGEST_OUTAGE,
        }
    }
}

/// What an answer or an attempt is told to have failed with that took too long.
fn late(code: &str) -> BridgeEvent {
    BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: code.to_owned(),
        message: "The provider took too long.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: true,
    })
}
