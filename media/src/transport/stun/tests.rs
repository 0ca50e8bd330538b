use super::message::{FINGERPRINT_XOR, crc32};
use super::*;

const TRANSACTION: TransactionId = *b"transaction!";
const USER: &str = "sealed:caller";
const PASSWORD: &str = "a password of a good length";

fn verify(datagram: &[u8], user: &str, password: &str) -> Result<BindingRequest, StunRejection> {
    BindingRequest::verify(datagram, |named| (named == user.as_bytes()).then_some(password))
}

/// The check of RFC 5769 section 2.1, a vector made by others.
const RFC5769_REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
    0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20,
    0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00,
    0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a,
    0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf,
    0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28,
    0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

#[test]
fn the_published_test_vector_passes() {
    let request = verify(&RFC5769_REQUEST, "evtj:h6vY", "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
    assert!(request.peer_is_controlled);
    assert!(!request.nominated);
}

#[test]
fn the_fingerprint_of_the_published_vector_is_reproduced() {
    let (covered, checksum) = RFC5769_REQUEST.split_at(RFC5769_REQUEST.len() - 8);
    assert_eq!((crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes(), checksum[4..]);
}

#[test]
fn a_check_with_one_flipped_bit_never_passes() {
    let check = nominating_check(TRANSACTION, USER, PASSWORD);
    assert!(verify(&check, USER, PASSWORD).unwrap().nominated);
    // The eight octets of the fingerprint are behind the digest and decide nothing.
    for bit in 0..(check.len() - 8) * 8 {
        let mut forged = check.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&forged, USER, PASSWORD).is_err(), "bit {bit}");
    }
}

#[test]
fn a_check_for_other_credentials_is_refused() {
    let check = nominating_check(TRANSACTION, USER, PASSWORD);
    assert_eq!(verify(&check, "sealed:other", PASSWORD), Err(StunRejection::Username));
    assert_eq!(verify(&check, USER, "guess"), Err(StunRejection::Integrity));
}

#[test]
fn an_unsigned_check_is_refused() {
    let mut unsigned = Message::new(BINDING_REQUEST, TRANSACTION);
    unsigned.attribute(USERNAME, USER.as_bytes());
    unsigned.attribute(USE_CANDIDATE, &[]);
    assert_eq!(verify(&unsigned.bytes, USER, PASSWORD), Err(StunRejection::Integrity));
}

#[test]
fn every_truncation_is_refused() {
    let check = nominating_check(TRANSACTION, USER, PASSWORD);
    for length in 0..check.len() {
        assert!(verify(&check[..length], USER, PASSWORD).is_err());
    }
}

#[test]
fn the_mapped_address_of_the_published_vectors_is_reproduced() {
    // RFC 5769 sections 2.2 and 2.3.
    let transaction: TransactionId = RFC5769_REQUEST[8..20].try_into().unwrap();
    let v4 = xor_address("192.0.2.1:32853".parse().unwrap(), transaction);
    assert_eq!(v4, [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    let v6 = xor_address("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(), transaction);
    assert_eq!(v6[..8], [0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa]);
}

#[test]
fn a_response_is_believed_only_with_the_peers_digest() {
    let success = binding_success(TRANSACTION, "192.0.2.1:32853".parse().unwrap(), PASSWORD);
    assert_eq!(binding_response_transaction(&success), Some(TRANSACTION));
    assert_eq!(verify_response(&success, PASSWORD), Ok(()));
    assert_eq!(verify_response(&success, "guess"), Err(StunRejection::Integrity));
    let refusal = role_conflict(TRANSACTION, PASSWORD);
    assert_eq!(binding_response_transaction(&refusal), Some(TRANSACTION));
    assert_eq!(verify_response(&refusal, PASSWORD), Ok(()));
    let unsigned = Message::new(BINDING_ERROR, TRANSACTION).bytes;
    assert_eq!(verify_response(&unsigned, PASSWORD), Err(StunRejection::Integrity));
    for bit in 0..(success.len() - 8) * 8 {
        let mut forged = success.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let believed = binding_response_transaction(&forged) == Some(TRANSACTION)
            && verify_response(&forged, PASSWORD).is_ok();
        assert!(!believed, "bit {bit}");
    }
}

#[test]
fn our_own_check_is_one_a_full_agent_accepts() {
    let check = controlled_check(TRANSACTION, USER, PASSWORD, 7);
    let read = verify(&check, USER, PASSWORD).unwrap();
    assert!(read.peer_is_controlled && !read.nominated);
    let (covered, checksum) = check.split_at(check.len() - 8);
    assert_eq!((crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes(), checksum[4..]);
    assert_eq!(binding_response_transaction(&check), None);
}
