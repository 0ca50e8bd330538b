//! The allow-list of one relay: which keys open ufrags, and which nodes it may send to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use voxgate_protocol::id::NodeIndex;
use voxgate_relay::core::{Directory, NodeEntry};
use voxgate_relay::tunnel::TunnelKey;
use voxgate_relay::ufrag::{KeyRing, UfragError, UfragKey};

/// Nodes one list may name. A cell has some hundred transceivers; the bound is for a control plane gone wrong.
const MOST_NODES: usize = 4096;
/// Node indices that fit a ufrag.
const LARGEST_NODE: u32 = (1 << 24) - 1;

/// Why a list is of no use. The relay keeps the one it has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum ListError {
    /// A key id above 15.
    #[error("the allow-list has an impossible ufrag key: {0}")]
    UfragKey(#[from] UfragError),
    /// An index above 24 bits or twice on the list.
    #[error("the allow-list names node {0} twice, or its index needs more than 24 bits")]
    Node(u32),
    /// An address nothing can be sent to.
    #[error("the address of node {0} on the allow-list cannot be sent to")]
    Address(u32),
    /// More than [`MOST_NODES`].
    #[error("the allow-list has more than {MOST_NODES} nodes")]
    TooLong,
}

/// What a relay needs to know, whole. It replaces what the relay knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AllowList {
    /// Names this content. Compared for equality only: a gateway that starts anew does not count on.
    pub(crate) revision: u64,
    /// The keys of ufrags: the current one and those of sessions that may still live.
    pub(crate) ufrag_keys: Vec<UfragKeyRecord>,
    /// The nodes.
    pub(crate) nodes: Vec<NodeRecord>,
}

/// A key ufrags are sealed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UfragKeyRecord {
    /// 0 to 15.
    pub(crate) id: u8,
    /// The relay group whose ufrags it seals.
    #[serde(default)]
    pub(crate) group: u32,
    /// The key.
    pub(crate) secret: Secret<16>,
}

impl UfragKeyRecord {
    /// The key in the form that seals and opens.
    pub(crate) fn key(&self) -> Result<UfragKey, UfragError> {
        UfragKey::new(self.id, self.secret.0, self.group)
    }
}

/// A transceiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// Its index in ufrags.
    pub(crate) index: u32,
    /// Its present life.
    pub(crate) epoch: u8,
    /// Its tunnel socket.
    pub(crate) address: SocketAddr,
    /// The key of the tunnel between the relay of this list and the node.
    pub(crate) tunnel_key: TunnelKeyRecord,
}

/// The key of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TunnelKeyRecord {
    /// The id frames name it by.
    pub(crate) id: u8,
    /// The key.
    pub(crate) secret: Secret<32>,
}

impl TunnelKeyRecord {
    /// The key in the form that signs frames.
    pub(crate) fn key(&self) -> TunnelKey {
        TunnelKey::new(self.id, self.secret.0)
    }
}

impl AllowList {
    /// The list in the form the relay works with.
    ///
    /// # Errors
    /// [`ListError`], for a list no correct control plane sends.
    pub(crate) fn directory(&self) -> Result<Directory, ListError> {
        if self.nodes.len() > MOST_NODES {
            return Err(ListError::TooLong);
        }
        let keys = self.ufrag_keys.iter().map(UfragKeyRecord::key).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        let mut nodes = BTreeMap::new();
        for node in &self.nodes {
            if node.index > LARGEST_NODE || !seen.insert(node.index) {
                return Err(ListError::Node(node.index));
            }
            if node.address.port() == 0 || node.address.ip().is_unspecified() {
                return Err(ListError::Address(node.index));
            }
            let entry = NodeEntry { address: node.address, key: node.tunnel_key.key(), epoch: node.epoch };
            nodes.insert(NodeIndex(node.index), entry);
        }
        Ok(Directory { key_ring: KeyRing::new(keys), nodes })
    }
}

/// Key material: base64 on the wire and in files, nothing in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Secret<N> {
    /// A new one from the operating system.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom(format!("a secret is {N} bytes of base64")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> AllowList {
        AllowList {
            revision: 1_800_000_000_000_000,
            ufrag_keys: vec![UfragKeyRecord { id: 0, group: 0, secret: Secret([1; 16]) }],
            nodes: vec![NodeRecord {
                index: 1,
                epoch: 9,
                address: "127.0.0.1:4000".parse().unwrap(),
                tunnel_key: TunnelKeyRecord { id: 0, secret: Secret([2; 32]) },
            }],
        }
    }

    #[test]
    fn a_list_survives_the_wire_and_shows_no_secret_in_debug_output() {
        let text = serde_json::to_string(&list()).unwrap();
        assert_eq!(serde_json::from_str::<AllowList>(&text).unwrap(), list());
        let secret = STANDARD.encode([1; 16]);
        assert!(text.contains(&secret));
        assert!(!format!("{:?}", list()).contains(&secret));
        assert!(list().directory().is_ok());
    }

    #[test]
    fn lists_no_control_plane_should_send_are_refused() {
        let mut twice = list();
        twice.nodes.push(twice.nodes[0].clone());
        assert_eq!(twice.directory().unwrap_err(), ListError::Node(1));
        let mut nowhere = list();
        nowhere.nodes[0].address.set_port(0);
        assert_eq!(nowhere.directory().unwrap_err(), ListError::Address(1));
        let mut key = list();
        key.ufrag_keys[0].id = 16;
        assert_eq!(key.directory().unwrap_err(), ListError::UfragKey(UfragError::KeyId));
        let short = "{\"id\":1,\"secret\":\"AAAA\"}";
        assert!(serde_json::from_str::<UfragKeyRecord>(short).is_err());
    }
}
