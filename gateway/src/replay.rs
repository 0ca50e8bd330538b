//! What went into a session's core, kept so that a bad call can be run again.
//!
//! With `replay` in the configuration every session writes a log: first everything its core was made of, then each
//! input with its time and a fingerprint of everything the core did about it ([`entry`]). The file is written by a thread
//! behind a bounded queue ([`writer`]), so a slow disk costs the log its end and never a caller's audio. `voxgate replay`
//! runs the core on a log in virtual time and compares every fingerprint ([`player`]); [`voices`] does the same to hear both voices
//! again, side by side ([`mix`]).

mod entry;
mod fingerprint;
mod mix;
mod player;
mod recorder;
mod voices;
mod words;
mod writer;

pub(crate) use entry::LogError;
pub(crate) use player::{Outcome, Verdict, is_well_formed, replay};
pub(crate) use recorder::{Kept, Recorder};
pub(crate) use voices::{Axis, KeptVoices, voices};
pub(crate) use writer::{ReplayLog, Retention};

#[cfg(test)]
mod tests;
