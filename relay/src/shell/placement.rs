//! How many threads, and on which processors.

use std::io;
use std::num::NonZero;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::tunnel::MOST_LANES;

/// The most threads taken unasked. Beyond it the kernel's own work on one port no longer spreads.
const MOST_AUTOMATIC: u8 = 16;

/// How many threads a relay runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// One for each processor this process may use, by affinity and cgroup quota, at most sixteen.
    #[default]
    Auto,
    /// As many as given; one less than [`MOST_LANES`] at most.
    Fixed(NonZero<u8>),
}

impl Threads {
    /// The number of threads.
    ///
    /// # Errors
    /// For more than there are lanes, one of which is kept for TCP streams.
    pub(super) fn count(self) -> io::Result<u8> {
        match self {
            Self::Auto => {
                let available = std::thread::available_parallelism().map_or(1, NonZero::get);
                Ok(u8::try_from(available).unwrap_or(u8::MAX).min(MOST_AUTOMATIC))
            }
            Self::Fixed(count) if count.get() < MOST_LANES => Ok(count.get()),
            Self::Fixed(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "too many relay threads")),
        }
    }
}

/// The processors this process may use, in ascending order.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn allowed_processors() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|processor| set.is_set(*processor).unwrap_or(false)).collect())
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// When the process may no longer use it.
pub(super) fn pin_this_thread(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_its_processor_only() {
        let allowed = allowed_processors().unwrap();
        let last = *allowed.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin_this_thread(last).unwrap();
            allowed_processors().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [last]);
        assert_eq!(allowed_processors().unwrap(), allowed);
    }

    #[test]
    fn there_is_at_least_one_thread_and_never_one_too_many() {
        assert!((1..=MOST_AUTOMATIC).contains(&Threads::Auto.count().unwrap()));
        let fixed = |count| Threads::Fixed(NonZero::new(count).unwrap());
        assert_eq!(fixed(3).count().unwrap(), 3);
        assert!(fixed(MOST_LANES).count().is_err());
    }
}
