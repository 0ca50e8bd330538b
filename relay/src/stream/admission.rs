//! How many connections there may be.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::StreamLimits;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many connections, or too many that have proven nothing.
    Full,
    /// Too many from its source.
    Source,
}

/// What one source has.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    open: usize,
    unproven: usize,
}

/// The connections there are, by source.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    limits: StreamLimits,
    open: usize,
    unproven: usize,
    sources: BTreeMap<IpAddr, Share>,
}

impl Admission {
    pub(super) const fn new(limits: StreamLimits) -> Self {
        Self { limits, open: 0, unproven: 0, sources: BTreeMap::new() }
    }

    /// Counts a connection in, unproven.
    pub(super) fn enter(&mut self, from: IpAddr) -> Result<(), Refusal> {
        if self.open >= self.limits.connections || self.unproven >= self.limits.unproven {
            return Err(Refusal::Full);
        }
        let share = self.sources.entry(source(from)).or_default();
        if share.open >= self.limits.per_source || share.unproven >= self.limits.unproven_per_source {
            return Err(Refusal::Source);
        }
        share.open += 1;
        share.unproven += 1;
        self.open += 1;
        self.unproven += 1;
        Ok(())
    }

    /// A connection has shown a valid ufrag.
    pub(super) fn prove(&mut self, from: IpAddr) {
        self.unproven = self.unproven.saturating_sub(1);
        if let Some(share) = self.sources.get_mut(&source(from)) {
            share.unproven = share.unproven.saturating_sub(1);
        }
    }

    /// Counts a connection out.
    pub(super) fn leave(&mut self, from: IpAddr, proven: bool) {
        self.open = self.open.saturating_sub(1);
        if !proven {
            self.unproven = self.unproven.saturating_sub(1);
        }
        if let Some(share) = self.sources.get_mut(&source(from)) {
            share.open = share.open.saturating_sub(1);
            share.unproven = share.unproven.saturating_sub(usize::from(!proven));
            if share.open == 0 {
                self.sources.remove(&source(from));
            }
        }
    }

    pub(super) const fn open(&self) -> usize {
        self.open
    }
}

/// Whoever has one IPv6 address has its /64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admission() -> Admission {
        Admission::new(StreamLimits { connections: 4, unproven: 3, per_source: 2, ..StreamLimits::default() })
    }

    #[test]
    fn one_source_has_its_share_and_gets_it_back() {
        let mut admission = admission();
        let caller = address("192.0.2.1");
        assert_eq!((admission.enter(caller), admission.enter(caller)), (Ok(()), Ok(())));
        assert_eq!(admission.enter(address("::ffff:192.0.2.1")), Err(Refusal::Source));
        assert_eq!(admission.enter(address("192.0.2.2")), Ok(()));
        admission.leave(caller, false);
        assert_eq!(admission.enter(caller), Ok(()));
    }

    #[test]
    fn a_source_that_proves_nothing_has_a_small_share() {
        let limits = StreamLimits { unproven_per_source: 2, ..StreamLimits::default() };
        let mut admission = Admission::new(limits);
        let caller = address("192.0.2.1");
        assert_eq!((admission.enter(caller), admission.enter(caller)), (Ok(()), Ok(())));
        assert_eq!(admission.enter(caller), Err(Refusal::Source));
        admission.prove(caller);
        assert_eq!(admission.enter(caller), Ok(()));
        admission.leave(caller, false);
        assert_eq!(admission.enter(caller), Ok(()));
        assert_eq!(admission.enter(caller), Err(Refusal::Source));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let mut admission = admission();
        assert_eq!(admission.enter(address("2001:db8::1")), Ok(()));
        assert_eq!(admission.enter(address("2001:db8::2:0:0:1")), Ok(()));
        assert_eq!(admission.enter(address("2001:db8::3")), Err(Refusal::Source));
        assert_eq!(admission.enter(address("2001:db8:0:1::1")), Ok(()));
    }

    #[test]
    fn connections_that_prove_nothing_leave_room_for_those_that_do() {
        let mut admission = admission();
        for last in 1..=3 {
            assert_eq!(admission.enter(address(&format!("192.0.2.{last}"))), Ok(()));
        }
        assert_eq!(admission.enter(address("192.0.2.4")), Err(Refusal::Full));
        admission.prove(address("192.0.2.1"));
        assert_eq!(admission.enter(address("192.0.2.4")), Ok(()));
        admission.prove(address("192.0.2.2"));
        assert_eq!(admission.enter(address("192.0.2.5")), Err(Refusal::Full), "four is the most of all");
        admission.leave(address("192.0.2.1"), true);
        assert_eq!(admission.open(), 3);
        assert_eq!(admission.enter(address("192.0.2.5")), Ok(()));
    }
}
