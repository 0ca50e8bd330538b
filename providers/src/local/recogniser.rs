//! Two decoders that hear the same utterance: one knows the phrases of the brain, one knows English.

use std::sync::Arc;

use super::agreement::{agreed, likeness};
use super::brain::phrases;
use super::pocketsphinx::{Decoder, Sphinx};
use super::{LocalError, RecogniserModels};

/// Words the dictionary of the model lacks, in its phones.
const OWN_WORDS: [(&str, &str); 2] = [("voxgate", "V AA K S G EY T"), ("transceiver", "T R AE N S IY V ER")];

/// How alike both have to be before the end of the search for the grammar to be believed at once: the last passes of
/// the open search take about 100 ms and seldom change what is nearly the same already.
const SURE: f32 = 0.8;

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The words to believe; empty if none were heard.
    pub(super) words: String,
}

/// Recognises one utterance at a time. Blocks; belongs on a thread of its own.
#[derive(Debug)]
pub(super) struct Recogniser {
    grammar: Decoder,
    open: Decoder,
}

impl Recogniser {
    /// Loads the models, 0.5 to 2 s and about 130 MB.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the library cannot use them.
    pub(super) fn load(sphinx: &Arc<Sphinx>, models: &RecogniserModels) -> Result<Self, LocalError> {
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (acoustic, dictionary, language) =
            (path(&models.acoustic), path(&models.dictionary), path(&models.language));
        let base = [
            ("hmm", acoustic.as_str()),
            ("dict", dictionary.as_str()),
            ("samprate", "16000"),
            // Mapped model files are dropped from memory when a machine is short of it, and the first caller after an
            // idle night waits for the disk.
            ("mmap", "no"),
        ];
        let open_options: Vec<_> = base.iter().copied().chain([("lm", language.as_str())]).collect();
        let mut grammar = Decoder::open(sphinx, &base)?;
        for (word, phones) in OWN_WORDS {
            grammar.add_word(word, phones)?;
        }
        grammar.listen_for(&phrases::jsgf())?;
        Ok(Self { grammar, open: Decoder::open(sphinx, &open_options)? })
    }

    /// Begins an utterance.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the library refuses.
    pub(super) fn start(&mut self) -> Result<(), LocalError> {
        self.grammar.start()?;
        self.open.start()
    }

    /// Decodes samples of 16 kHz.
    pub(super) fn feed(&mut self, samples: &[i16]) {
        self.grammar.feed(samples);
        self.open.feed(samples);
    }

    /// The words of the utterance so far. They may still change.
    pub(super) fn so_far(&mut self) -> String {
        self.agreed()
    }

    /// The words of the utterance. If the answer is sure before the last passes of the search, it is given before
    /// them; [`Recogniser::rest`] then does what is left.
    pub(super) fn finish(&mut self) -> Heard {
        self.grammar.finish();
        let grammar = self.grammar.hypothesis();
        let early = self.open.hypothesis();
        if !grammar.is_empty() && likeness(&grammar, &early) >= SURE {
            return Heard { words: grammar };
        }
        self.open.finish();
        Heard { words: self.agreed() }
    }

    fn agreed(&mut self) -> String {
        agreed(&self.grammar.hypothesis(), &self.open.hypothesis(), &OWN_WORDS.map(|(word, _)| word))
    }

    /// Ends whatever is still open, so that the next utterance begins at once.
    pub(super) fn rest(&mut self) {
        self.grammar.finish();
        self.open.finish();
    }
}

#[cfg(test)]
mod tests;
