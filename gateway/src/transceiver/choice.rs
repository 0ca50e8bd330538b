//! Which relays a call is offered.

use std::net::SocketAddr;

use voxgate_media::transport::RelayCandidate;
use voxgate_protocol::path::ClientTransport;

use super::liveness::RelayState;

/// Relays in one answer: one to use and one to survive its loss. More would cost each setup checks and the hold time.
const RELAYS_PER_CALL: usize = 2;

/// Picks the relays of the call with this number: live ones if there are any, else draining ones, else any. Calls with
/// successive numbers spread evenly, over both places.
pub(super) fn relays_for(states: impl Iterator<Item = RelayState> + Clone, call: usize) -> Vec<usize> {
    let Some(best) = states.clone().min() else { return Vec::new() };
    let usable: Vec<usize> =
        states.enumerate().filter(|(_, state)| *state == best).map(|(relay, _)| relay).collect();
    let first = call % usable.len();
    (0..usable.len().min(RELAYS_PER_CALL)).map(|step| usable[(first + step) % usable.len()]).collect()
}

/// The candidates of these relays, UDP before TCP: a client takes TCP only where UDP does not get through.
pub(super) fn candidates<'a>(
    relays: impl Iterator<Item = &'a [RelayCandidate]> + Clone,
) -> Vec<RelayCandidate> {
    let by = |transport| {
        relays.clone().flatten().filter(move |candidate| candidate.transport == transport).copied()
    };
    by(ClientTransport::Udp).chain(by(ClientTransport::Tcp)).collect()
}

/// The address a client reached a relay at: the candidate of its transport and, if there are several, of its address
/// family.
pub(super) fn reached_at(
    candidates: &[RelayCandidate],
    client: SocketAddr,
    transport: ClientTransport,
) -> Option<SocketAddr> {
    let fitting = candidates.iter().filter(|candidate| candidate.transport == transport);
    let of_family = |candidate: &&RelayCandidate| candidate.address.is_ipv4() == client.is_ipv4();
    fitting.clone().find(of_family).or_else(|| fitting.clone().next()).map(|candidate| candidate.address)
}

#[cfg(test)]
mod tests {
    use super::RelayState::{Alive, Draining, Silent};
    use super::*;

    fn pick(states: &[RelayState], call: usize) -> Vec<usize> {
        relays_for(states.iter().copied(), call)
    }

    #[test]
    fn two_live_relays_take_turns_in_being_first() {
        assert_eq!(pick(&[Alive, Alive], 0), [0, 1]);
        assert_eq!(pick(&[Alive, Alive], 1), [1, 0]);
    }

    #[test]
    fn three_live_relays_are_first_and_second_equally_often() {
        let mut counts = [[0; 3]; 2];
        for call in 0..300 {
            for (place, relay) in pick(&[Alive, Alive, Alive], call).into_iter().enumerate() {
                counts[place][relay] += 1;
            }
        }
        assert_eq!(counts, [[100; 3]; 2]);
    }

    #[test]
    fn a_relay_that_drains_or_is_silent_gets_no_call_while_another_lives() {
        for call in 0..10 {
            assert_eq!(pick(&[Silent, Alive, Draining], call), [1]);
            assert_eq!(pick(&[Silent, Draining], call), [1]);
        }
    }

    #[test]
    fn silent_relays_are_better_than_none() {
        assert_eq!(pick(&[Silent, Silent], 1), [1, 0]);
        assert_eq!(pick(&[], 0), [0_usize; 0]);
    }

    fn candidate(port: u16, transport: ClientTransport) -> RelayCandidate {
        RelayCandidate { address: ([192, 0, 2, 1], port).into(), transport }
    }

    #[test]
    fn udp_of_every_relay_comes_before_tcp_of_any() {
        let first = [candidate(1, ClientTransport::Tcp), candidate(2, ClientTransport::Udp)];
        let second = [candidate(3, ClientTransport::Udp), candidate(4, ClientTransport::Tcp)];
        let ports: Vec<u16> = candidates([&first[..], &second[..]].into_iter())
            .iter()
            .map(|found| found.address.port())
            .collect();
        assert_eq!(ports, [2, 3, 1, 4]);
    }

    #[test]
    fn a_client_reached_the_candidate_of_its_transport_and_family() {
        let six =
            RelayCandidate { address: "[2001:db8::1]:2".parse().unwrap(), transport: ClientTransport::Udp };
        let all = [candidate(1, ClientTransport::Udp), six, candidate(3, ClientTransport::Tcp)];
        let reached = |client: &str, transport| {
            reached_at(&all, client.parse().unwrap(), transport).map(|address| address.port())
        };
        assert_eq!(reached("203.0.113.9:9", ClientTransport::Udp), Some(1));
        assert_eq!(reached("[2001:db8::9]:9", ClientTransport::Udp), Some(2));
        assert_eq!(reached("[2001:db8::9]:9", ClientTransport::Tcp), Some(3));
        assert_eq!(reached_at(&all[..2], ([203, 0, 113, 9], 9).into(), ClientTransport::Tcp), None);
    }
}
