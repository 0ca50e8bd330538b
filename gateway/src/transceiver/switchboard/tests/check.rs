//! Connectivity checks as a browser makes them (RFC 8445, section 7.2.2).

use hmac::{Hmac, Mac as _};
use sha1::Sha1;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLING: u16 = 0x802a;

fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap()
}

/// A nominating check to the side that gave `answer` from the side that gave `offer`.
pub(super) fn binding_request(answer: &str, offer: &str) -> Vec<u8> {
    let username = format!("{}:{}", value(answer, "a=ice-ufrag:"), value(offer, "a=ice-ufrag:"));
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend_from_slice(b"transaction1");
    attribute(&mut message, USERNAME, username.as_bytes());
    attribute(&mut message, PRIORITY, &1_u32.to_be_bytes());
    attribute(&mut message, ICE_CONTROLLING, &9_u64.to_be_bytes());
    attribute(&mut message, USE_CANDIDATE, &[]);
    // The digest covers a header that counts the digest's attribute too.
    set_length(&mut message, 24);
    let mut mac = Hmac::<Sha1>::new_from_slice(value(answer, "a=ice-pwd:").as_bytes()).unwrap();
    mac.update(&message);
    let digest = mac.finalize().into_bytes();
    attribute(&mut message, MESSAGE_INTEGRITY, &digest);
    set_length(&mut message, 0);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - 20 + more) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}
