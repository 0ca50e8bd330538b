//! The sealed ufrag: a routing hint only the relay can read and nobody can forge.
//!
//! Forty ice-chars (RFC 8839, section 5.4). The first carries format version and key id; the other 39 are the base64 of
//! 29 bytes: a [`Route`] of 13 bytes encrypted with AES-128-GCM-SIV (RFC 8452) under a nonce fixed per key, and its
//! 16-byte tag. The cipher tolerates a repeated nonce: equal routes give equal ufrags and nothing else leaks. A node is
//! an index into the relay's allow-list, never an address, so a ufrag can reach registered transceivers only.

use std::fmt;
use std::time::Duration;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes128GcmSiv, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use thiserror::Error;
use voxgate_protocol::id::NodeIndex;

#[cfg(test)]
mod tests;

/// Length of a sealed ufrag in characters, all of them ice-chars.
pub const UFRAG_LENGTH: usize = 40;

const ROUTE: usize = 13;
const TAG: usize = 16;
const SEALED: usize = ROUTE + TAG;
const VERSION: u8 = 1;
const LARGEST_NODE: u32 = (1 << 24) - 1;
const LABEL: &[u8; 20] = b"voxgate-sealed-ufrag";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Why a ufrag could not be sealed or opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UfragError {
    /// A key id above 15.
    #[error("a ufrag key id must be 0 to 15")]
    KeyId,
    /// A node index that does not fit 24 bits.
    #[error("a node index must fit 24 bits")]
    Node,
    /// Not a sealed ufrag of this version: wrong length, alphabet or version.
    #[error("not a sealed ufrag")]
    Format,
    /// Sealed with a key this ring does not hold.
    #[error("the ufrag names an unknown key")]
    UnknownKey,
    /// Forged, altered, or sealed for another relay group.
    #[error("the ufrag is not authentic")]
    Forged,
}

/// Where a sealed ufrag leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The cell the node belongs to.
    pub cell: u16,
    /// The transceiver, as an index of at most 24 bits into the relay's allow-list.
    pub node: NodeIndex,
    /// Which life of the node holds the session.
    pub node_epoch: u8,
    /// When the session ends at the latest, as [`session_end_minutes`] counts.
    pub session_end_minutes: u16,
    /// Random bits that tell the sessions of a node apart; also the session tag of tunnel frames.
    pub random: u32,
    /// Reserved bits, carried and not read by the relay.
    pub flags: u8,
}

impl Route {
    fn to_bytes(self) -> [u8; ROUTE] {
        let [cell_0, cell_1] = self.cell.to_be_bytes();
        let [_, node_0, node_1, node_2] = self.node.0.to_be_bytes();
        let [end_0, end_1] = self.session_end_minutes.to_be_bytes();
        let [random_0, random_1, random_2, random_3] = self.random.to_be_bytes();
        [
            cell_0,
            cell_1,
            node_0,
            node_1,
            node_2,
            self.node_epoch,
            end_0,
            end_1,
            random_0,
            random_1,
            random_2,
            random_3,
            self.flags,
        ]
    }

    const fn from_bytes(bytes: [u8; ROUTE]) -> Self {
        let [cell_0, cell_1, node_0, node_1, node_2, node_epoch, end_0, end_1, r_0, r_1, r_2, r_3, flags] =
            bytes;
        Self {
            cell: u16::from_be_bytes([cell_0, cell_1]),
            node: NodeIndex(u32::from_be_bytes([0, node_0, node_1, node_2])),
            node_epoch,
            session_end_minutes: u16::from_be_bytes([end_0, end_1]),
            random: u32::from_be_bytes([r_0, r_1, r_2, r_3]),
            flags,
        }
    }

    /// Whether the session's end lies more than `grace` before `now`, both on the wrapping minute clock; unambiguous
    /// while the end is less than 22 days away.
    #[must_use]
    pub fn has_ended(&self, now_minutes: u16, grace: Duration) -> bool {
        let past = now_minutes.wrapping_sub(self.session_end_minutes).cast_signed();
        past > 0 && Duration::from_secs(60 * u64::from(past.unsigned_abs())) > grace
    }
}

/// Minutes since the Unix epoch, wrapping every 45.5 days, as [`Route::session_end_minutes`] holds them.
#[must_use]
pub const fn session_end_minutes(since_unix_epoch: Duration) -> u16 {
    let [.., high, low] = (since_unix_epoch.as_secs() / 60).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// A sealed ufrag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ufrag([u8; UFRAG_LENGTH]);

impl Ufrag {
    /// The characters, as they go into SDP.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Ufrag {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Ufrag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Ufrag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ufrag({})", self.as_str())
    }
}

/// A key that seals ufrags for one group of relays.
#[derive(Clone)]
pub struct UfragKey {
    id: u8,
    cipher: Aes128GcmSiv,
    associated: [u8; LABEL.len() + 4],
}

impl UfragKey {
    /// A key by its id (0 to 15), its secret, and the relay group whose ufrags it seals.
    ///
    /// # Errors
    /// [`UfragError::KeyId`] for an id above 15.
    pub fn new(id: u8, secret: [u8; 16], group: u32) -> Result<Self, UfragError> {
        if id > 15 {
            return Err(UfragError::KeyId);
        }
        let mut associated = [0; LABEL.len() + 4];
        let (label, tail) = associated.split_at_mut(LABEL.len());
        label.copy_from_slice(LABEL);
        tail.copy_from_slice(&group.to_be_bytes());
        Ok(Self { id, cipher: Aes128GcmSiv::new(&secret.into()), associated })
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[11] = self.id;
        nonce.into()
    }

    fn open(&self, mut sealed: [u8; SEALED]) -> Result<Route, UfragError> {
        let (route, tag) = sealed.split_at_mut(ROUTE);
        let tag = Tag::try_from(&*tag).map_err(|_| UfragError::Format)?;
        self.cipher
            .decrypt_inout_detached(&self.nonce(), &self.associated, (&mut *route).into(), &tag)
            .map_err(|_| UfragError::Forged)?;
        let route: [u8; ROUTE] = (&*route).try_into().map_err(|_| UfragError::Format)?;
        Ok(Route::from_bytes(route))
    }
}

impl fmt::Debug for UfragKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UfragKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Seals a route. The same key and route always give the same ufrag.
///
/// # Errors
/// [`UfragError::Node`] when the node index needs more than 24 bits.
pub fn seal(key: &UfragKey, route: &Route) -> Result<Ufrag, UfragError> {
    if route.node.0 > LARGEST_NODE {
        return Err(UfragError::Node);
    }
    let mut sealed = [0; SEALED];
    let (body, tail) = sealed.split_at_mut(ROUTE);
    body.copy_from_slice(&route.to_bytes());
    let tag = key
        .cipher
        .encrypt_inout_detached(&key.nonce(), &key.associated, (&mut *body).into())
        .map_err(|_| UfragError::Format)?;
    tail.copy_from_slice(&tag);

    let mut characters = [0; UFRAG_LENGTH];
    let (first, rest) = characters.split_at_mut(1);
    first.copy_from_slice(&[ALPHABET[usize::from((VERSION << 4) | key.id)]]);
    STANDARD_NO_PAD.encode_slice(sealed, rest).map_err(|_| UfragError::Format)?;
    Ok(Ufrag(characters))
}

/// The keys a relay opens ufrags with, by key id: the current one and those of sessions that may still live.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: [Option<UfragKey>; 16],
}

impl KeyRing {
    /// A ring of some keys; of several with one id the last counts.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = UfragKey>) -> Self {
        let mut ring = Self::default();
        for key in keys {
            ring.insert(key);
        }
        ring
    }

    /// Adds a key, replacing one of the same id.
    pub fn insert(&mut self, key: UfragKey) {
        let slot = usize::from(key.id);
        self.keys[slot] = Some(key);
    }

    /// Forgets a key: ufrags sealed with it lead nowhere from now on.
    pub fn remove(&mut self, id: u8) {
        if let Some(slot) = self.keys.get_mut(usize::from(id)) {
            *slot = None;
        }
    }

    /// Opens a ufrag as it stood on the wire. The authenticity check takes constant time.
    ///
    /// # Errors
    /// [`UfragError::Format`], [`UfragError::UnknownKey`] or [`UfragError::Forged`].
    pub fn open(&self, ufrag: &[u8]) -> Result<Route, UfragError> {
        let characters: &[u8; UFRAG_LENGTH] = ufrag.try_into().map_err(|_| UfragError::Format)?;
        let (first, rest) = characters.split_first().ok_or(UfragError::Format)?;
        let head = ALPHABET.iter().zip(0_u8..).find(|(character, _)| *character == first);
        let (_, head) = head.ok_or(UfragError::Format)?;
        if head >> 4 != VERSION {
            return Err(UfragError::Format);
        }
        let key = self.keys[usize::from(head & 15)].as_ref().ok_or(UfragError::UnknownKey)?;
        let mut sealed = [0; SEALED];
        let length = STANDARD_NO_PAD.decode_slice(rest, &mut sealed).map_err(|_| UfragError::Format)?;
        if length != SEALED {
            return Err(UfragError::Format);
        }
        key.open(sealed)
    }
}
