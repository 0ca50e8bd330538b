//! What judges whether a turn may be over.

use std::fmt;

/// What is known of a turn that goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TurnSoFar<'a> {
    /// The words, as the recogniser has them by now.
    pub words: &'a str,
    /// The caller's language (ISO 639-1), if the client named it.
    pub language: Option<&'a str>,
}

/// Leaves the words out: they must never reach a log.
impl fmt::Debug for TurnSoFar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnSoFar")
            .field("bytes", &self.words.len())
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

/// Estimates whether the words of a turn are a whole turn. The pause is no part of it: how long to wait for more
/// follows from the estimate, in [`PauseRule`](super::PauseRule).
pub trait EndOfTurn: fmt::Debug + Send {
    /// How likely the caller is done, 0 to 1; `None` if these words tell nothing, then the pause alone decides.
    fn estimate(&self, turn: TurnSoFar<'_>) -> Option<f32>;
}
