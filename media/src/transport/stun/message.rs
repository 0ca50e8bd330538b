//! The form of STUN messages: attributes read and written, digest and checksum (RFC 8489 section 5).

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{StunRejection, TransactionId};

/// Length of a STUN header (RFC 8489 section 5).
pub(super) const HEADER: usize = 20;
pub(super) const MAGIC_COOKIE: u32 = 0x2112_A442;
pub(super) const BINDING_REQUEST: u16 = 0x0001;
pub(super) const BINDING_SUCCESS: u16 = 0x0101;
pub(super) const BINDING_ERROR: u16 = 0x0111;
pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
pub(super) const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;
pub(super) const ICE_CONTROLLING: u16 = 0x802A;
/// Length of an HMAC-SHA1 digest.
pub(super) const DIGEST: usize = 20;
/// RFC 8489 section 14.7.
pub(super) const FINGERPRINT_XOR: u32 = 0x5354_554E;
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Kind, value and where the next one starts.
pub(super) type Attribute<'a> = (u16, &'a [u8], usize);

/// The attribute at `at`; `None` at the end of the message.
pub(super) fn attribute(datagram: &[u8], at: usize) -> Result<Option<Attribute<'_>>, StunRejection> {
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
pub(super) fn verify_integrity(
    datagram: &[u8],
    at: usize,
    digest: &[u8],
    password: &str,
) -> Result<(), StunRejection> {
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

pub(super) fn xor_address(address: SocketAddr, transaction: TransactionId) -> Vec<u8> {
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
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
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
    pub(super) fn seal(mut self, password: &str) -> Vec<u8> {
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
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
