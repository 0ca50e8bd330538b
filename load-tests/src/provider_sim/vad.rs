//! Hears speech by its energy.
//!
//! Audio is looked at in windows of 20 ms. A window is loud when its root mean square exceeds `threshold` × 1000 of
//! 32 768 (500, about −36 dBFS, at the default threshold of 0.5). Three loud windows in a row are speech, whose start is the
//! first of them minus `prefix_padding_ms`; `silence_duration_ms` of windows that are not loud end it, and that silence
//! belongs to the turn. `semantic_vad` listens for words in reality; here it is the same with a silence of 300, 500 or
//! 1000 ms for high, medium or low eagerness.

use serde_json::Value;

use super::voice::milliseconds;

/// Samples in a window: 20 ms at 24 kHz.
pub const WINDOW: usize = 480;
const WINDOW_MS: u64 = 20;
const LOUD_WINDOWS: u32 = 3;

/// What changed at a position of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Speech began here, padding included. Milliseconds since the session began.
    Started(u64),
    /// Speech ended here, silence included. Milliseconds since the session began.
    Stopped(u64),
}

/// Parameters of turn detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadParameters {
    level: f64,
    padding_ms: u64,
    silence_ms: u64,
    /// Whether the end of a turn is answered.
    pub create_response: bool,
    /// Whether speech cancels an answer.
    pub interrupt_response: bool,
}

impl VadParameters {
    /// Reads a `turn_detection` object; `None` if it is null.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        let kind = object["type"].as_str()?;
        let silence_ms = match (kind, object["eagerness"].as_str()) {
            ("semantic_vad", Some("low")) => 1_000,
            ("semantic_vad", Some("high")) => 300,
            ("semantic_vad", _) => 500,
            _ => object["silence_duration_ms"].as_u64().unwrap_or(500),
        };
        Some(Self {
            level: object["threshold"].as_f64().unwrap_or(0.5) * 1_000.0,
            padding_ms: object["prefix_padding_ms"].as_u64().unwrap_or(300),
            silence_ms,
            create_response: object["create_response"].as_bool().unwrap_or(true),
            interrupt_response: object["interrupt_response"].as_bool().unwrap_or(true),
        })
    }
}

/// The detector. Gets every window, whether or not turn detection is on.
#[derive(Debug, Default)]
pub struct EnergyVad {
    windows: u64,
    loud: u32,
    quiet_ms: u64,
    is_speech: bool,
}

impl EnergyVad {
    /// Forgets the speech in progress.
    pub const fn reset(&mut self) {
        self.loud = 0;
        self.quiet_ms = 0;
        self.is_speech = false;
    }

    /// Hears the next window.
    pub fn hear(&mut self, window: &[i16], parameters: Option<&VadParameters>) -> Option<Heard> {
        let start_ms = milliseconds(self.windows * WINDOW as u64);
        self.windows += 1;
        let parameters = parameters?;
        let is_loud = level(window) > parameters.level;
        if self.is_speech {
            self.quiet_ms = if is_loud { 0 } else { self.quiet_ms + WINDOW_MS };
            if self.quiet_ms < parameters.silence_ms {
                return None;
            }
            self.reset();
            return Some(Heard::Stopped(start_ms + WINDOW_MS));
        }
        self.loud = if is_loud { self.loud + 1 } else { 0 };
        if self.loud < LOUD_WINDOWS {
            return None;
        }
        self.is_speech = true;
        self.quiet_ms = 0;
        let first_ms = (start_ms + WINDOW_MS).saturating_sub(u64::from(LOUD_WINDOWS) * WINDOW_MS);
        Some(Heard::Started(first_ms.saturating_sub(parameters.padding_ms)))
    }
}

/// Root mean square of samples, 0 to 32 768.
#[must_use]
pub fn level(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (sum / samples.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn speech_begins_before_its_first_loud_window_and_ends_after_its_silence() {
        let parameters =
            VadParameters::read(&json!({"type": "server_vad", "prefix_padding_ms": 100})).unwrap();
        let mut vad = EnergyVad::default();
        let mut heard = Vec::new();
        for index in 0..100 {
            let value = if (20..50).contains(&index) { 3_000 } else { 0 };
            heard.extend(vad.hear(&[value; WINDOW], Some(&parameters)));
        }
        assert_eq!(heard, [Heard::Started(300), Heard::Stopped(1_500)]);
    }
}
