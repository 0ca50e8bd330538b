//! A key-free provider that runs on the machine itself: it hears, answers and speaks without a network.
//!
//! It recognises with PocketSphinx, thinks with a scripted [`brain`] and speaks with Flite, both loaded at run time
//! from Debian packages. The gateway owns the turns ([`TurnOwner::Gateway`]); the provider is told when one ends.
//!
//! What it is for: a first conversation without an account, demonstrations, and tests of everything around a
//! provider with real speech. What it is not: a language model. It understands English, knows the topics of its
//! brain, and hears phrases of its grammar much better than free speech.
//!
//! The order of the code is the way of a turn: [`gate`](self) and listener cut the continuous audio into utterances,
//! the pool decodes them with the recogniser, the [`brain`] answers, the [`voice`] speaks, the [`pump`] keeps the
//! order of events.
//!
//! [`TurnOwner::Gateway`]: voxgate_protocol::bridge::TurnOwner::Gateway

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::audio::SampleRate;

pub mod brain;
pub mod pump;
pub mod voice;

mod agreement;
mod answer;
mod flite;
mod gate;
mod listener;
mod pocketsphinx;
mod pool;
mod recogniser;
mod transcript;
mod unanswered;

pub use pump::{LastTimeline, LocalCall, connect};

use pocketsphinx::Sphinx;
use pool::DecoderPool;
use voice::Voice;

/// The rate the recogniser hears.
pub const INPUT_RATE: SampleRate = SampleRate::HZ_16000;

/// The rate the voices speak.
pub const OUTPUT_RATE: SampleRate = SampleRate::HZ_16000;

/// Why the local provider cannot work.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A library is not installed, or not in a version this provider knows.
    #[error(
        "the local voice needs {library}, which cannot be loaded: run `apt-get install {package} \
         pocketsphinx-en-us`, or configure another provider"
    )]
    LibraryMissing {
        /// The file.
        library: &'static str,
        /// The Debian package it is in.
        package: &'static str,
    },
    /// A model is not where the configuration says.
    #[error(
        "the local voice needs the speech model {}, which does not exist: run `apt-get install \
         pocketsphinx-en-us`, or correct the path",
        path.display()
    )]
    ModelMissing {
        /// The file or folder.
        path: PathBuf,
    },
    /// PocketSphinx refuses the models.
    #[error("PocketSphinx cannot use the speech models; check their paths and that they belong together")]
    DecoderRefused,
    /// Flite gave no speech.
    #[error("Flite gave no speech")]
    VoiceRefused,
    /// Every decoder is taken.
    #[error("all speech recognisers are busy; raise the number of local decoders or try again")]
    Busy,
    /// The operating system gives no thread.
    #[error("no thread for the local voice")]
    Thread(#[source] std::io::Error),
}

/// Where the recogniser's models are. The defaults are those of the Debian package `pocketsphinx-en-us`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecogniserModels {
    /// Folder of the acoustic model.
    pub acoustic: PathBuf,
    /// The pronunciation dictionary.
    pub dictionary: PathBuf,
    /// The language model, binary or ARPA.
    pub language: PathBuf,
}

impl Default for RecogniserModels {
    fn default() -> Self {
        let folder = PathBuf::from("/usr/share/pocketsphinx/model/en-us");
        Self {
            acoustic: folder.join("en-us"),
            dictionary: folder.join("cmudict-en-us.dict"),
            language: folder.join("en-us.lm.bin"),
        }
    }
}

/// How the local provider is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// Callers that can be recognised at the same moment; each costs about 130 MB and, while its caller speaks, a
    /// quarter of a core. Default 2, at least 1.
    pub decoders: usize,
    /// Where the models are.
    pub models: RecogniserModels,
    /// Minutes east of UTC for questions about the time. Default 0: the answer then says that it is UTC.
    pub utc_offset_minutes: i16,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { decoders: 2, models: RecogniserModels::default(), utc_offset_minutes: 0 }
    }
}

/// The running local provider: decoders and voice. Cheap to clone; the threads end with the last clone and the last
/// bridge.
#[derive(Clone, Debug)]
pub struct LocalEngine {
    decoders: Arc<DecoderPool>,
    voice: Voice,
    utc_offset_minutes: i16,
}

impl LocalEngine {
    /// Checks that everything is installed and starts the threads. Takes milliseconds: the models are loaded in the
    /// background, and utterances wait for that.
    ///
    /// # Errors
    ///
    /// [`LocalError::LibraryMissing`] or [`LocalError::ModelMissing`] with the package to install;
    /// [`LocalError::Thread`] if there can be no thread.
    pub fn start(config: &LocalConfig) -> Result<Self, LocalError> {
        let models = &config.models;
        let sphinx = Sphinx::load()?;
        for path in [&models.acoustic, &models.dictionary, &models.language] {
            if !path.exists() {
                return Err(LocalError::ModelMissing { path: path.clone() });
            }
        }
        let voice = Voice::start()?;
        let decoders = DecoderPool::start(&sphinx, models, config.decoders.max(1))?;
        Ok(Self { decoders: Arc::new(decoders), voice, utc_offset_minutes: config.utc_offset_minutes })
    }

    /// Blocks until the first decoder has loaded its models, usually 0.5 to 2 s after the start.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the models cannot be used, [`LocalError::Busy`] after `limit`.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<(), LocalError> {
        self.decoders.wait_until_ready(limit)
    }

    /// The voice, to make speech outside a session.
    #[must_use]
    pub const fn voice(&self) -> &Voice {
        &self.voice
    }
}
