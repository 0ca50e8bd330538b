//! A place among the running sessions, given back when dropped.

use std::sync::{Arc, Mutex, PoisonError};

use voxgate_policy::admission::{Admission, Refusal, SessionLimits};
use voxgate_policy::key::KeyIndex;

/// The book of running sessions, shared by every listener of a process.
#[derive(Clone, Debug)]
pub struct Places {
    book: Arc<Mutex<Admission>>,
}

impl Places {
    /// Shares a book.
    #[must_use]
    pub fn new(admission: Admission) -> Self {
        Self { book: Arc::new(Mutex::new(admission)) }
    }

    /// Takes a place for a session of this key.
    ///
    /// # Errors
    /// The [`Refusal`] that applies.
    pub fn take(&self, key: KeyIndex) -> Result<Permit, Refusal> {
        self.with(|book| book.admit(key))?;
        Ok(Permit { places: self.clone(), key })
    }

    /// From now on other limits hold. Sessions that run go on, even if there are more of them.
    pub fn set_limits(&self, limits: SessionLimits) {
        self.with(|book| book.set_limits(limits));
    }

    /// From now on no place is given.
    pub fn drain(&self) {
        self.with(Admission::drain);
    }

    /// Whether places are still given.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.with(|book| book.is_draining())
    }

    /// Sessions running now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.with(|book| book.running())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Admission) -> T) -> T {
        // Counters stay consistent whatever a panicking thread did between two of them.
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One running session's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    places: Places,
    key: KeyIndex,
}

impl Permit {
    /// Whose session it is.
    #[must_use]
    pub const fn key(&self) -> KeyIndex {
        self.key
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places.with(|book| book.release(self.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_gives_its_place_back() {
        let places = Places::new(Admission::new(SessionLimits { total: 1, per_key: 1 }));
        let permit = places.take(KeyIndex(0)).unwrap();
        assert_eq!(places.take(KeyIndex(1)).unwrap_err(), Refusal::NodeFull);
        drop(permit);
        assert_eq!(places.running(), 0);
        assert!(places.take(KeyIndex(1)).is_ok());
    }

    #[test]
    fn other_limits_hold_for_the_next_session_and_end_none() {
        let places = Places::new(Admission::new(SessionLimits { total: 2, per_key: 2 }));
        let running = [places.take(KeyIndex(0)).unwrap(), places.take(KeyIndex(0)).unwrap()];
        places.set_limits(SessionLimits { total: 1, per_key: 1 });
        assert_eq!((places.running(), places.take(KeyIndex(1)).unwrap_err()), (2, Refusal::NodeFull));
        drop(running);
        places.set_limits(SessionLimits { total: 3, per_key: 3 });
        assert!((0..3).all(|_| places.take(KeyIndex(0)).map(std::mem::forget).is_ok()));
    }
}
