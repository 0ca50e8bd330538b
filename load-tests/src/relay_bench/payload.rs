//! What travels: 160 bytes that look like an RTP packet and say who sent them and when.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a payload: a 20 ms packet of Opus at speech rates with its SRTP framing.
pub const PAYLOAD: usize = 160;

/// What a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run it belongs to, so that late packets of an earlier one are not counted.
    pub run: u32,
    /// Its flow.
    pub flow: u32,
    /// When it was sent, in nanoseconds since an origin of the benchmark.
    pub sent_at: u64,
}

/// The client address a raw forwarder sends a datagram to; the tunnel frames of a real relay carry one too.
#[must_use]
pub fn client_of(payload: &[u8]) -> Option<SocketAddrV4> {
    let [a, b, c, d, high, low] = *payload.get(4..)?.first_chunk::<6>()?;
    Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

/// Writes a payload into the first [`PAYLOAD`] bytes of a buffer. Bytes it does not need stay as they are.
pub fn write(bytes: &mut [u8], client: SocketAddrV4, stamp: Stamp) {
    let Some(bytes) = bytes.first_chunk_mut::<PAYLOAD>() else { return };
    bytes[..4].copy_from_slice(&[0x80, 111, 0, 0]);
    bytes[4..8].copy_from_slice(&client.ip().octets());
    bytes[8..10].copy_from_slice(&client.port().to_be_bytes());
    bytes[12..16].copy_from_slice(&stamp.run.to_be_bytes());
    bytes[16..20].copy_from_slice(&stamp.flow.to_be_bytes());
    bytes[24..32].copy_from_slice(&stamp.sent_at.to_be_bytes());
}

/// Reads a payload; nothing of other bytes.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Stamp> {
    let bytes = bytes.first_chunk::<PAYLOAD>()?;
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (bytes[..2] == [0x80, 111]).then(|| Stamp {
        run: word(12),
        flow: word(16),
        sent_at: (u64::from(word(24)) << 32) | u64::from(word(28)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_what_was_written() {
        let mut bytes = [0; PAYLOAD];
        let client = SocketAddrV4::new(Ipv4Addr::new(127, 130, 1, 2), 4_000);
        let stamp = Stamp { run: 3, flow: 70_000, sent_at: 0x1_0000_0002 };
        write(&mut bytes, client, stamp);
        assert_eq!((read(&bytes), client_of(&bytes)), (Some(stamp), Some(client)));
        assert_eq!(read(&bytes[..PAYLOAD - 1]), None);
    }
}
