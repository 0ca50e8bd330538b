//! STUN binding requests as an ICE-lite agent needs them (RFC 8489, RFC 8445 section 7.3): check one, answer one.
//!
//! Nothing here trusts a length field or a byte order of the peer: every read is bounded by the datagram.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Length of a STUN header (RFC 8489 section 5).
const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;
/// Length of an HMAC-SHA1 digest.
const DIGEST: usize = 20;
/// RFC 8489 section 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554E;
/// No check of a real peer is larger; a bigger one is not worth a digest.
const LARGEST_CHECK: usize = 1500;

/// Identifies one request and its answer.
pub(super) type TransactionId = [u8; 12];

/// A connectivity check whose MESSAGE-INTEGRITY was correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BindingRequest {
    pub(super) transaction: TransactionId,
    /// The peer wants this path to carry the call (USE-CANDIDATE).
    pub(super) nominated: bool,
    /// The peer believes that we control the session; as a lite agent we never do.
    pub(super) peer_is_controlled: bool,
}

/// Why a datagram is not a check we answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum StunRejection {
    #[error("the datagram is not a STUN binding request")]
    NotABindingRequest,
    #[error("the STUN attributes do not add up to the datagram")]
    Malformed,
    #[error("the check names other credentials")]
    Username,
    #[error("the check carries no correct MESSAGE-INTEGRITY")]
    Integrity,
}

impl BindingRequest {
    /// Reads a check addressed to `username` (`local:remote` fragments) and signed with `password`.
    pub(super) fn verify(datagram: &[u8], username: &str, password: &str) -> Result<Self, StunRejection> {
        let transaction = binding_request_transaction(datagram).ok_or(StunRejection::NotABindingRequest)?;
        let mut seen = Self { transaction, nominated: false, peer_is_controlled: false };
        let mut addressed = false;
        let mut at = HEADER;
        while let Some((kind, value, next)) = attribute(datagram, at)? {
            match kind {
                USERNAME if value == username.as_bytes() => addressed = true,
                USERNAME => return Err(StunRejection::Username),
                USE_CANDIDATE => seen.nominated = true,
                ICE_CONTROLLED => seen.peer_is_controlled = true,
                MESSAGE_INTEGRITY if !addressed => return Err(StunRejection::Username),
                // What follows the digest is not covered by it, so nothing behind it is read.
                MESSAGE_INTEGRITY => {
                    return verify_integrity(datagram, at, value, password).map(|()| seen);
                }
                _ => {}
            }
            at = next;
        }
        Err(StunRejection::Integrity)
    }
}

/// The transaction of a well-framed binding request, whoever signed it.
pub(super) fn binding_request_transaction(datagram: &[u8]) -> Option<TransactionId> {
    if datagram.len() < HEADER || datagram.len() > LARGEST_CHECK {
        return None;
    }
    let length = usize::from(u16_at(datagram, 2)?);
    let framed = length % 4 == 0 && HEADER + length == datagram.len();
    let request =
        u16_at(datagram, 0)? == BINDING_REQUEST && datagram.get(4..8)? == MAGIC_COOKIE.to_be_bytes();
    if !framed || !request {
        return None;
    }
    datagram.get(8..HEADER)?.try_into().ok()
}

/// A success response that tells `client` its own address (RFC 8489 section 14.2).
pub(super) fn binding_success(transaction: TransactionId, client: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_SUCCESS, transaction);
    message.attribute(XOR_MAPPED_ADDRESS, &xor_address(client, transaction));
    message.seal(password)
}

/// Error 487: the peer took the controlled role, which a lite agent cannot give up (RFC 8445 section 7.3.1.1).
pub(super) fn role_conflict(transaction: TransactionId, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_ERROR, transaction);
    message.attribute(ERROR_CODE, b"\0\0\x04\x57Role Conflict");
    message.seal(password)
}

/// A nominating check of a controlling agent.
pub(super) fn nominating_check(transaction: TransactionId, username: &str, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_REQUEST, transaction);
    message.attribute(USERNAME, username.as_bytes());
    message.attribute(PRIORITY, &1u32.to_be_bytes());
    message.attribute(ICE_CONTROLLING, &1u64.to_be_bytes());
    message.attribute(USE_CANDIDATE, &[]);
    message.seal(password)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Kind, value and where the next one starts.
type Attribute<'a> = (u16, &'a [u8], usize);

/// The attribute at `at`; `None` at the end of the message.
fn attribute(datagram: &[u8], at: usize) -> Result<Option<Attribute<'_>>, StunRejection> {
    if at == datagram.len() {
        return Ok(None);
    }
    let header = u16_at(datagram, at).zip(u16_at(datagram, at + 2));
    let (kind, length) = header.ok_or(StunRejection::Malformed)?;
    let start = at + 4;
    let value = datagram.get(start..start + usize::from(length)).ok_or(StunRejection::Malformed)?;
    let next = start + usize::from(length).next_multiple_of(4);
    if next > datagram.len() {
        return Err(StunRejection::Malformed);
    }
    Ok(Some((kind, value, next)))
}

/// Checks the digest of the MESSAGE-INTEGRITY attribute that starts at `at` (RFC 8489 section 14.5).
fn verify_integrity(datagram: &[u8], at: usize, digest: &[u8], password: &str) -> Result<(), StunRejection> {
    let covered = datagram.get(..at).ok_or(StunRejection::Malformed)?;
    let mut mac = keyed(password);
    feed(&mut mac, covered, at + 4 + DIGEST - HEADER);
    mac.verify_slice(digest).map_err(|_| StunRejection::Integrity)
}

/// Feeds a message to `mac` as if its header announced `length` bytes of attributes.
fn feed(mac: &mut Hmac<Sha1>, message: &[u8], length: usize) {
    let (head, tail) = message.split_at(message.len().min(4));
    mac.update(head.get(..2).unwrap_or_default());
    mac.update(&(length as u16).to_be_bytes());
    mac.update(tail);
}

fn keyed(password: &str) -> Hmac<Sha1> {
    Hmac::new_from_slice(password.as_bytes()).expect("HMAC takes a key of any length (RFC 2104)")
}

fn xor_address(address: SocketAddr, transaction: TransactionId) -> Vec<u8> {
    let mut mask = MAGIC_COOKIE.to_be_bytes().to_vec();
    mask.extend_from_slice(&transaction);
    let (family, octets) = match address.ip().to_canonical() {
        IpAddr::V4(ip) => (1u8, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2u8, ip.octets().to_vec()),
    };
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let mut value = vec![0, family];
    value.extend_from_slice(&port.to_be_bytes());
    value.extend(octets.iter().zip(&mask).map(|(octet, mask)| octet ^ mask));
    value
}

/// A message being written; the header's length follows every attribute.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.announce(self.bytes.len() - HEADER);
    }

    fn announce(&mut self, length: usize) {
        if let Some(field) = self.bytes.get_mut(2..4) {
            field.copy_from_slice(&(length as u16).to_be_bytes());
        }
    }

    /// Signs the message and adds the fingerprint.
    fn seal(mut self, password: &str) -> Vec<u8> {
        let mut mac = keyed(password);
        feed(&mut mac, &self.bytes, self.bytes.len() + 4 + DIGEST - HEADER);
        self.attribute(MESSAGE_INTEGRITY, &mac.finalize().into_bytes());
        self.announce(self.bytes.len() + 8 - HEADER);
        let checksum = crc32(&self.bytes) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &checksum.to_be_bytes());
        self.bytes
    }
}

/// CRC-32 of ITU V.42, bit by bit: a check is short and rare.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests;
