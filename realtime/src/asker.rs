//! Who sent a client event, so that an answer to it finds its way back.

/// Names a sideband connection within its call. The gateway chooses it and never uses it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SidebandId(pub u64);

/// The connection an event came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client itself: data channel or WebSocket.
    Client,
    /// A connection attached to the client's session.
    Sideband(SidebandId),
}

/// The sender of a client event and the name it gave the event.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) origin: Origin,
    pub(crate) event_id: Option<String>,
}
