//! A held act and the person who decides about it.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How a held act stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has decided yet.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody decided in time, which counts as no.
    Expired,
}

impl ApprovalState {
    /// The name in the administration and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it happen.
    Approve,
    /// Do not.
    Deny,
}

/// Why a verdict changes nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ApprovalError {
    /// Somebody decided before, or the deadline did.
    #[error("it is {} already", .0.as_str())]
    AlreadyDecided(ApprovalState),
    /// Nothing of this name is held, or no longer.
    #[error("nothing of this name waits for a decision")]
    Unknown,
}

/// One held act: pending until a person decides or the deadline comes, and never pending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    state: ApprovalState,
    deadline: Instant,
}

impl Approval {
    /// Asks at `now`; the answer counts until `window` has passed.
    #[must_use]
    pub fn ask(now: Instant, window: Duration) -> Self {
        Self { state: ApprovalState::Pending, deadline: now + window }
    }

    /// A person decides at `now`.
    ///
    /// # Errors
    /// [`ApprovalError::AlreadyDecided`] if it is decided or the deadline has come.
    pub fn decide(&mut self, now: Instant, verdict: Verdict) -> Result<ApprovalState, ApprovalError> {
        self.handle_timeout(now);
        if self.state != ApprovalState::Pending {
            return Err(ApprovalError::AlreadyDecided(self.state));
        }
        self.state = match verdict {
            Verdict::Approve => ApprovalState::Approved,
            Verdict::Deny => ApprovalState::Denied,
        };
        Ok(self.state)
    }

    /// Time passed. True if this is the moment it expired.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let expires = self.state == ApprovalState::Pending && self.deadline <= now;
        if expires {
            self.state = ApprovalState::Expired;
        }
        expires
    }

    /// How it stands.
    #[must_use]
    pub const fn state(&self) -> ApprovalState {
        self.state
    }

    /// When [`Approval::handle_timeout`] has to be called; `None` once it is decided.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.state == ApprovalState::Pending).then_some(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_verdict_before_the_deadline_is_final() {
        for (verdict, state) in
            [(Verdict::Approve, ApprovalState::Approved), (Verdict::Deny, ApprovalState::Denied)]
        {
            let now = Instant::now();
            let mut approval = Approval::ask(now, WINDOW);
            assert_eq!(approval.poll_timeout(), Some(now + WINDOW));
            let just_before = now + WINDOW - Duration::from_nanos(1);
            assert_eq!(approval.decide(just_before, verdict), Ok(state));
            assert_eq!(approval.poll_timeout(), None);
            assert!(!approval.handle_timeout(now + WINDOW * 2));
            for late in [Verdict::Approve, Verdict::Deny] {
                let refused = approval.decide(just_before, late);
                assert_eq!(refused, Err(ApprovalError::AlreadyDecided(state)));
            }
        }
    }

    #[test]
    fn at_the_deadline_it_is_too_late_whether_or_not_anybody_watched_the_clock() {
        let now = Instant::now();
        let mut watched = Approval::ask(now, WINDOW);
        assert!(watched.handle_timeout(now + WINDOW));
        assert!(!watched.handle_timeout(now + WINDOW), "it expires once");
        assert_eq!(watched.state(), ApprovalState::Expired);
        let mut unwatched = Approval::ask(now, WINDOW);
        let refused = unwatched.decide(now + WINDOW, Verdict::Approve);
        assert_eq!(refused, Err(ApprovalError::AlreadyDecided(ApprovalState::Expired)));
    }
}
