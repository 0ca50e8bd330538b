//! What a relay counts.

/// Counters since the relay's start, and the present sizes of its flow table. Every client datagram is counted in
/// `up_datagrams` or in exactly one `drop_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Datagrams that came to the public socket.
    pub client_datagrams: u64,
    /// Their bytes.
    pub client_bytes: u64,
    /// Datagrams that came to the tunnel socket.
    pub tunnel_datagrams: u64,
    /// Client datagrams handed to a node.
    pub up_datagrams: u64,
    /// Their bytes, without tunnel headers.
    pub up_bytes: u64,
    /// Datagrams handed to a client.
    pub down_datagrams: u64,
    /// Their bytes.
    pub down_bytes: u64,
    /// Hellos sent to nodes.
    pub hellos_sent: u64,

    /// Assured flows made.
    pub confirmed: u64,
    /// Assured flows that changed node or session.
    pub moved: u64,
    /// Flows a node released.
    pub released: u64,
    /// Assured flows that ended idle.
    pub expired_assured: u64,
    /// Half-open entries that ended by age.
    pub expired_half_open: u64,
    /// Assured flows at present.
    pub assured_flows: u64,
    /// Half-open entries at present.
    pub half_open_flows: u64,
    /// Confirmations refused because another node's flow lives at the address.
    pub refused_takeover: u64,
    /// Confirmations refused because the table was full.
    pub refused_assured_full: u64,

    /// From an address no client can have, or from the relay itself.
    pub drop_client_address: u64,
    /// Larger than the tunnel carries, or cut by the receive buffer.
    pub drop_client_oversize: u64,
    /// Neither STUN nor DTLS nor RTP nor RTCP.
    pub drop_client_class: u64,
    /// A binding request without a usable USERNAME.
    pub drop_no_ufrag: u64,
    /// A ufrag that is not a sealed one.
    pub drop_foreign_ufrag: u64,
    /// A sealed ufrag under a key this relay does not hold.
    pub drop_unknown_ufrag_key: u64,
    /// A sealed ufrag that is not authentic.
    pub drop_forged_ufrag: u64,
    /// A valid ufrag of a session that has ended.
    pub drop_ended_session: u64,
    /// A valid ufrag or a flow whose node is not on the list, or has restarted.
    pub drop_unknown_node: u64,
    /// A request from a new address while the table of half-open entries was full.
    pub drop_half_open_full: u64,
    /// STUN other than a binding request without an assured flow.
    pub drop_unassured_stun: u64,
    /// DTLS without an assured flow.
    pub drop_unassured_dtls: u64,
    /// RTP or RTCP without an assured flow.
    pub drop_unassured_media: u64,

    /// On the tunnel socket: not shaped like a frame.
    pub drop_tunnel_malformed: u64,
    /// A frame of no listed node, or not from that node's address.
    pub drop_tunnel_unlisted: u64,
    /// A frame whose tag or key is wrong.
    pub drop_tunnel_forged: u64,
    /// A frame of another relay, or one a relay sends.
    pub drop_tunnel_misdirected: u64,
    /// A frame received before.
    pub drop_tunnel_replayed: u64,
    /// Frames whose node did not know the relay's present life. Not drops: datagrams in them are still sent.
    pub tunnel_stale_epoch: u64,
    /// A frame for an address no client can have.
    pub drop_down_address: u64,
    /// A datagram of no bytes for a client.
    pub drop_down_empty: u64,
    /// Anything but STUN for an unconfirmed address.
    pub drop_down_unassured_class: u64,
    /// More bytes for an unconfirmed address than came from it.
    pub drop_down_budget: u64,

    /// Counted by the shell: datagrams the kernel dropped because a receive buffer was full.
    pub socket_overflows: u64,
    /// Counted by the shell: failed receives.
    pub receive_errors: u64,
    /// Counted by the shell: datagrams the kernel refused to send.
    pub send_errors: u64,
}
