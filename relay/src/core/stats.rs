//! What a relay counts.

use std::iter::Sum;
use std::ops::AddAssign;

/// Makes the struct, its sum and its list of names from one list of counters.
macro_rules! counters {
    ($(#[$of_struct:meta])* $struct:ident { $($(#[$doc:meta])* $name:ident,)+ }) => {
        $(#[$of_struct])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $struct {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl $struct {
            /// Every counter with its name, in the order of their declaration.
            #[must_use]
            pub const fn named(&self) -> [(&'static str, u64); [$(stringify!($name)),+].len()] {
                [$((stringify!($name), self.$name)),+]
            }
        }

        impl AddAssign for $struct {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Sum for $struct {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                let mut sum = Self::default();
                all.for_each(|one| sum += one);
                sum
            }
        }
    };
}

counters! {
    /// Counters of one lane since its start, or the sum of several. Every client datagram is counted in `up_datagrams` or
    /// in exactly one `drop_*`.
    RelayStats {
        /// Datagrams that came to the public socket.
        client_datagrams,
        /// Their bytes.
        client_bytes,
        /// Datagrams that came to the tunnel socket.
        tunnel_datagrams,
        /// Client datagrams handed to a node.
        up_datagrams,
        /// Their bytes, without tunnel headers.
        up_bytes,
        /// Datagrams handed to a client.
        down_datagrams,
        /// Their bytes.
        down_bytes,
        /// Hellos sent to nodes.
        hellos_sent,

        /// Assured flows made.
        confirmed,
        /// Assured flows that changed node or session.
        moved,
        /// Flows a node released.
        released,
        /// Assured flows that ended idle.
        expired_assured,
        /// Half-open entries that ended by age.
        expired_half_open,
        /// Confirmations refused because another node's flow lives at the address.
        refused_takeover,
        /// Confirmations refused because the table was full.
        refused_assured_full,

        /// From an address no client can have, or from the relay itself.
        drop_client_address,
        /// Larger than the tunnel carries, or cut by the receive buffer.
        drop_client_oversize,
        /// Neither STUN nor DTLS nor RTP nor RTCP.
        drop_client_class,
        /// A binding request without a usable USERNAME.
        drop_no_ufrag,
        /// A ufrag that is not a sealed one.
        drop_foreign_ufrag,
        /// A sealed ufrag under a key this relay does not hold.
        drop_unknown_ufrag_key,
        /// A sealed ufrag that is not authentic.
        drop_forged_ufrag,
        /// A valid ufrag of a session that has ended.
        drop_ended_session,
        /// A valid ufrag or a flow whose node is not on the list, or has restarted.
        drop_unknown_node,
        /// A request from a new address while the table of half-open entries was full.
        drop_half_open_full,
        /// A valid request of an unconfirmed address above the rate its host may have.
        drop_rate_limited,
        /// STUN other than a binding request without an assured flow.
        drop_unassured_stun,
        /// DTLS without an assured flow.
        drop_unassured_dtls,
        /// RTP or RTCP without an assured flow.
        drop_unassured_media,
        /// Half-open entries replaced because their session had too many. Not a drop of a datagram.
        replaced_per_session,
        /// Half-open entries replaced because their host had too many. Not a drop of a datagram.
        replaced_per_host,

        /// On the tunnel socket: not shaped like a frame.
        drop_tunnel_malformed,
        /// A frame of no listed node, or not from that node's address.
        drop_tunnel_unlisted,
        /// A frame whose tag or key is wrong.
        drop_tunnel_forged,
        /// A frame of another relay or lane, or one a relay sends.
        drop_tunnel_misdirected,
        /// A frame received before.
        drop_tunnel_replayed,
        /// Frames whose node did not know the relay's present life. Not drops: datagrams in them are still sent.
        tunnel_stale_epoch,
        /// A frame for an address no client can have.
        drop_down_address,
        /// A datagram of no bytes for a client.
        drop_down_empty,
        /// Anything but STUN for an unconfirmed address.
        drop_down_unassured_class,
        /// More bytes for an unconfirmed address than came from it.
        drop_down_budget,

        /// Counted by the shell: a datagram for a TCP connection that is gone, or not this lane's.
        drop_down_stream_unknown,
        /// Counted by the shell: datagrams the kernel dropped because a receive buffer was full.
        socket_overflows,
        /// Counted by the shell: failed receives.
        receive_errors,
        /// Counted by the shell: datagrams the kernel refused to send.
        send_errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_two_lanes_adds_every_counter() {
        let one = RelayStats { up_datagrams: 2, send_errors: 1, ..RelayStats::default() };
        let other = RelayStats { up_datagrams: 3, ..RelayStats::default() };
        let sum: RelayStats = [one, other].into_iter().sum();
        assert_eq!(sum, RelayStats { up_datagrams: 5, send_errors: 1, ..RelayStats::default() });
        assert_eq!(sum.named().iter().filter(|(_, count)| *count > 0).count(), 2);
    }
}
