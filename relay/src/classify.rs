//! What a datagram from a client is, read without trusting it.
//!
//! The relay looks at the first byte (RFC 7983, section 7), and of STUN messages at the header and the attribute list
//! (RFC 8489, sections 5 and 14). It never looks into DTLS, RTP or RTCP.

/// The STUN magic cookie (RFC 8489, section 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const STUN_HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];

const ATTRIBUTE_USERNAME: u16 = 0x0006;
const ATTRIBUTE_MESSAGE_INTEGRITY: u16 = 0x0008;
const ATTRIBUTE_MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;

/// The longest USERNAME of RFC 8489, section 14.3, in bytes.
const MAX_USERNAME: usize = 508;

/// The protocol of a datagram on a port shared by STUN, DTLS and RTP (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// First byte 0 to 3.
    Stun,
    /// First byte 20 to 63.
    Dtls,
    /// RTP or RTCP, plain or secured: first byte 128 to 191.
    Media,
    /// Empty, ZRTP, TURN channel data, QUIC, or unassigned: nothing a voxgate client sends.
    Other,
}

impl Class {
    /// Classifies a datagram by its first byte.
    #[must_use]
    pub const fn of(datagram: &[u8]) -> Self {
        match datagram.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63) => Self::Dtls,
            Some(128..=191) => Self::Media,
            _ => Self::Other,
        }
    }
}

/// Whether a datagram is a well-framed STUN binding request: type, cookie, and a length that is exactly the
/// datagram's.
#[must_use]
pub fn is_binding_request(datagram: &[u8]) -> bool {
    let Some((header, attributes)) = datagram.split_first_chunk::<STUN_HEADER>() else { return false };
    let [kind_0, kind_1, length_0, length_1, cookie_0, cookie_1, cookie_2, cookie_3, ..] = *header;
    [kind_0, kind_1] == BINDING_REQUEST
        && [cookie_0, cookie_1, cookie_2, cookie_3] == MAGIC_COOKIE
        && usize::from(u16::from_be_bytes([length_0, length_1])) == attributes.len()
        && attributes.len().is_multiple_of(4)
}

/// The server's ufrag in a STUN binding request: what stands before the colon of USERNAME (RFC 8445, section 7.2.2).
///
/// `None` when the datagram is no binding request or has no usable USERNAME before its integrity attribute; what
/// follows that attribute is not covered by it and is ignored (RFC 8489, section 14.5).
#[must_use]
pub fn binding_request_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    if !is_binding_request(datagram) {
        return None;
    }
    let mut rest = datagram.get(STUN_HEADER..)?;
    while let Some(([kind_0, kind_1, length_0, length_1], body)) = rest.split_first_chunk::<4>() {
        let kind = u16::from_be_bytes([*kind_0, *kind_1]);
        let length = usize::from(u16::from_be_bytes([*length_0, *length_1]));
        match kind {
            ATTRIBUTE_USERNAME if length <= MAX_USERNAME => return ufrag_of_username(body.get(..length)?),
            ATTRIBUTE_USERNAME | ATTRIBUTE_MESSAGE_INTEGRITY | ATTRIBUTE_MESSAGE_INTEGRITY_SHA256 => {
                return None;
            }
            _ => rest = body.get(length.next_multiple_of(4)..)?,
        }
    }
    None
}

fn ufrag_of_username(username: &[u8]) -> Option<&[u8]> {
    let colon = username.iter().position(|byte| *byte == b':')?;
    username.get(..colon).filter(|ufrag| !ufrag.is_empty())
}

/// Writes a minimal binding request with a USERNAME, as seeds and tests need it.
pub(crate) fn binding_request(username: &[u8], transaction: [u8; 12]) -> Vec<u8> {
    let padded = username.len().next_multiple_of(4);
    let mut message = Vec::with_capacity(STUN_HEADER + 4 + padded);
    message.extend_from_slice(&BINDING_REQUEST);
    message.extend_from_slice(&u16::try_from(4 + padded).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(&MAGIC_COOKIE);
    message.extend_from_slice(&transaction);
    message.extend_from_slice(&ATTRIBUTE_USERNAME.to_be_bytes());
    message.extend_from_slice(&u16::try_from(username.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(username);
    message.resize(STUN_HEADER + 4 + padded, 0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides_the_class() {
        for byte in 0..=u8::MAX {
            let expected = match byte {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Media,
                _ => Class::Other,
            };
            assert_eq!(Class::of(&[byte, 0]), expected, "first byte {byte}");
        }
        assert_eq!(Class::of(&[]), Class::Other);
    }

    #[test]
    fn the_server_ufrag_is_what_stands_before_the_colon() {
        let request = binding_request(b"server:client", [7; 12]);
        assert_eq!(binding_request_ufrag(&request), Some(b"server".as_slice()));
    }

    #[test]
    fn a_username_without_a_server_part_names_nobody() {
        for username in [b"".as_slice(), b"server", b":client"] {
            assert_eq!(binding_request_ufrag(&binding_request(username, [0; 12])), None);
        }
    }

    #[test]
    fn a_username_behind_other_attributes_is_found_and_one_behind_the_integrity_is_not() {
        let with_attribute_before = |kind: u16| {
            let plain = binding_request(b"server:client", [1; 12]);
            let mut message = plain[..STUN_HEADER].to_vec();
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 3, b'a', b'b', b'c', 0]);
            message.extend_from_slice(&plain[STUN_HEADER..]);
            let length = u16::try_from(message.len() - STUN_HEADER).unwrap();
            message[2..4].copy_from_slice(&length.to_be_bytes());
            message
        };
        assert_eq!(binding_request_ufrag(&with_attribute_before(0x8022)), Some(b"server".as_slice()));
        assert_eq!(binding_request_ufrag(&with_attribute_before(ATTRIBUTE_MESSAGE_INTEGRITY)), None);
    }

    #[test]
    fn every_truncation_of_a_binding_request_is_refused() {
        let request = binding_request(b"server:client", [7; 12]);
        for length in 0..request.len() {
            assert_eq!(binding_request_ufrag(&request[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_response_an_indication_and_a_wrong_cookie_are_no_binding_requests() {
        let request = binding_request(b"server:client", [7; 12]);
        for (index, byte) in [(0, 0x01), (1, 0x11), (4, 0x20)] {
            let mut other = request.clone();
            other[index] = byte;
            assert!(!is_binding_request(&other));
        }
    }
}
