//! `input_audio_buffer.append`, read without a tree of values: a client sends one every 20 ms.

use memchr::memmem;
use serde::Deserialize;

/// Where the name of an event is looked for. An id before it may push it further; such an event is read like any other.
const NAME_WITHIN: usize = 128;

const NAME: &str = "input_audio_buffer.append";

/// An append whose texts stand in the message as they are meant.
#[derive(Debug, Deserialize)]
pub(crate) struct Append<'m> {
    #[serde(rename = "type")]
    kind: &'m str,
    pub(crate) event_id: Option<&'m str>,
    /// Base64.
    pub(crate) audio: &'m str,
}

impl<'m> Append<'m> {
    /// `None` for every other event, and for an append that has to be looked at more closely: with escapes in its texts, with
    /// a field twice, or wrong.
    pub(crate) fn read(message: &'m str) -> Option<Self> {
        let beginning = &message.as_bytes()[..message.len().min(NAME_WITHIN)];
        memmem::find(beginning, NAME.as_bytes())?;
        // A list of the right texts would be read as well.
        message.trim_start().strip_prefix('{')?;
        serde_json::from_str(message).ok().filter(|append: &Self| append.kind == NAME)
    }
}
