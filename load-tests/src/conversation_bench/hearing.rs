//! What a recording holds: stretches of sound with quiet between them.

use std::time::{Duration, Instant};

use voxgate_caller::recording::{HEARING_RATE, HeardFrame};
use voxgate_protocol::audio::SampleCount;

/// Quiet of this length separates two stretches: longer than any gap inside an answer of pure tones, shorter than the
/// pause that ends a turn.
const QUIET: Duration = Duration::from_millis(200);

/// Sound without a longer quiet in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When its first audible sample was heard.
    pub began: Instant,
    /// When its last audible sample was heard.
    pub ended: Instant,
    /// How much sound lies between the two in the recording, quiet inside included.
    pub length: Duration,
}

/// The stretches of a recording, in order.
#[must_use]
pub fn stretches(frames: &[HeardFrame]) -> Vec<Stretch> {
    let mut found: Vec<(Stretch, SampleCount, SampleCount)> = Vec::new();
    for frame in frames {
        let (Some((first, last)), Some(began), Some(ended)) =
            (frame.audible, frame.first_audible_at(), frame.last_audible_at())
        else {
            continue;
        };
        let (first, last) = (frame.start + first, frame.start + last);
        match found.last_mut() {
            Some((stretch, from, to)) if between(*to, first) < QUIET => {
                stretch.ended = ended;
                stretch.length = between(*from, last);
                *to = last;
            }
            _ => found.push((Stretch { began, ended, length: between(first, last) }, first, last)),
        }
    }
    found.into_iter().map(|(stretch, ..)| stretch).collect()
}

fn between(from: SampleCount, to: SampleCount) -> Duration {
    SampleCount(to.0.saturating_sub(from.0)).duration_at(HEARING_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 480;

    fn frame(index: u64, start: Instant, audible: Option<(u64, u64)>) -> HeardFrame {
        HeardFrame {
            start: SampleCount(index * FRAME),
            length: SampleCount(FRAME),
            heard_at: start + Duration::from_millis(20) * u32::try_from(index).unwrap(),
            audible: audible.map(|(first, last)| (SampleCount(first), SampleCount(last))),
        }
    }

    #[test]
    fn a_short_gap_belongs_to_a_stretch_and_a_long_one_ends_it() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut frames = vec![frame(0, start, None), frame(1, start, Some((240, 479)))];
        frames.push(frame(5, start, Some((0, 239))));
        frames.push(frame(20, start, Some((0, 479))));
        let found = stretches(&frames);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].began, start + ms(30));
        assert_eq!(found[0].ended, start + ms(100) + SampleCount(239).duration_at(HEARING_RATE));
        assert_eq!(found[0].length, SampleCount(5 * FRAME + 239 - FRAME - 240).duration_at(HEARING_RATE));
        assert_eq!(found[1].began, start + ms(400));
        assert_eq!(stretches(&[]), []);
    }
}
