//! What can go wrong with a call, each in one sentence that says what to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::speech::SpeechError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The base URL is not an address.
    #[error("{url} is not a gateway address; use one like http://127.0.0.1:8080/v1")]
    Address {
        /// What was given.
        url: String,
    },
    /// The file with extra certificate authorities cannot be used.
    #[error("the certificate authority file {path} cannot be used ({reason}); give a PEM file")]
    Authority {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No HTTP answer.
    #[error("no gateway answers at {url} ({reason}); check that it runs and that the address is right")]
    Unreachable {
        /// Where the caller tried.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// HTTP 401 or 403.
    #[error("the gateway refused the key ({status}: {message}); use an API key that the gateway knows")]
    KeyRefused {
        /// HTTP status.
        status: u16,
        /// The API's own words.
        message: String,
    },
    /// Any other HTTP answer that is not a success.
    #[error(
        "the gateway refused to {what} ({status}: {message}); correct the request or look into the gateway's log"
    )]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The API's own words.
        message: String,
    },
    /// A success that does not follow the API.
    #[error(
        "the gateway's answer to {what} is not one of the Realtime API ({reason}); check that the address is a gateway's"
    )]
    BadAnswer {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The WebRTC engine gave up.
    #[error(
        "the WebRTC connection failed while {stage} ({reason}); check that UDP reaches the gateway's media port"
    )]
    Media {
        /// What the call was doing.
        stage: &'static str,
        /// What the engine says.
        reason: String,
    },
    /// Connecting took too long.
    #[error("the call was still {stage} after {:.1} s; check that UDP reaches the gateway's media port", waited.as_secs_f64())]
    ConnectTimeout {
        /// What the call was doing.
        stage: &'static str,
        /// The limit.
        waited: Duration,
    },
    /// TCP or TLS was asked for and the answer has no candidate for it.
    #[error("the gateway offers no media over TCP; call over UDP, or set `stream` for its relay")]
    NoStream,
    /// The relay's TCP port.
    #[error(
        "the relay cannot be reached over the stream the gateway offers ({reason}); check that its TCP port is open and, for TLS, that --ca names its authority"
    )]
    StreamUnreachable {
        /// What the network, or TLS, says.
        reason: String,
    },
    /// The Opus library refused to work.
    #[error("the audio codec failed ({0}); this is a fault of the installation")]
    Codec(#[from] opus::Error),
    /// The file is not something to say.
    #[error("{path} cannot be played: {reason}; give a WAV file with speech in it")]
    Wav {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SpeechError,
    },
    /// The answer, or the picture, cannot be written.
    #[error("{path} cannot be written ({reason}); choose a place you may write to")]
    Save {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The question was asked and nothing, or not all of it, came back.
    #[error("no complete answer came within {:.0} s (last event: {last_event}); try a longer timeout or look into the gateway's log", waited.as_secs_f64())]
    NoAnswer {
        /// The limit.
        waited: Duration,
        /// The type of the last event.
        last_event: String,
    },
    /// The model, or the gateway in its name, says that the answer failed.
    #[error("the answer failed ({message}); look at the provider's state in the gateway")]
    AnswerFailed {
        /// The API's own words.
        message: String,
    },
    /// The other side ended the call.
    #[error("the gateway ended the call ({reason}); look into the gateway's log")]
    Ended {
        /// What is known about it.
        reason: String,
    },
    /// The terminal or pipe is gone.
    #[error("the output cannot be written ({0}); check where it goes")]
    Output(#[from] std::io::Error),
    /// The operating system gave no random number.
    #[error("the system gives no random numbers; this is a fault of the machine")]
    Randomness,
}

impl CallError {
    /// The exit status of the command: 2 wrong arguments or files, 3 no gateway, 4 refused, 5 no media connection,
    /// 6 no answer, 1 anything else. 0 is success.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Address { .. } | Self::Authority { .. } | Self::Wav { .. } | Self::Save { .. } => 2,
            Self::Unreachable { .. } | Self::BadAnswer { .. } => 3,
            Self::KeyRefused { .. } | Self::Refused { .. } => 4,
            Self::Media { .. }
            | Self::ConnectTimeout { .. }
            | Self::NoStream
            | Self::StreamUnreachable { .. } => 5,
            Self::NoAnswer { .. } | Self::AnswerFailed { .. } | Self::Ended { .. } => 6,
            Self::Codec(_) | Self::Output(_) | Self::Randomness => 1,
        }
    }
}

/// Names what the engine was asked to do when it refused.
pub(crate) fn media(stage: &'static str) -> impl FnOnce(webrtc::error::Error) -> CallError {
    move |error| CallError::Media { stage, reason: error.to_string() }
}
