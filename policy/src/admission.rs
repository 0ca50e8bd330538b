//! How many sessions may run, overall and per key.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::key::KeyIndex;

/// Limits on sessions running at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// On this node.
    pub total: u32,
    /// Of one key.
    pub per_key: u32,
}

/// Why a session may not start.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The node is full.
    #[error("this gateway runs as many sessions as it is configured for; try again when one has ended")]
    NodeFull,
    /// The key is at its limit.
    #[error("this key has reached its limit of concurrent sessions; end one first")]
    KeyFull,
    /// The node is shutting down.
    #[error("this gateway is shutting down and takes no new sessions")]
    Draining,
}

impl Refusal {
    /// The name used in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeFull => "node_full",
            Self::KeyFull => "key_full",
            Self::Draining => "draining",
        }
    }
}

/// Counts running sessions against the limits.
#[derive(Clone, Debug)]
pub struct Admission {
    limits: SessionLimits,
    running: BTreeMap<KeyIndex, u32>,
    total: u32,
    is_draining: bool,
}

impl Admission {
    /// Nothing runs yet.
    #[must_use]
    pub const fn new(limits: SessionLimits) -> Self {
        Self { limits, running: BTreeMap::new(), total: 0, is_draining: false }
    }

    /// From now on other limits hold. Sessions that run go on, even if there are more of them.
    pub const fn set_limits(&mut self, limits: SessionLimits) {
        self.limits = limits;
    }

    /// Admits one session. Every success must be paired with one [`Admission::release`].
    ///
    /// # Errors
    /// The [`Refusal`] that applies.
    pub fn admit(&mut self, key: KeyIndex) -> Result<(), Refusal> {
        if self.is_draining {
            return Err(Refusal::Draining);
        }
        if self.total >= self.limits.total {
            return Err(Refusal::NodeFull);
        }
        let of_key = self.running.entry(key).or_insert(0);
        if *of_key >= self.limits.per_key {
            return Err(Refusal::KeyFull);
        }
        *of_key += 1;
        self.total += 1;
        Ok(())
    }

    /// A session of this key ended.
    pub fn release(&mut self, key: KeyIndex) {
        let Some(of_key) = self.running.get_mut(&key) else { return };
        *of_key -= 1;
        if *of_key == 0 {
            self.running.remove(&key);
        }
        self.total -= 1;
    }

    /// From now on nothing is admitted.
    pub const fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether new sessions are refused because the node shuts down.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Sessions running now.
    #[must_use]
    pub const fn running(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits = SessionLimits { total: 3, per_key: 2 };

    #[test]
    fn a_key_at_its_limit_leaves_room_for_others() {
        let mut admission = Admission::new(LIMITS);
        assert_eq!(admission.admit(KeyIndex(0)), Ok(()));
        assert_eq!(admission.admit(KeyIndex(0)), Ok(()));
        assert_eq!(admission.admit(KeyIndex(0)), Err(Refusal::KeyFull));
        assert_eq!(admission.admit(KeyIndex(1)), Ok(()));
        assert_eq!(admission.admit(KeyIndex(2)), Err(Refusal::NodeFull));
    }

    #[test]
    fn a_released_place_can_be_taken_again() {
        let mut admission = Admission::new(LIMITS);
        for _ in 0..2 {
            assert_eq!(admission.admit(KeyIndex(7)), Ok(()));
        }
        admission.release(KeyIndex(7));
        assert_eq!(admission.admit(KeyIndex(7)), Ok(()));
        assert_eq!(admission.running(), 2);
    }

    #[test]
    fn releasing_what_never_ran_changes_nothing() {
        let mut admission = Admission::new(LIMITS);
        admission.release(KeyIndex(9));
        assert_eq!(admission.running(), 0);
    }

    #[test]
    fn a_draining_node_admits_nothing() {
        let mut admission = Admission::new(LIMITS);
        admission.drain();
        assert_eq!(admission.admit(KeyIndex(0)), Err(Refusal::Draining));
    }
}
