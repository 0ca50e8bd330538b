//! Several frames in one datagram.
//!
//! A relay that takes a batch of datagrams for one node sends their frames together: a system call's work for each
//! datagram is most of what forwarding costs, and nothing waits for it, since the frames are there already. A bundle is
//! frames each behind its length in two bytes, big-endian. No frame begins with a byte below 16 (its high half is the
//! version) and no frame is that long, so the first byte tells a bundle from a lone frame.

use super::{MAX_FRAME, VERSION};

/// Bytes before each frame of a bundle.
pub const LENGTH_BYTES: usize = 2;

/// The largest bundle in bytes: what an Ethernet frame carries over UDP and IPv6. A larger lone frame goes alone.
pub const MAX_BUNDLE: usize = 1_452;

// The first byte of a bundle is the high byte of a frame's length.
const _: () = assert!(MAX_FRAME >> 8 < 16 && VERSION > 0);

/// The frames of a datagram: itself, if it is no bundle. Nothing of them is verified; where a bundle is broken, what is
/// left of it comes as a last frame that no key opens.
pub fn frames(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_bundle = datagram.first().is_some_and(|first| first >> 4 == 0);
    let mut rest = Some(datagram);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let Some((length, behind)) = whole.split_first_chunk::<LENGTH_BYTES>().filter(|_| is_bundle) else {
            return Some(whole);
        };
        match behind.split_at_checked(usize::from(u16::from_be_bytes(*length))) {
            Some((frame, next)) if !frame.is_empty() => {
                rest = Some(next).filter(|next| !next.is_empty());
                Some(frame)
            }
            _ => Some(whole),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(frames: &[Vec<u8>]) -> Vec<u8> {
        let with_length = |frame: &Vec<u8>| [&(frame.len() as u16).to_be_bytes()[..], frame].concat();
        frames.iter().flat_map(with_length).collect()
    }

    fn lone_frames() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 1..MAX_FRAME).prop_map(|mut frame| {
            frame[0] |= VERSION << 4;
            frame
        })
    }

    proptest! {
        #[test]
        fn a_bundle_comes_apart_into_its_frames(sent in prop::collection::vec(lone_frames(), 1..8)) {
            let bytes = bundle(&sent);
            prop_assert_eq!(frames(&bytes).collect::<Vec<_>>(), sent.iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_lone_frame_is_itself(frame in lone_frames()) {
            prop_assert_eq!(frames(&frame).collect::<Vec<_>>(), [&frame]);
        }

        #[test]
        fn whatever_comes_ends_and_invents_no_byte(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let total: usize = frames(&bytes).map(<[u8]>::len).sum();
            prop_assert!(total <= bytes.len());
        }
    }

    #[test]
    fn what_is_left_of_a_cut_bundle_is_no_frame() {
        let bytes = bundle(&[vec![VERSION << 4; 100], vec![VERSION << 4; 100]]);
        let frames: Vec<_> = frames(&bytes[..150]).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1][0] >> 4, 0, "no version");
    }
}
