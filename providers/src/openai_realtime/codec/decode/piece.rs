//! A piece of an answer's audio, read without a tree of values: a vendor sends up to fifty a second.

use memchr::memmem;
use serde::Deserialize;

use super::LONGEST_NAME;

/// Where the name of an event is looked for. An id before it may push it further; such an event is read like any other.
const NAME_WITHIN: usize = 128;

const NAME: &str = "response.output_audio.delta";

/// A piece whose texts stand in the frame as they are meant.
#[derive(Debug, Deserialize)]
pub(super) struct Piece<'f> {
    #[serde(rename = "type")]
    kind: &'f str,
    pub(super) response_id: &'f str,
    pub(super) item_id: &'f str,
    /// Base64.
    pub(super) delta: &'f str,
}

impl<'f> Piece<'f> {
    /// `None` for every other event, and for a piece that has to be looked at more closely: with escapes in its texts, with a
    /// field twice or missing, or wrong.
    pub(super) fn read(frame: &'f str) -> Option<Self> {
        let beginning = &frame.as_bytes()[..frame.len().min(NAME_WITHIN)];
        memmem::find(beginning, NAME.as_bytes())?;
        // A list of the right texts would be read as well.
        frame.trim_start().strip_prefix('{')?;
        let piece: Self = serde_json::from_str(frame).ok()?;
        let is_name = |text: &str| !text.is_empty() && text.len() <= LONGEST_NAME;
        (piece.kind == NAME && is_name(piece.response_id) && is_name(piece.item_id)).then_some(piece)
    }
}
