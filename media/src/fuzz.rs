//! Entry points for fuzzing. Not part of the API.

use std::time::Instant;

use crate::transport::hears_rtcp;

/// Hears arbitrary bytes as the RTCP of a caller whose call begins at `now`. True if they are RTCP, whatever it says.
#[must_use]
pub fn rtcp(now: Instant, data: &[u8]) -> bool {
    hears_rtcp(now, data).is_some()
}
