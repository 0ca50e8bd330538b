//! How many wrong credentials are answered.
//!
//! Keys have 160 random bits or more, so nobody guesses one. What is limited is the work and the noise of a client that
//! keeps presenting what does not work. A right credential is never held up by the wrong ones of somebody else: only failures
//! are counted, and only failures are answered differently.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::key::KeyHash;

/// Failures of one credential: this many at once, then one a second.
const PER_CREDENTIAL: Bucket = Bucket { burst: 10, every: Duration::from_secs(1) };

/// Failures of all credentials together: this many at once, then fifty a second.
const IN_ALL: Bucket = Bucket { burst: 500, every: Duration::from_millis(20) };

/// Credentials remembered. One weighs 40 bytes; the oldest are forgotten first.
const MAX_CREDENTIALS: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    burst: u32,
    every: Duration,
}

/// The level of a bucket, as the time at which it is empty again (the GCRA form: one number, no timer).
#[derive(Clone, Copy, Debug, Default)]
struct Level(Duration);

impl Level {
    /// Takes a place at `now`; if there is none, the time until there is one.
    fn take(&mut self, now: Duration, bucket: Bucket) -> Result<(), Duration> {
        let filled = self.0.max(now) + bucket.every;
        let limit = now + bucket.every * bucket.burst;
        if filled > limit {
            return Err(filled - limit);
        }
        self.0 = filled;
        Ok(())
    }
}

/// Counts failures. No address is looked at: behind one may be a whole company.
#[derive(Clone, Debug, Default)]
pub struct FailureLimit {
    in_all: Level,
    credentials: BTreeMap<[u8; 8], Level>,
}

impl FailureLimit {
    /// One more failure at `now` (on any clock that does not go back), of this credential; none if it was missing.
    ///
    /// # Errors
    /// How long the client has to wait, if there were too many.
    pub fn count(&mut self, now: Duration, credential: Option<&str>) -> Result<(), Duration> {
        self.in_all.take(now, IN_ALL)?;
        let Some(credential) = credential else { return Ok(()) };
        if self.credentials.len() >= MAX_CREDENTIALS {
            self.forget(now);
        }
        // A part of the hash: enough to tell clients apart, useless to whoever reads the memory.
        let mut name = [0; 8];
        name.copy_from_slice(&KeyHash::of(credential).into_bytes()[..8]);
        self.credentials.entry(name).or_default().take(now, PER_CREDENTIAL)
    }

    /// Forgets the credentials that have not failed lately; if all have, the half that failed least.
    fn forget(&mut self, now: Duration) {
        self.credentials.retain(|_, level| level.0 > now);
        if self.credentials.len() >= MAX_CREDENTIALS {
            let mut levels: Vec<Duration> = self.credentials.values().map(|level| level.0).collect();
            let middle = levels.len() / 2;
            let (_, median, _) = levels.select_nth_unstable(middle);
            let median = *median;
            let mut room = MAX_CREDENTIALS / 2;
            self.credentials.retain(|_, level| {
                let keeps = level.0 >= median && room > 0;
                room -= usize::from(keeps);
                keeps
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_client_in_a_loop_is_told_to_wait_and_another_one_is_not() {
        let mut limit = FailureLimit::default();
        for _ in 0..10 {
            assert_eq!(limit.count(at(5), Some("vg_wrong")), Ok(()));
        }
        assert_eq!(limit.count(at(5), Some("vg_wrong")), Err(at(1)));
        assert_eq!(limit.count(at(5), Some("vg_other")), Ok(()));
        assert_eq!(limit.count(at(6), Some("vg_wrong")), Ok(()), "one a second is answered");
        assert!(limit.count(at(6), Some("vg_wrong")).is_err());
    }

    #[test]
    fn many_different_credentials_meet_the_limit_of_all() {
        let mut limit = FailureLimit::default();
        let answered = (0..1_000).filter(|n| limit.count(at(5), Some(&format!("vg_{n}"))).is_ok()).count();
        assert_eq!(answered, 500);
        assert_eq!(limit.count(at(5), None), Err(Duration::from_millis(20)));
        assert_eq!(limit.count(at(6), None), Ok(()));
    }

    #[test]
    fn the_book_of_failures_never_outgrows_its_limit() {
        let mut limit = FailureLimit::default();
        for n in 0..20_000_u64 {
            let now = Duration::from_millis(20 * n);
            let _ = limit.count(now, Some(&format!("vg_{n}")));
            assert!(limit.credentials.len() <= MAX_CREDENTIALS);
        }
    }
}
