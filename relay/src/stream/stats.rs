//! What the stream port counts.

/// Counters of connections; everything inside frames counts in [`crate::core::RelayStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Connections at this moment.
    pub open: u64,
    /// Connections accepted, those with TLS included.
    pub accepted: u64,
    /// TLS handshakes completed.
    pub accepted_tls: u64,
    /// Failures of the system to give a connection or to set it up.
    pub accept_errors: u64,
    /// Connections refused because there are too many.
    pub refused_full: u64,
    /// Connections refused because their source has too many.
    pub refused_source: u64,
    /// Closed: no valid first frame in time.
    pub closed_late: u64,
    /// Closed: the first frame named no session.
    pub closed_unproven: u64,
    /// Closed: a TLS handshake failed, or TLS is not offered.
    pub closed_tls: u64,
    /// Closed: a frame above the largest.
    pub closed_oversize: u64,
    /// Closed: silent for too long.
    pub closed_idle: u64,
    /// Closed: another connection from the same address and port came.
    pub closed_replaced: u64,
    /// Closed by the other end or by the network.
    pub closed_by_client: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Datagrams dropped because too many bytes waited for the connection.
    pub drop_queue_full: u64,
    /// Datagrams dropped because they had waited too long for the connection.
    pub drop_queue_stale: u64,
    /// Datagrams for a client whose connection is gone.
    pub drop_no_connection: u64,
    /// Frames towards a node that the kernel refused.
    pub tunnel_send_errors: u64,
}

impl StreamStats {
    /// What happened to connections, by name.
    #[must_use]
    pub const fn events(&self) -> [(&'static str, u64); 13] {
        [
            ("accepted", self.accepted),
            ("accepted_tls", self.accepted_tls),
            ("accept_error", self.accept_errors),
            ("refused_full", self.refused_full),
            ("refused_source", self.refused_source),
            ("closed_late", self.closed_late),
            ("closed_unproven", self.closed_unproven),
            ("closed_tls", self.closed_tls),
            ("closed_oversize", self.closed_oversize),
            ("closed_idle", self.closed_idle),
            ("closed_replaced", self.closed_replaced),
            ("closed_by_client", self.closed_by_client),
            ("tunnel_send_error", self.tunnel_send_errors),
        ]
    }

    /// Datagrams for clients that were dropped here, by reason.
    #[must_use]
    pub const fn drops(&self) -> [(&'static str, u64); 3] {
        [
            ("stream_full", self.drop_queue_full),
            ("stream_stale", self.drop_queue_stale),
            ("stream_gone", self.drop_no_connection),
        ]
    }
}
