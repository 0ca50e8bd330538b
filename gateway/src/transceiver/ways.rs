//! The ways between one client and this node.

use voxgate_media::transport::Path;
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::tunnel::Lane;

/// Ways remembered of which nothing is proven. Whoever learns a call's ufrag can make them up.
const MOST_UNPROVEN: usize = 16;

/// The two lowest bits of a traffic class are marks of congestion on one path in one direction (RFC 3168, section 5);
/// the others ask for a treatment, in both directions.
const TREATMENT: u8 = 0b1111_1100;

/// A path, and how its last datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) path: Path,
    /// The lane of the relay; the answer goes back by it.
    pub(super) lane: Lane,
    /// The treatment the client's network was asked for; the answer asks for the same.
    pub(super) traffic_class: u8,
    /// The client proved to be behind it.
    pub(super) is_proven: bool,
}

/// All ways of one call. The transport bounds the proven ones.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// In the order in which they were first heard of.
    ways: Vec<Way>,
}

impl Ways {
    /// A datagram came on this path.
    pub(super) fn came(&mut self, path: Path, lane: Lane, traffic_class: u8) {
        let traffic_class = traffic_class & TREATMENT;
        if let Some(way) = self.ways.iter_mut().find(|way| way.path == path) {
            (way.lane, way.traffic_class) = (lane, traffic_class);
            return;
        }
        if self.ways.iter().filter(|way| !way.is_proven).count() >= MOST_UNPROVEN
            && let Some(oldest) = self.ways.iter().position(|way| !way.is_proven)
        {
            self.ways.remove(oldest);
        }
        self.ways.push(Way { path, lane, traffic_class, is_proven: false });
    }

    /// The client proved to be behind this path.
    pub(super) fn prove(&mut self, path: Path) {
        match self.ways.iter_mut().find(|way| way.path == path) {
            Some(way) => way.is_proven = true,
            None => self.ways.push(Way { path, lane: Lane::default(), traffic_class: 0, is_proven: true }),
        }
    }

    /// The client no longer uses this path.
    pub(super) fn forget(&mut self, path: Path) {
        self.ways.retain(|way| way.path != path);
    }

    /// How to reach the client on this path.
    pub(super) fn find(&self, path: Path) -> Option<Way> {
        self.ways.iter().find(|way| way.path == path).copied()
    }

    /// The ways the client has proven to be behind.
    pub(super) fn proven(&self) -> impl Iterator<Item = Way> {
        self.ways.iter().filter(|way| way.is_proven).copied()
    }

    /// Whether the client has proven to be behind this address.
    pub(super) fn knows(&self, client: ClientAddress) -> bool {
        self.proven().any(|way| way.path.client == client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        let client = ClientAddress::udp(([203, 0, 113, 9], port).into());
        Path { relay: ([198, 51, 100, 1], 3478).into(), client }
    }

    #[test]
    fn the_answer_goes_back_by_the_lane_of_the_last_datagram() {
        let mut ways = Ways::default();
        ways.came(path(1), Lane(3), 0xb9);
        ways.prove(path(1));
        let way = ways.find(path(1)).unwrap();
        assert_eq!((way.lane, way.traffic_class), (Lane(3), 0xb8), "without the mark of congestion");
        ways.came(path(1), Lane(0), 0);
        assert_eq!(ways.find(path(1)).unwrap().lane, Lane(0));
        assert!(ways.knows(path(1).client));
    }

    #[test]
    fn made_up_ways_push_out_each_other_and_never_a_proven_one() {
        let mut ways = Ways::default();
        ways.came(path(1), Lane(0), 0);
        ways.prove(path(1));
        for port in 2..500 {
            ways.came(path(port), Lane(0), 0);
            assert!(!ways.knows(path(port).client));
        }
        assert_eq!(ways.ways.len(), 1 + MOST_UNPROVEN);
        assert!(ways.knows(path(1).client));
        assert!(ways.find(path(499)).is_some());
    }
}
