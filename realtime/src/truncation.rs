//! How many of the words of an answer were heard.

use std::time::Duration;

/// The beginning of a transcript that fits to the audio that was heard.
///
/// Speech has no word times here, so the share of the characters is the share of the audio, cut back to the end of
/// a word: the transcript claims rather less than was heard than more. Text without any space (such as Chinese) is
/// cut between characters. An unknown total length leaves nothing.
pub(crate) fn heard_words(transcript: &str, heard: Duration, total: Duration) -> &str {
    if total.is_zero() || heard.is_zero() {
        return "";
    }
    if heard >= total {
        return transcript;
    }
    let characters = transcript.chars().count() as u128;
    let kept = (characters * heard.as_nanos() / total.as_nanos()) as usize;
    let Some((end, next)) = transcript.char_indices().nth(kept) else { return transcript };
    let start = &transcript[..end];
    if next.is_whitespace() || !transcript.trim().contains(char::is_whitespace) {
        return start.trim_end();
    }
    let word = start.rfind(char::is_whitespace).unwrap_or(0);
    start[..word].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn half_heard_leaves_whole_words_of_the_first_half() {
        assert_eq!(heard_words("one two three four", SECOND, SECOND * 2), "one two");
        assert_eq!(heard_words("one two", SECOND, SECOND * 7), "");
    }

    #[test]
    fn all_heard_leaves_everything_and_nothing_heard_leaves_nothing() {
        assert_eq!(heard_words("one two", SECOND, SECOND), "one two");
        assert_eq!(heard_words("one two", Duration::ZERO, SECOND), "");
        assert_eq!(heard_words("one two", SECOND, Duration::ZERO), "");
    }

    #[test]
    fn text_without_spaces_is_cut_between_characters() {
        assert_eq!(heard_words("你好世界", SECOND, SECOND * 2), "你好");
    }
}
