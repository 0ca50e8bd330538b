//! The transceiver's end of the tunnel, played by the generator.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::tunnel::{Endpoint, EndpointError, FrameHeader, Lane, Outgoing, Side, TunnelKey};
use voxgate_relay::ufrag::{Route, Ufrag, UfragError, UfragKey, seal, session_end_minutes};

/// The relay's name in this benchmark.
pub const RELAY: RelayId = RelayId(1);
/// The node's name.
pub const NODE: NodeIndex = NodeIndex(1);
/// The node's life.
pub const NODE_EPOCH: u8 = 1;

/// The session of a flow: each has one of its own, and zero means none.
#[must_use]
pub const fn session_of(flow: u32) -> u32 {
    flow + 1
}

/// The key both processes of the benchmark know.
#[must_use]
pub fn tunnel_key() -> TunnelKey {
    TunnelKey::new(1, [0x51; 32])
}

/// The key ufrags are sealed with.
///
/// # Errors
/// None; the key's id is a valid one.
pub fn ufrag_key() -> Result<UfragKey, UfragError> {
    UfragKey::new(1, [0x15; 16], 1)
}

/// Seals the ufrag of a session, an hour long.
///
/// # Errors
/// None; the node's index is a valid one.
pub fn ufrag(key: &UfragKey, session: u32) -> Result<Ufrag, UfragError> {
    let end = session_end_minutes(since_unix_epoch() + Duration::from_hours(1));
    let route = Route {
        cell: 0,
        node: NODE,
        node_epoch: NODE_EPOCH,
        session_end_minutes: end,
        random: session,
        flags: 0,
    };
    seal(key, &route)
}

/// The node's end of its tunnel to the relay, shared by both directions.
#[derive(Clone, Debug)]
pub struct Node {
    endpoint: Rc<RefCell<Endpoint>>,
    frame: Vec<u8>,
}

impl Node {
    /// A node that has heard of no relay.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let endpoint = Endpoint::new(Side::Node, RELAY, NODE, Lane(0), tunnel_key(), now, since_unix_epoch());
        Self { endpoint: Rc::new(RefCell::new(endpoint)), frame: Vec::new() }
    }

    /// Seals a frame.
    ///
    /// # Errors
    /// Its payload is too long.
    pub fn seal(&mut self, now: Instant, outgoing: &Outgoing<'_>) -> anyhow::Result<&[u8]> {
        self.frame.clear();
        self.endpoint
            .borrow_mut()
            .seal(now, outgoing, &mut self.frame)
            .context("a frame cannot be sealed")?;
        Ok(&self.frame)
    }

    /// Verifies a frame; nothing of one that was seen before.
    ///
    /// # Errors
    /// It is not authentic.
    pub fn open(&mut self, now: Instant, bytes: &[u8]) -> anyhow::Result<Option<FrameHeader>> {
        match self.endpoint.borrow_mut().open(now, bytes) {
            Ok(frame) => Ok(Some(frame.header)),
            Err(EndpointError::Replayed) => Ok(None),
            Err(error) => bail!("the relay sent a frame that is not valid: {error}"),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

fn since_unix_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
