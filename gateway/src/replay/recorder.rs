//! Takes down what goes into and comes out of one session's core.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::session::SessionCommand;

use super::entry::{LoggedInput, Offset};
use super::words;
use super::writer::{Note, Queue};
use crate::dialogue::core::{CoreInput, CoreOutput};

/// As the Realtime API reads audio: padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What of a session its log holds. Silence of the same length stands in for voices, and `x` for letters and digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// The caller's and the agent's voice.
    pub(crate) audio: bool,
    /// What they say and write.
    pub(crate) words: bool,
}

impl Kept {
    /// Whether a replay can do the same again. A turn ends with the first sound of its answer, which silence does not have; and
    /// what is only to be measured reaches nobody.
    pub(super) const fn compares(self, output: &CoreOutput) -> bool {
        match output {
            CoreOutput::Turn(_) => self.audio,
            CoreOutput::ConfirmSent => false,
            _ => true,
        }
    }
}

/// The log of one session. Its end is written when this is dropped.
pub(crate) struct Recorder {
    queue: Arc<Queue>,
    session: u64,
    start: Instant,
    kept: Kept,
    pending: Option<Pending>,
    inputs: u64,
    is_whole: bool,
}

/// An input whose outputs are still coming.
struct Pending {
    at: Offset,
    input: LoggedInput,
    outputs: Vec<CoreOutput>,
}

impl Recorder {
    /// `is_whole` tells whether the header is on its way.
    pub(super) const fn new(
        queue: Arc<Queue>,
        session: u64,
        start: Instant,
        kept: Kept,
        is_whole: bool,
    ) -> Self {
        Self { queue, session, start, kept, pending: None, inputs: 0, is_whole }
    }

    /// When the session began: times in the log count from here.
    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    /// The core is about to take this.
    pub(crate) fn input(&mut self, now: Instant, input: &CoreInput<'_>) {
        self.flush();
        if self.is_whole {
            let input = self.logged(input);
            let input = if self.kept.words { input } else { without_words(input) };
            self.pending = Some(Pending { at: Offset::between(self.start, now), input, outputs: Vec::new() });
        }
    }

    /// The core did this about it.
    pub(crate) fn output(&mut self, output: &CoreOutput) {
        if let Some(pending) = &mut self.pending
            && self.kept.compares(output)
        {
            pending.outputs.push(without_sound(output));
        }
    }

    fn flush(&mut self) {
        let Some(Pending { at, input, outputs }) = self.pending.take() else { return };
        self.inputs += 1;
        let note = Note::Step { session: self.session, at, input, outputs, start: self.start() };
        // Once something is missing, what follows explains nothing.
        self.is_whole = self.is_whole && self.queue.offer(note);
    }

    fn logged(&self, input: &CoreInput<'_>) -> LoggedInput {
        match input {
            CoreInput::Opened => LoggedInput::Opened,
            CoreInput::Text(text) if self.kept.audio => LoggedInput::Text((*text).to_owned()),
            CoreInput::Text(text) => without_audio(text),
            CoreInput::Attach(sideband) => LoggedInput::Attach(sideband.0),
            CoreInput::Sideband(sideband, text) if self.kept.audio => {
                LoggedInput::Sideband(sideband.0, (*text).to_owned())
            }
            CoreInput::Sideband(sideband, text) => of_sideband(sideband.0, without_audio(text)),
            CoreInput::Detach(sideband) => LoggedInput::Detach(sideband.0),
            CoreInput::Rtp(packet) => LoggedInput::Rtp {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                arrived: Offset::between(self.start, packet.arrived),
                payload: if self.kept.audio { packet.payload.to_vec() } else { empty_packet(packet.payload) },
            },
            CoreInput::Bridge { at, event } => LoggedInput::Bridge {
                at: Offset::between(self.start, *at),
                event: if self.kept.audio { event.clone() } else { silenced(event) },
            },
            CoreInput::TurnJudged { question, probability } => {
                LoggedInput::TurnJudged { question: *question, probability: *probability }
            }
            CoreInput::Command(SessionCommand::AppendAudio(pcm)) if !self.kept.audio => {
                LoggedInput::Command(SessionCommand::AppendAudio(silence_like(pcm)))
            }
            CoreInput::Command(command) => LoggedInput::Command(command.clone()),
            CoreInput::Timeout => LoggedInput::Timeout,
            CoreInput::Sent => LoggedInput::Sent,
            CoreInput::Network(times) => LoggedInput::Network {
                relay_in: times.relay_in,
                relay_out: times.relay_out,
                relay_error: times.relay_error,
                round_trip: times.round_trip,
                jitter: times.jitter,
            },
            CoreInput::End(reason) => LoggedInput::End(*reason),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
        let inputs = self.is_whole.then_some(self.inputs);
        // If even this finds no place, the file lacks its last line, which says the same.
        self.queue.offer(Note::Over { session: self.session, inputs });
    }
}

/// The sound of an output is in no fingerprint; its time and length are.
fn without_sound(output: &CoreOutput) -> CoreOutput {
    match output {
        CoreOutput::Audio { timestamp, marker, first_received, is_measured, lateness, .. } => {
            CoreOutput::Audio {
                payload: Vec::new(),
                timestamp: *timestamp,
                marker: *marker,
                first_received: *first_received,
                is_measured: *is_measured,
                lateness: *lateness,
            }
        }
        CoreOutput::JudgeTurn { question, speech } => {
            CoreOutput::JudgeTurn { question: *question, speech: silence_like(speech) }
        }
        CoreOutput::Bridge(BridgeCommand::Audio(pcm)) => {
            CoreOutput::Bridge(BridgeCommand::Audio(silence_like(pcm)))
        }
        other => other.clone(),
    }
}

fn silence_like(pcm: &Pcm) -> Pcm {
    Pcm { rate: pcm.rate, samples: vec![0; pcm.samples.len()] }
}

fn silenced(event: &BridgeEvent) -> BridgeEvent {
    match event {
        BridgeEvent::Output { response_id, item_id, part: OutputPart::Audio(pcm) } => BridgeEvent::Output {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            part: OutputPart::Audio(silence_like(pcm)),
        },
        other => other.clone(),
    }
}

/// The input with its words hidden. What cannot be hidden is left out.
fn without_words(input: LoggedInput) -> LoggedInput {
    match input {
        LoggedInput::Text(text) => LoggedInput::Text(words::hide_in_message(&text)),
        LoggedInput::SilentText { text, bytes } => {
            LoggedInput::SilentText { text: words::hide_in_message(&text), bytes }
        }
        LoggedInput::Sideband(sideband, text) => {
            LoggedInput::Sideband(sideband, words::hide_in_message(&text))
        }
        LoggedInput::SilentSideband { sideband, text, bytes } => {
            LoggedInput::SilentSideband { sideband, text: words::hide_in_message(&text), bytes }
        }
        LoggedInput::Bridge { at, event } if !is_sound(&event) => match written_without_words(&event) {
            Some(event) => LoggedInput::Bridge { at, event },
            None => LoggedInput::Timeout,
        },
        LoggedInput::Command(command) if !matches!(command, SessionCommand::AppendAudio(_)) => {
            written_without_words(&command).map_or(LoggedInput::Timeout, LoggedInput::Command)
        }
        other => other,
    }
}

const fn is_sound(event: &BridgeEvent) -> bool {
    matches!(event, BridgeEvent::Output { part: OutputPart::Audio(_), .. })
}

fn written_without_words<T: Serialize + DeserializeOwned>(said: &T) -> Option<T> {
    let mut written = serde_json::to_value(said).ok()?;
    words::hide(&mut written);
    serde_json::from_value(written).ok()
}

/// A packet of the same length in time, without any sound: its TOC byte, and the frame count where there is one (RFC
/// 6716 section 3.2).
fn empty_packet(payload: &[u8]) -> Vec<u8> {
    let count = match payload.first() {
        Some(toc) if toc & 3 == 3 => 2,
        _ => 1,
    };
    payload.iter().take(count).copied().collect()
}

/// A message of the client without the caller's voice.
fn without_audio(text: &str) -> LoggedInput {
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
        // No message the core would take audio from, but nobody knows what is in it.
        return LoggedInput::Text("not JSON".to_owned());
    };
    if message.get("type").and_then(Value::as_str) != Some("input_audio_buffer.append") {
        return LoggedInput::Text(text.to_owned());
    }
    let audio = match message.get_mut("audio").map(Value::take) {
        Some(Value::String(audio)) => audio,
        Some(other) => {
            // Refused for its kind, whatever is in it.
            message["audio"] = match other {
                Value::Array(_) => Value::Array(Vec::new()),
                Value::Object(_) => Value::Object(serde_json::Map::new()),
                small => small,
            };
            return LoggedInput::Text(Value::Object(message).to_string());
        }
        None => return LoggedInput::Text(text.to_owned()),
    };
    message.remove("audio");
    let bytes = BASE64.decode(audio).ok().and_then(|bytes| u32::try_from(bytes.len()).ok());
    LoggedInput::SilentText { text: Value::Object(message).to_string(), bytes }
}

/// The same message, from a sideband connection.
fn of_sideband(sideband: u64, message: LoggedInput) -> LoggedInput {
    match message {
        LoggedInput::SilentText { text, bytes } => LoggedInput::SilentSideband { sideband, text, bytes },
        LoggedInput::Text(text) => LoggedInput::Sideband(sideband, text),
        other => other,
    }
}
