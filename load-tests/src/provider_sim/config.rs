//! What a simulator does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::voice::AnswerAudio;

/// How a simulator fails. Faults inside an answer strike at [`SimConfig::fault_at`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimFault {
    /// Answers the WebSocket request with this HTTP status (401, 429, 503, …).
    RefuseUpgrade(u16),
    /// Sends this much audio of the answer and then nothing.
    StallAfter(Duration),
    /// Sends this much audio of the answer and then closes with 1011.
    CloseAfter(Duration),
    /// Sends an `error` event instead of an answer.
    ErrorAtResponse {
        /// The code of the event.
        code: String,
        /// Its message.
        message: String,
    },
    /// Begins the answer and ends it as failed.
    FailResponse {
        /// The code in `status_details`.
        code: String,
        /// The message in `status_details`.
        message: String,
    },
}

/// The behaviour of a simulator. The default is a healthy provider.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where to listen. Default: loopback, any port.
    pub listen: SocketAddr,
    /// If set, other bearer tokens are refused with 401.
    pub required_key: Option<String>,
    /// What it claims to have heard. `None`: it says how long and how loud the turn was.
    pub transcript: Option<String>,
    /// From the end of a turn to its transcript. Default 50 ms.
    pub recognition_delay: Duration,
    /// From the start of a response to its first audio. Default 200 ms.
    pub model_delay: Duration,
    /// How many times faster than real time audio is sent. Default 8; infinity sends it at once.
    pub speed: f64,
    /// Audio in one delta. Default 100 ms.
    pub piece: Duration,
    /// What an answer sounds like.
    pub answer: AnswerAudio,
    /// What an answer says. `{n}` becomes the number of the response in its session, `{session}` that of the session,
    /// `{context}` everything the session's conversation holds.
    pub answer_text: String,
    /// How it fails.
    pub fault: Option<SimFault>,
    /// The response the fault strikes, counted from 1 in each session. Default 1.
    pub fault_at: u32,
    /// When it ends a session with `session_expired` and close code 1001.
    pub session_limit: Option<Duration>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            required_key: None,
            transcript: None,
            recognition_delay: Duration::from_millis(50),
            model_delay: Duration::from_millis(200),
            speed: 8.0,
            piece: Duration::from_millis(100),
            answer: AnswerAudio::default(),
            answer_text: "This is answer number {n} of the simulated provider.".to_owned(),
            fault: None,
            fault_at: 1,
            session_limit: None,
        }
    }
}
