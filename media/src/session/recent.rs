//! The last of what the caller said, for a listener.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};

/// Keeps as much as the listener hears, and no more.
#[derive(Default)]
pub(super) struct Recent {
    samples: VecDeque<i16>,
    most: usize,
}

/// Leaves the samples out: they must never reach a log.
impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recent({} of {} samples)", self.samples.len(), self.most)
    }
}

impl Recent {
    /// From now on so much of a stream at a rate is kept.
    pub(super) fn keep(&mut self, window: Duration, rate: SampleRate) {
        self.most = rate.samples_in(window).0 as usize;
        self.push(&[]);
    }

    pub(super) fn push(&mut self, samples: &[i16]) {
        let kept = &samples[samples.len().saturating_sub(self.most)..];
        let excess = (self.samples.len() + kept.len()).saturating_sub(self.most);
        self.samples.drain(..excess);
        self.samples.extend(kept);
    }

    /// What came last, as far as it is kept.
    pub(super) fn last(&self, count: SampleCount, rate: SampleRate) -> Pcm {
        let count = usize::try_from(count.0).unwrap_or(usize::MAX).min(self.samples.len());
        Pcm { rate, samples: self.samples.range(self.samples.len() - count..).copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_a_stream_is_kept() {
        let mut recent = Recent::default();
        recent.keep(Duration::from_millis(1), SampleRate::HZ_8000);
        for piece in [&[1, 2, 3][..], &[4, 5, 6, 7, 8, 9, 10], &[], &[11]] {
            recent.push(piece);
        }
        let last = |count| recent.last(SampleCount(count), SampleRate::HZ_8000).samples;
        assert_eq!(last(u64::MAX), [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(last(2), [10, 11]);
        recent.keep(Duration::ZERO, SampleRate::HZ_8000);
        recent.push(&[1, 2]);
        assert!(recent.last(SampleCount(2), SampleRate::HZ_8000).is_empty());
    }
}
