//! The benchmark of conversations as a caller hears them.
//!
//! A caller asks, interrupts the answer with the next question, and so on ([`talk`]). What was heard is read from the
//! caller's own recording ([`hearing`]) and laid beside what the gateway said about it ([`figures`]).
//! `conversation_bench/method.md` says what each figure means and goes into every record ([`record`]).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub mod figures;
pub mod hearing;
pub mod record;
pub mod run;
pub mod talk;

/// The pause after which a turn is over, as every session of the benchmark configures it.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What the simulated provider takes from the wish for an answer to its first audio.
pub const MODEL_DELAY: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// WAV files of speech, said in turn.
    pub speech: Vec<PathBuf>,
    /// Interruptions in each arrangement.
    pub interruptions: usize,
}

/// Who finds the turns, and what the gateway knows of the caller's ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// Its name in the record.
    pub name: &'static str,
    /// The model that is routed to it.
    pub model: &'static str,
    /// Whether the caller opens the channel `voxgate` and tells how long sound waits in it.
    pub reports: bool,
}

/// All of them, in the order they are measured.
pub const ARRANGEMENTS: [Arrangement; 3] = [
    Arrangement { name: "turns found by the gateway", model: "here", reports: true },
    Arrangement { name: "turns found by the provider", model: "there", reports: true },
    Arrangement {
        name: "turns found by the gateway, a caller that reports nothing",
        model: "here",
        reports: false,
    },
];

/// The configuration of the gateway: the same provider twice.
#[must_use]
pub fn configuration(provider: SocketAddr) -> String {
    let entry = |name: &str, owner: &str| {
        format!(
            "  {name}: {{ kind: openai-realtime, base_url: \"http://{provider}/v1\", turn_detection: {owner} }}\n"
        )
    };
    format!(
        "providers:\n{}{}routes:\n  - {{ model: here, provider: here }}\n  - {{ model: there, provider: there }}\n",
        entry("here", "gateway"),
        entry("there", "provider"),
    )
}
