//! What a client message may weigh before it is parsed.

use crate::adapter::ClientKind;
use crate::error::ApiError;

/// Most audio in one `input_audio_buffer.append`, decoded (API reference of `input_audio_buffer.append`).
pub(crate) const MOST_AUDIO_BYTES: usize = 15 * 1024 * 1024;

/// Deepest nesting; tool schemas are the deepest thing a client sends.
const MOST_NESTING: u32 = 64;

/// Most values and keys in one message. A parsed value weighs ten times its shortest text, so the length alone
/// does not bound the memory.
const MOST_VALUES: u32 = 50_000;

/// The longest message of a client in bytes, for the layer that reassembles messages.
///
/// A WebSocket message carries up to 15 MiB of audio as base64; a data channel message carries no audio, but may
/// carry an image.
#[must_use]
pub const fn longest_message(kind: ClientKind) -> usize {
    match kind {
        ClientKind::WebRtc => 1024 * 1024,
        ClientKind::WebSocket => MOST_AUDIO_BYTES / 3 * 4 + 64 * 1024,
    }
}

/// Refuses a message that is too long, too deep or made of too many values.
pub(crate) fn check(text: &str, longest: usize) -> Result<(), ApiError> {
    if text.len() > longest {
        return Err(ApiError::invalid_event(format!("The message is longer than {longest} bytes.")));
    }
    let (mut depth, mut values) = (0_u32, 0_u32);
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => rest = behind_string(behind),
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > MOST_NESTING {
            return Err(ApiError::invalid_event(format!(
                "The message nests deeper than {MOST_NESTING} levels."
            )));
        }
        if values > MOST_VALUES {
            return Err(ApiError::invalid_event(format!("The message has more than {MOST_VALUES} values.")));
        }
    }
    Ok(())
}

/// What follows a string whose first quote was read.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        // Whatever is escaped is part of the string.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        assert!(check(&format!("{{\"a\":\"{}\"}}", "[".repeat(500)), 10_000).is_ok());
        assert!(check(&format!(r#"{{"a":"\"{}"}}"#, "[".repeat(500)), 10_000).is_ok());
        assert!(check(&"[".repeat(65), 10_000).is_err());
        assert!(check(&"[]".repeat(65), 10_000).is_ok());
    }

    #[test]
    fn a_message_of_countless_small_values_is_refused() {
        let flood = format!("[{}1]", "1,".repeat(60_000));
        assert!(check(&flood, usize::MAX).is_err());
    }
}
