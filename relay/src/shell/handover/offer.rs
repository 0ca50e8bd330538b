//! The message that comes with the sockets.

use std::io;

use voxgate_protocol::id::RelayId;

use crate::tunnel::MOST_LANES;

/// Who hands over, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) relay: RelayId,
    /// The life of the relay that goes on.
    pub(super) epoch: u32,
    /// Lanes; for each, the public and the tunnel socket come with the message, in this order.
    pub(super) lanes: u8,
    /// Whether a TCP listener and the tunnel socket of its lane follow.
    pub(super) has_stream: bool,
}

impl Offer {
    pub(super) const LENGTH: usize = 10;

    pub(super) fn write(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.relay.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[8] = self.lanes;
        bytes[9] = u8::from(self.has_stream);
        bytes
    }

    /// # Errors
    /// For lanes no relay can have.
    pub(super) fn read(bytes: &[u8; Self::LENGTH]) -> io::Result<Self> {
        let [r0, r1, r2, r3, e0, e1, e2, e3, lanes, stream] = *bytes;
        if !(1..MOST_LANES).contains(&lanes) || stream > 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the offer of a relay"));
        }
        Ok(Self {
            relay: RelayId(u32::from_be_bytes([r0, r1, r2, r3])),
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            lanes,
            has_stream: stream == 1,
        })
    }

    pub(super) fn socket_count(&self) -> usize {
        2 * (usize::from(self.lanes) + usize::from(self.has_stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_survives_its_written_form() {
        let offer = Offer { relay: RelayId(70_000), epoch: u32::MAX, lanes: 16, has_stream: true };
        assert_eq!(Offer::read(&offer.write()).unwrap(), offer);
        assert_eq!(offer.socket_count(), 34);
    }

    #[test]
    fn an_offer_of_no_lanes_or_too_many_is_refused() {
        for lanes in [0, MOST_LANES, u8::MAX] {
            let offer = Offer { relay: RelayId(1), epoch: 1, lanes, has_stream: false };
            assert!(Offer::read(&offer.write()).is_err());
        }
    }
}
