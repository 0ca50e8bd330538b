//! Entry points for fuzzing and for replaying a corpus. Not part of the API.

use crate::replay;

/// Reads arbitrary bytes as the log of a session and runs what can be read of it. True if the log is understood to its
/// end and whole, whatever came of it.
#[must_use]
pub fn replay_log(data: &[u8]) -> bool {
    // A log that differs is run up to where it does, and read to its end.
    let _ = replay::replay(data, |_| {});
    replay::is_well_formed(data)
}
