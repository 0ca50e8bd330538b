//! How signaling names this node in sealed ufrags, and the key it does so with.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use voxgate_protocol::id::NodeIndex;
use voxgate_relay::ufrag::{Route, UfragError, UfragKey, seal, session_end_minutes};

/// The key ufrags are sealed with at present, and the node they lead to.
///
/// The key changes under running calls. Ufrags sealed before keep working, because relays keep the keys of sessions that
/// may still live (see [`crate::control`]); nothing here opens a ufrag.
pub(crate) struct Sealing {
    node: NodeIndex,
    node_epoch: u8,
    key: RwLock<UfragKey>,
}

impl Sealing {
    /// Seals for this life of a node.
    pub(crate) const fn new(node: NodeIndex, node_epoch: u8, key: UfragKey) -> Self {
        Self { node, node_epoch, key: RwLock::new(key) }
    }

    /// The ufrag of a session: `tag` tells it from the node's others, `generation` counts its ICE restarts, and
    /// `session_end` is the latest moment it may last to, since the Unix epoch.
    ///
    /// # Errors
    /// [`UfragError::Node`] when the node index does not fit a ufrag.
    pub(crate) fn seal(&self, tag: u32, generation: u8, session_end: Duration) -> Result<String, UfragError> {
        let route = Route {
            cell: 0,
            node: self.node,
            node_epoch: self.node_epoch,
            session_end_minutes: session_end_minutes(session_end),
            random: tag,
            flags: generation,
        };
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        seal(&key, &route).map(|ufrag| ufrag.as_str().to_owned())
    }

    /// Seals with another key from now on.
    pub(crate) fn change_key(&self, key: UfragKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sealing").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use voxgate_relay::ufrag::KeyRing;

    use super::*;

    const END: Duration = Duration::from_secs(1_800_000_000);

    fn key(id: u8) -> UfragKey {
        UfragKey::new(id, [id; 16], 0).unwrap()
    }

    #[test]
    fn a_change_of_key_leaves_older_ufrags_valid_at_a_relay_that_holds_both_keys() {
        let sealing = Sealing::new(NodeIndex(7), 3, key(1));
        let before = sealing.seal(9, 0, END).unwrap();
        sealing.change_key(key(2));
        let after = sealing.seal(9, 1, END).unwrap();
        let ring = KeyRing::new([key(1), key(2)]);
        assert_eq!(ring.open(before.as_bytes()).unwrap().random, 9);
        assert_eq!(ring.open(after.as_bytes()).unwrap().flags, 1);
        assert!(KeyRing::new([key(1)]).open(after.as_bytes()).is_err());
    }
}
