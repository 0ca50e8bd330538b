//! The lines of a log: a header, then one line for each input, then a line that says the log is whole.

use std::io::{BufRead, Read as _};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{InterruptionRule, Leg, NetworkTimes};
use voxgate_media::turn::{ListeningRule, Question};
use voxgate_media::uplink::RtpAudio;
use voxgate_protocol::bridge::{BridgeEvent, BridgeTraits, OutputPart, ResponseStatus};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::{AllowedEvents, ParkedConversation, SidebandId};

use super::recorder::Kept;
use super::words;
use crate::dialogue::core::{CoreConfig, CoreInput};

/// The form of the log; another number cannot be read.
pub(crate) const VERSION: u32 = 1;

/// The longest line: a header with the longest conversation there is to go on with (32 MiB), escaped.
const LONGEST_LINE: u64 = 96 * 1024 * 1024;

/// The most inputs of a log: a day of packets and timeouts at 20 ms each.
const MOST_INPUTS: u64 = 20_000_000;

/// How far from its start anything in a log may lie. Sessions last a day at most.
const FURTHEST: u64 = 2 * 24 * 3_600 * 1_000_000_000;

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The file cannot be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the log cannot be understood: {reason}")]
    Malformed {
        /// Counted from one.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by another voxgate.
    #[error("the log has version {0}; this voxgate reads version {VERSION}")]
    Version(u32),
    /// Longer than any session.
    #[error("the log has more than {MOST_INPUTS} inputs")]
    TooLong,
    /// The core cannot be made.
    #[error("the session of the log cannot start: {0}")]
    Core(String),
}

/// The first line: everything a core is made of.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`VERSION`].
    pub(crate) voxgate_replay: u32,
    /// The program that wrote the log. Another one may decide otherwise.
    pub(crate) program: String,
    /// Wall clock at the start, in milliseconds since the Unix epoch. For the reader only.
    pub(crate) started_unix_ms: u64,
    /// When the session began, which its record counts from: before the log. Unknown in logs of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began: Option<Offset>,
    /// Whether audio was kept; without it, silence of the same length stands in for it.
    pub(crate) has_audio: bool,
    /// Whether words were kept; without them, every letter and digit is an `x`, and fingerprints are of that.
    #[serde(default = "with_words")]
    pub(crate) has_words: bool,
    pub(crate) session_id: SessionId,
    pub(crate) leg: LoggedLeg,
    pub(crate) traits: BridgeTraits,
    pub(crate) settings: SessionSettings,
    pub(crate) encoder: LoggedEncoder,
    pub(crate) interruption: Option<InterruptionRule>,
    pub(crate) listening: Option<ListeningRule>,
    pub(crate) expires_at_unix: u64,
    pub(crate) max_session: Duration,
    pub(crate) allowed_events: Option<AllowedEvents>,
    pub(crate) seed: u64,
    /// The conversation of an earlier session this one went on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<ParkedConversation>,
}

const fn with_words() -> bool {
    true
}

/// A conversation without its words; none if it cannot be written down.
fn without_words(parked: &ParkedConversation) -> Option<ParkedConversation> {
    let mut written = serde_json::to_value(parked).ok()?;
    words::hide(&mut written);
    serde_json::from_value(written).ok()
}

impl Header {
    pub(crate) fn new(
        config: &CoreConfig,
        resumed: Option<&ParkedConversation>,
        started: Duration,
        Kept { audio: has_audio, words: has_words }: Kept,
    ) -> Self {
        let EncoderConfig { bitrate, complexity, fec, expected_loss_percent } = config.encoder;
        Self {
            voxgate_replay: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: started.as_millis() as u64,
            began: None,
            has_audio,
            has_words,
            session_id: config.session_id.clone(),
            leg: match config.leg {
                Leg::Rtp => LoggedLeg::Rtp,
                Leg::Pcm => LoggedLeg::Pcm,
            },
            traits: config.traits,
            settings: config.settings.clone(),
            encoder: LoggedEncoder { bitrate, complexity, fec, expected_loss_percent },
            interruption: config.interruption.clone(),
            listening: config.listening,
            expires_at_unix: config.expires_at_unix,
            max_session: config.max_session,
            allowed_events: config.allowed_events.clone(),
            seed: config.seed,
            resumed: if has_words { resumed.cloned() } else { resumed.and_then(without_words) },
        }
    }

    /// What of the session the log holds.
    pub(super) const fn kept(&self) -> Kept {
        Kept { audio: self.has_audio, words: self.has_words }
    }

    /// Roughly what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.resumed.as_ref().map_or(0, ParkedConversation::bytes)
    }

    /// What the core is made of again.
    pub(crate) fn config(&self) -> CoreConfig {
        let LoggedEncoder { bitrate, complexity, fec, expected_loss_percent } = self.encoder;
        CoreConfig {
            session_id: self.session_id.clone(),
            settings: self.settings.clone(),
            traits: self.traits,
            leg: match self.leg {
                LoggedLeg::Rtp => Leg::Rtp,
                LoggedLeg::Pcm => Leg::Pcm,
            },
            encoder: EncoderConfig { bitrate, complexity, fec, expected_loss_percent },
            interruption: self.interruption.clone(),
            listening: self.listening,
            expires_at_unix: self.expires_at_unix,
            max_session: self.max_session,
            allowed_events: self.allowed_events.clone(),
            seed: self.seed,
        }
    }
}

/// [`Leg`] in a log.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoggedLeg {
    Rtp,
    Pcm,
}

/// [`EncoderConfig`] in a log.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LoggedEncoder {
    bitrate: u32,
    complexity: u8,
    fec: bool,
    expected_loss_percent: u8,
}

/// Nanoseconds from the start of the log; what came in before the session was made lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Offset(i64);

impl Offset {
    pub(crate) fn between(start: Instant, at: Instant) -> Self {
        let (late, early) = (at.saturating_duration_since(start), start.saturating_duration_since(at));
        Self(late.as_nanos() as i64 - early.as_nanos() as i64)
    }

    /// The instant, if it lies within [`FURTHEST`].
    pub(crate) fn from(self, start: Instant) -> Option<Instant> {
        let distance = Duration::from_nanos(Some(self.0.unsigned_abs()).filter(|nanos| *nanos <= FURTHEST)?);
        if self.0 < 0 { start.checked_sub(distance) } else { start.checked_add(distance) }
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// One input and what came of it.
    Step(Step),
    /// Nothing is missing before this line.
    Whole {
        /// How many inputs there were.
        inputs: u64,
    },
}

/// One input and the fingerprints of what came of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) at: Offset,
    pub(crate) input: LoggedInput,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<String>,
}

/// [`CoreInput`] in a log.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoggedInput {
    Opened,
    Text(String),
    /// An `input_audio_buffer.append` whose audio was left out.
    SilentText {
        /// The message without its audio.
        text: String,
        /// How many bytes of audio it had; none if they were no base64.
        bytes: Option<u32>,
    },
    Attach(u64),
    Sideband(u64, String),
    /// [`LoggedInput::SilentText`] of a sideband connection.
    SilentSideband {
        sideband: u64,
        text: String,
        bytes: Option<u32>,
    },
    Detach(u64),
    Rtp {
        sequence: u16,
        timestamp: u32,
        marker: bool,
        arrived: Offset,
        #[serde(with = "coded")]
        payload: Vec<u8>,
    },
    Bridge {
        at: Offset,
        event: BridgeEvent,
    },
    TurnJudged {
        question: Question,
        probability: Option<f32>,
    },
    Command(SessionCommand),
    Timeout,
    Sent,
    Network {
        relay_in: Duration,
        relay_out: Option<Duration>,
        /// Unknown in logs of older programs.
        #[serde(default, skip_serializing_if = "Duration::is_zero")]
        relay_error: Duration,
        round_trip: Option<Duration>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jitter: Option<Duration>,
    },
    End(EndReason),
}

impl LoggedInput {
    /// Roughly what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Text(text)
            | Self::SilentText { text, .. }
            | Self::Sideband(_, text)
            | Self::SilentSideband { text, .. } => text.len(),
            Self::Rtp { payload, .. } => payload.len(),
            Self::Bridge { event: BridgeEvent::Output { part: OutputPart::Audio(pcm), .. }, .. } => {
                pcm.samples.len() * 2
            }
            Self::Command(SessionCommand::AppendAudio(pcm)) => pcm.samples.len() * 2,
            _ => 0,
        }
    }

    /// One line for a reader, without a word of what was said.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Opened => "the client's channel opens".to_owned(),
            Self::Text(text) | Self::SilentText { text, .. } => format!("client {}", event_name(text)),
            Self::Attach(sideband) => format!("sideband {sideband} attaches"),
            Self::Sideband(sideband, text) | Self::SilentSideband { sideband, text, .. } => {
                format!("sideband {sideband} {}", event_name(text))
            }
            Self::Detach(sideband) => format!("sideband {sideband} leaves"),
            Self::Rtp { sequence, payload, .. } => format!("rtp {sequence}, {} bytes", payload.len()),
            Self::Bridge { event, .. } => describe_event(event),
            Self::TurnJudged { question, .. } => format!("verdict on question {}", question.0),
            Self::Command(_) => "command of the gateway".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Sent => "first packet sent".to_owned(),
            Self::Network { .. } => "network times".to_owned(),
            Self::End(reason) => format!("end {}", reason.as_str()),
        }
    }

    /// What the core took. `None` if a time in it lies nowhere near the session.
    pub(crate) fn input(&self, start: Instant) -> Option<CoreInput<'_>> {
        Some(match self {
            Self::Opened => CoreInput::Opened,
            // A message without its audio was completed when it was read.
            Self::Text(text) | Self::SilentText { text, .. } => CoreInput::Text(text),
            Self::Attach(sideband) => CoreInput::Attach(SidebandId(*sideband)),
            Self::Sideband(sideband, text) | Self::SilentSideband { sideband, text, .. } => {
                CoreInput::Sideband(SidebandId(*sideband), text)
            }
            Self::Detach(sideband) => CoreInput::Detach(SidebandId(*sideband)),
            Self::Rtp { sequence, timestamp, marker, arrived, payload } => CoreInput::Rtp(RtpAudio {
                sequence: *sequence,
                timestamp: *timestamp,
                marker: *marker,
                payload,
                arrived: arrived.from(start)?,
            }),
            Self::Bridge { at, event } => CoreInput::Bridge { at: at.from(start)?, event: event.clone() },
            Self::TurnJudged { question, probability } => {
                CoreInput::TurnJudged { question: *question, probability: *probability }
            }
            Self::Command(command) => CoreInput::Command(command.clone()),
            Self::Timeout => CoreInput::Timeout,
            Self::Sent => CoreInput::Sent,
            Self::Network { relay_in, relay_out, relay_error, round_trip, jitter } => {
                CoreInput::Network(NetworkTimes {
                    relay_in: *relay_in,
                    relay_out: *relay_out,
                    relay_error: *relay_error,
                    round_trip: *round_trip,
                    jitter: *jitter,
                })
            }
            Self::End(reason) => CoreInput::End(*reason),
        })
    }

    /// Puts silence where audio was left out.
    fn complete(&mut self) -> Result<(), String> {
        const MOST: u32 = 16 * 1024 * 1024;
        let (Self::SilentText { text, bytes } | Self::SilentSideband { text, bytes, .. }) = self else {
            return Ok(());
        };
        let mut message: serde_json::Value =
            serde_json::from_str(text).map_err(|_| "the message is not JSON".to_owned())?;
        let audio = match bytes {
            Some(bytes) if *bytes > MOST => return Err("the message has more audio than any".to_owned()),
            Some(bytes) => STANDARD.encode(vec![0; *bytes as usize]),
            // No base64, as what the client sent.
            None => "!".to_owned(),
        };
        if !message.is_object() {
            return Err("the message is not an object".to_owned());
        }
        message["audio"] = audio.into();
        *text = message.to_string();
        Ok(())
    }
}

/// The type of a message, which may be anything.
fn event_name(text: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    event["type"].as_str().unwrap_or("?").to_owned()
}

fn describe_event(event: &BridgeEvent) -> String {
    match event {
        BridgeEvent::Output { response_id, part, .. } => format!("provider {response_id} {part:?}"),
        BridgeEvent::ResponseStarted { response_id } => format!("provider {response_id} starts"),
        BridgeEvent::ResponseDone { response_id, status, .. } => {
            let status = match status {
                ResponseStatus::Failed { code, .. } => code.clone(),
                other => format!("{other:?}"),
            };
            format!("provider {response_id} done: {status}")
        }
        BridgeEvent::OutputItemDone { item_id, status, .. } => format!("provider {item_id} {status:?}"),
        BridgeEvent::Fault(fault) => format!("provider fault {}", fault.code),
        BridgeEvent::InputTranscriptDelta { item_id, .. } => format!("provider {item_id} words"),
        BridgeEvent::InputTranscriptDone { item_id, .. } => format!("provider {item_id} transcript"),
        BridgeEvent::InputWords { item_id, .. } => format!("provider {item_id} recognised, unseen"),
        BridgeEvent::InputTranscriptFailed { item_id, .. } => format!("provider {item_id} not understood"),
        BridgeEvent::Closed { .. } => "provider closed".to_owned(),
        BridgeEvent::SpeechStarted { item_id, .. } => format!("provider {item_id} speech begins"),
        BridgeEvent::SpeechStopped { item_id, .. } => format!("provider {item_id} speech ends"),
        BridgeEvent::InputTimedOut { item_id, .. } => format!("provider {item_id} nobody spoke"),
        BridgeEvent::InterimTranscript { .. } => "provider words so far".to_owned(),
        BridgeEvent::InputCommitted { item_id } => format!("provider {item_id} committed"),
        BridgeEvent::Ready => "provider ready".to_owned(),
        BridgeEvent::Stage(stage) => format!("provider {stage:?}"),
    }
}

/// Bytes as base64.
mod coded {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(|_| D::Error::custom("the payload is not base64"))
    }
}

/// Reads a log line by line. Takes any bytes.
pub(crate) struct Reader<R> {
    source: R,
    line: u64,
    inputs: u64,
    is_whole: bool,
}

impl<R: BufRead> Reader<R> {
    /// # Errors
    /// [`LogError`] if the header cannot be understood.
    pub(crate) fn open(source: R) -> Result<(Header, Self), LogError> {
        let mut reader = Self { source, line: 0, inputs: 0, is_whole: false };
        let text = reader.next_line()?.unwrap_or_default();
        let version: serde_json::Value = reader.parse(&text)?;
        match version["voxgate_replay"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(LogError::Version(u32::try_from(version).unwrap_or(u32::MAX))),
            None => return Err(reader.malformed("it is no header of a replay log")),
        }
        let header = reader.parse(&text)?;
        Ok((header, reader))
    }

    /// The next input.
    ///
    /// # Errors
    /// [`LogError`] if the line cannot be understood.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, LogError> {
        let Some(text) = self.next_line()? else { return Ok(None) };
        if self.is_whole {
            return Err(self.malformed("the log has ended before"));
        }
        match self.parse(&text)? {
            Line::Step(mut step) => {
                self.inputs += 1;
                if self.inputs > MOST_INPUTS {
                    return Err(LogError::TooLong);
                }
                step.input.complete().map_err(|reason| self.malformed(&reason))?;
                Ok(Some(step))
            }
            Line::Whole { inputs } if inputs == self.inputs => {
                self.is_whole = true;
                self.next()
            }
            Line::Whole { inputs } => {
                Err(self.malformed(&format!("{inputs} inputs were written, {} are left", self.inputs)))
            }
        }
    }

    /// Whether the log says that nothing is missing. Known after the last line.
    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The line read last, counted from one.
    pub(crate) const fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn malformed(&self, reason: &str) -> LogError {
        LogError::Malformed { line: self.line, reason: reason.to_owned() }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let mut text = Vec::new();
        let read = self.source.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if text.last() != Some(&b'\n') {
            return Err(self.malformed("it is cut off or too long"));
        }
        Ok(Some(text))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &[u8]) -> Result<T, LogError> {
        serde_json::from_slice(text).map_err(|error| self.malformed(&error.to_string()))
    }
}
