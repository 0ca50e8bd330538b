//! Invariants of the parsers for arbitrary input, shared by the corpus replay and the fuzz targets.
//!
//! Every function panics when an invariant does not hold and returns whether the input was well-formed.

use voxgate_protocol::framing::{Deframer, MAX_DATAGRAM, OversizeFrame};

mod exchange;
mod flows;

pub use exchange::exchange;
pub use flows::{flow_table, snapshot};

use crate::classify::{Class, binding_request, binding_request_ufrag, is_binding_request};
use crate::tunnel::{TunnelKey, claim, decode, encode};
use crate::ufrag::{KeyRing, UfragKey, seal};

/// The key seeds of tunnel frames are made with.
#[must_use]
pub fn tunnel_key() -> TunnelKey {
    TunnelKey::new(1, [0x5a; 32])
}

/// The keys seeds of ufrags are sealed with.
///
/// # Panics
/// Never: the ids are in range.
#[must_use]
pub fn ufrag_keys() -> [UfragKey; 2] {
    [1, 2].map(|id| UfragKey::new(id, [id; 16], 1).expect("the id is below 16"))
}

/// Writes a minimal binding request with a USERNAME.
#[must_use]
pub fn stun_request(username: &[u8], transaction: [u8; 12]) -> Vec<u8> {
    binding_request(username, transaction)
}

/// A ufrag comes only out of a binding request, lies inside it and holds no colon.
///
/// # Panics
/// When the invariant does not hold.
pub fn stun(input: &[u8]) -> bool {
    let ufrag = binding_request_ufrag(input);
    if is_binding_request(input) {
        assert_eq!(Class::of(input), Class::Stun);
    } else {
        assert_eq!(ufrag, None);
    }
    if let Some(ufrag) = ufrag {
        assert!(!ufrag.is_empty() && !ufrag.contains(&b':'));
        assert!(input.as_ptr_range().contains(&ufrag.as_ptr()));
        let mut with_colon = ufrag.to_vec();
        with_colon.push(b':');
        assert_eq!(binding_request_ufrag(&binding_request(&with_colon, [0; 12])), Some(ufrag));
    }
    ufrag.is_some()
}

/// What opens is exactly what sealing its route gives.
///
/// # Panics
/// When the invariant does not hold.
pub fn ufrag(input: &[u8]) -> bool {
    let keys = ufrag_keys();
    let Ok(route) = KeyRing::new(keys.clone()).open(input) else { return false };
    let sealed = keys.iter().filter_map(|key| seal(key, &route).ok());
    assert_eq!(sealed.filter(|ufrag| ufrag.as_ref() == input).count(), 1);
    true
}

/// What decodes is exactly what encoding its content gives.
///
/// # Panics
/// When the invariant does not hold.
pub fn tunnel(input: &[u8]) -> bool {
    let key = tunnel_key();
    let Ok(frame) = decode(&key, input) else { return false };
    let claimed = claim(input).expect("an authentic frame claims something");
    assert_eq!((claimed.relay, claimed.node, claimed.key), (frame.header.relay, frame.header.node, key.id()));
    let mut again = Vec::new();
    encode(&mut again, &key, &frame.header, frame.payload).expect("a decoded payload fits");
    let decoded = decode(&key, &again).expect("an encoded frame decodes");
    assert_eq!(decoded, frame);
    true
}

/// A stream gives the same datagrams however the network cuts it, and those a plain reading of the whole gives. The
/// first byte is the length of the pieces, less one. Well-formed is a stream that ends with a datagram.
///
/// # Panics
/// When the invariant does not hold.
pub fn framing(input: &[u8]) -> bool {
    let Some((piece, stream)) = input.split_first() else { return false };
    let mut deframer = Deframer::new();
    let mut found = Vec::new();
    let mut oversize = false;
    for mut piece in stream.chunks(usize::from(*piece) + 1) {
        while !oversize {
            match deframer.next(&mut piece) {
                Ok(Some(datagram)) => found.push(datagram.to_vec()),
                Ok(None) => break,
                Err(OversizeFrame) => oversize = true,
            }
        }
    }
    let (expected, rest) = datagrams(stream);
    assert_eq!(found, expected);
    assert_eq!(oversize, rest.is_none());
    !found.is_empty() && rest.is_some_and(<[u8]>::is_empty)
}

/// The datagrams of a stream that is there as a whole, and its incomplete rest; no rest before an oversize frame.
fn datagrams(mut stream: &[u8]) -> (Vec<Vec<u8>>, Option<&[u8]>) {
    let mut found = Vec::new();
    while let Some(([high, low], rest)) = stream.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_DATAGRAM {
            return (found, None);
        }
        let Some((datagram, rest)) = rest.split_at_checked(length) else { break };
        if length > 0 {
            found.push(datagram.to_vec());
        }
        stream = rest;
    }
    (found, Some(stream))
}
