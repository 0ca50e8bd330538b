//! Entry points for fuzzing and for replaying a corpus. Not part of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use voxgate_policy::bundle::Bundle;

use crate::config;
use crate::dialogue::ClientSide;
use crate::replay;
use crate::transceiver::client_message;

/// Feeds arbitrary bytes, one message a line, to what reads the data channel `voxgate` and to the turns that wait for it. How
/// many messages were understood.
#[must_use]
pub fn client_channel(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    let messages: Vec<_> = text.lines().filter_map(client_message).collect();
    ClientSide::hears(&messages);
    messages.len()
}

/// Reads arbitrary bytes as the log of a session and runs what can be read of it. True if the log is understood to its
/// end and whole, whatever came of it.
#[must_use]
pub fn replay_log(data: &[u8]) -> bool {
    // A log that differs is run up to where it does, and read to its end.
    let _ = replay::replay(data, |_| {});
    let axis = replay::Axis { session: None, began_unix_ms: 0, length: Duration::from_secs(2) };
    let _ = replay::voices(data, axis);
    replay::is_well_formed(data)
}

/// Reads arbitrary bytes as a bundle somebody applies, in JSON, or else as the text of a configuration, with no variable set and no
/// file there. True if it is one that could be put in force.
#[must_use]
pub fn configuration(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let bundle =
        serde_json::from_str(text).ok().or_else(|| Bundle::new(text.to_owned(), BTreeMap::new()).ok());
    bundle.is_some_and(|bundle| config::is_usable(&bundle))
}
