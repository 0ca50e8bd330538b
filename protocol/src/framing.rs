//! Datagrams on a byte stream, as ICE over TCP carries them (RFC 4571, section 2; RFC 6544, section 3).
//!
//! Each datagram stands behind its length in two bytes, big-endian. The reader is handed whatever pieces the network
//! made and gives back whole datagrams; it holds at most one of them.

use std::error::Error;
use std::fmt;

/// Bytes a frame has before its datagram.
pub const LENGTH_BYTES: usize = 2;

/// The largest datagram on a stream, in bytes: that of a full Ethernet datagram, which nothing a WebRTC peer sends
/// exceeds. A length above is a stream out of step or one of another protocol.
pub const MAX_DATAGRAM: usize = 1500;

/// A length above [`MAX_DATAGRAM`]. A stream cannot be followed behind it and is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OversizeFrame;

impl fmt::Display for OversizeFrame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a frame above {MAX_DATAGRAM} bytes")
    }
}

impl Error for OversizeFrame {}

/// Appends a datagram with its length to `out`. Says whether it did: an empty datagram and one above
/// [`MAX_DATAGRAM`] are left out.
pub fn frame(out: &mut Vec<u8>, datagram: &[u8]) -> bool {
    let fits = (1..=MAX_DATAGRAM).contains(&datagram.len());
    if fits && let Ok(length) = u16::try_from(datagram.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(datagram);
    }
    fits
}

/// Reads datagrams from pieces of a stream. Its memory is one frame.
#[derive(Clone, Debug, Default)]
pub struct Deframer {
    /// The beginning of a frame; the whole of it from when it was given out to the next call.
    frame: Vec<u8>,
}

impl Deframer {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { frame: Vec::new() }
    }

    /// Takes the next datagram from the front of `piece`, which then begins behind it. `None` when `piece` is used up;
    /// the beginning of a datagram in it is kept for the next piece. Empty frames carry nothing and are skipped.
    ///
    /// # Errors
    /// [`OversizeFrame`], and again at every further call: the stream is to be closed.
    pub fn next(&mut self, piece: &mut &[u8]) -> Result<Option<&[u8]>, OversizeFrame> {
        if self.missing()? == 0 {
            self.frame.clear();
        }
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                if self.frame.len() > LENGTH_BYTES {
                    return Ok(self.frame.get(LENGTH_BYTES..));
                }
                self.frame.clear();
            } else if piece.is_empty() {
                return Ok(None);
            } else {
                let (taken, rest) = piece.split_at(missing.min(piece.len()));
                self.frame.extend_from_slice(taken);
                *piece = rest;
            }
        }
    }

    /// How many bytes the frame, or first of all its length, still needs.
    fn missing(&self) -> Result<usize, OversizeFrame> {
        let Some([high, low]) = self.frame.first_chunk::<LENGTH_BYTES>() else {
            return Ok(LENGTH_BYTES - self.frame.len());
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_DATAGRAM { Err(OversizeFrame) } else { Ok(LENGTH_BYTES + length - self.frame.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of the pieces; `Err` with what came before an oversize frame.
    fn read(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<Vec<u8>>> {
        let (mut deframer, mut found) = (Deframer::new(), Vec::new());
        for piece in pieces {
            let mut piece = *piece;
            loop {
                match deframer.next(&mut piece) {
                    Ok(Some(datagram)) => found.push(datagram.to_vec()),
                    Ok(None) => break,
                    Err(OversizeFrame) => return Err(found),
                }
            }
        }
        Ok(found)
    }

    fn stream(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for datagram in datagrams {
            assert!(frame(&mut bytes, datagram));
        }
        bytes
    }

    #[test]
    fn datagrams_come_out_whole_wherever_the_network_cuts_the_stream() {
        let datagrams = [vec![1], vec![2; 300], vec![3, 4], vec![5; MAX_DATAGRAM]];
        let bytes = stream(&datagrams);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(read(&[front, back]).as_deref(), Ok(&datagrams[..]), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_in_single_bytes_gives_the_same_datagrams() {
        let datagrams = [vec![9; 258], vec![8], vec![7; 2]];
        let bytes = stream(&datagrams);
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&pieces).as_deref(), Ok(&datagrams[..]));
    }

    #[test]
    fn every_pair_of_cuts_of_a_short_stream_gives_the_same_datagrams() {
        let datagrams = [vec![1, 2, 3], vec![4], vec![5, 6]];
        let bytes = stream(&datagrams);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(&pieces).as_deref(), Ok(&datagrams[..]), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn empty_frames_are_skipped() {
        assert_eq!(read(&[&[0, 0, 0, 0, 0, 1, 7, 0, 0]]), Ok(vec![vec![7]]));
        assert_eq!(read(&[&[0], &[0, 0], &[0, 0, 1], &[7, 0]]), Ok(vec![vec![7]]));
    }

    #[test]
    fn an_oversize_length_is_an_error_before_a_byte_of_it_is_kept() {
        let [high, low] = (MAX_DATAGRAM as u16 + 1).to_be_bytes();
        assert_eq!(read(&[&[0, 1, 5, high, low]]), Err(vec![vec![5]]));
        assert_eq!(read(&[&[0, 1, 5, high], &[low]]), Err(vec![vec![5]]));
        let mut deframer = Deframer::new();
        for _ in 0..2 {
            assert_eq!(deframer.next(&mut &[0xff, 0xff, 1][..]), Err(OversizeFrame));
        }
    }

    #[test]
    fn what_cannot_be_framed_is_left_out() {
        let mut out = Vec::new();
        assert!(!frame(&mut out, &[]));
        assert!(!frame(&mut out, &[0; MAX_DATAGRAM + 1]));
        assert!(out.is_empty());
    }
}
