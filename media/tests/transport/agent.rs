//! The STUN of a scripted ICE agent: checks and answers a test can say at will.

use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use voxgate_media::transport::Path;

use crate::call::{Call, PASSWORD, UFRAG};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const HEADER: usize = 20;
const DIGEST: usize = 20;

/// The ICE credentials of both sides.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) server: (String, String),
    pub(crate) caller: (String, String),
}

impl Credentials {
    /// Those a call began with.
    pub(crate) fn of(call: &Call) -> Self {
        Self { server: (UFRAG.to_owned(), PASSWORD.to_owned()), caller: from_description(&call.offer) }
    }

    /// A check of the caller.
    pub(crate) fn check(&self, number: u8, nominated: bool) -> Vec<u8> {
        let username = format!("{}:{}", self.server.0, self.caller.0);
        let mut attributes = vec![(0x0006, username.into_bytes()), (0x802A, vec![1; 8])];
        if nominated {
            attributes.push((0x0025, Vec::new()));
        }
        message(REQUEST, &[number; 12], &attributes, &self.server.1)
    }

    /// Whether `datagram` is a check of the server, addressed and signed as a controlled agent must.
    pub(crate) fn is_server_check(&self, datagram: &[u8]) -> bool {
        let username = format!("{}:{}", self.caller.0, self.server.0);
        let attributes = attributes(datagram);
        let value = |kind| attributes.iter().find(|(k, _, _)| *k == kind).map(|(_, value, _)| *value);
        let integrity = attributes.iter().find(|(kind, _, _)| *kind == 0x0008);
        is_request(datagram)
            && value(0x0006) == Some(username.as_bytes())
            && value(0x0024).is_some_and(|priority| priority.len() == 4)
            && value(0x8029).is_some_and(|tie_breaker| tie_breaker.len() == 8)
            && value(0x0025).is_none()
            && value(0x802A).is_none()
            && attributes.last().is_some_and(|(kind, _, _)| *kind == 0x8028)
            && integrity.is_some_and(|(_, digest, at)| *digest == sign(&datagram[..*at], &self.caller.1))
    }

    /// The caller's answer to a check of the server.
    pub(crate) fn success(&self, check: &[u8]) -> Vec<u8> {
        message(SUCCESS, &check[8..HEADER], &[(0x0020, vec![0, 1, 0, 0, 0, 0, 0, 0])], &self.caller.1)
    }

    /// The caller's refusal of a check of the server, as of an agent that believes to be controlled.
    pub(crate) fn role_conflict(&self, check: &[u8]) -> Vec<u8> {
        message(ERROR, &check[8..HEADER], &[(0x0009, b"\0\0\x04\x57".to_vec())], &self.caller.1)
    }
}

pub(crate) fn is_request(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[..2] == REQUEST.to_be_bytes()
}

/// ICE credentials named in a description.
pub(crate) fn from_description(sdp: &str) -> (String, String) {
    let value =
        |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start)).unwrap().trim().to_owned();
    (value("a=ice-ufrag:"), value("a=ice-pwd:"))
}

/// Whether the server answers this check of the caller when it comes on `path`.
pub(crate) fn is_answered(call: &mut Call, path: Path, check: &[u8]) -> bool {
    let before = call.sent.len();
    call.server.handle_datagram(call.now, path, check);
    call.pump();
    let transaction = &check[8..HEADER];
    call.sent[before..].iter().any(|(_, to, datagram)| {
        *to == path && datagram[..2] == SUCCESS.to_be_bytes() && &datagram[8..HEADER] == transaction
    })
}

/// Kind, value and where the attribute starts.
fn attributes(datagram: &[u8]) -> Vec<(u16, &[u8], usize)> {
    let mut found = Vec::new();
    let mut at = HEADER;
    while at < datagram.len() {
        let kind = u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        let length = usize::from(u16::from_be_bytes([datagram[at + 2], datagram[at + 3]]));
        found.push((kind, &datagram[at + 4..at + 4 + length], at));
        at += 4 + length.next_multiple_of(4);
    }
    found
}

fn message(kind: u16, transaction: &[u8], attributes: &[(u16, Vec<u8>)], password: &str) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&COOKIE);
    bytes.extend_from_slice(transaction);
    for (kind, value) in attributes {
        append(&mut bytes, *kind, value);
    }
    let digest = sign(&bytes, password);
    append(&mut bytes, 0x0008, &digest);
    let length = (bytes.len() - HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// MESSAGE-INTEGRITY over what comes before it.
fn sign(before: &[u8], password: &str) -> Vec<u8> {
    let mut covered = before.to_vec();
    let length = (before.len() + 4 + DIGEST - HEADER) as u16;
    covered[2..4].copy_from_slice(&length.to_be_bytes());
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).unwrap();
    mac.update(&covered);
    mac.finalize().into_bytes().to_vec()
}
