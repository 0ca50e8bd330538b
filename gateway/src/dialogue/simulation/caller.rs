//! The caller: a real voice, coded once for all schedules.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use voxgate_media::encode::{Encoder, EncoderConfig, FRAME};
use voxgate_media::resample::Resampler;
use voxgate_media::session::{InterruptionRule, Leg};
use voxgate_protocol::audio::{Pcm, SampleRate};

use super::dice::Dice;

/// The same sentence as in the tests of `media`.
const SENTENCE: &[u8] = include_bytes!("../../../../media/tests/data/speech-16khz.wav");

/// Frames of the sentence that are used: the first words.
const SPOKEN_FRAMES: usize = 100;

/// The longest row of backchannels that is still one.
const LONGEST_BACKCHANNEL: Duration = Duration::from_millis(1_500);

/// Frames of one message of a WebSocket client.
const FRAMES_OF_MESSAGE: usize = 5;

/// What a caller can say.
struct Voice {
    speech: Vec<Vec<u8>>,
    silence: Vec<u8>,
    speech_messages: Vec<String>,
    silence_message: String,
}

fn voice() -> &'static Voice {
    static VOICE: OnceLock<Voice> = OnceLock::new();
    VOICE.get_or_init(|| {
        let coded = sentence_at(SampleRate::HZ_48000);
        let mut encoder = Encoder::new(SampleRate::HZ_48000, EncoderConfig::default()).unwrap();
        let speech = coded.chunks_exact(960).take(SPOKEN_FRAMES).map(|frame| encoder.encode(frame).unwrap());
        let speech = speech.collect();
        let silence = (0..10).map(|_| encoder.encode(&[0; 960]).unwrap()).last().unwrap();
        let written = sentence_at(SampleRate::HZ_24000);
        let written = &written[..SPOKEN_FRAMES * 480];
        let speech_messages = written.chunks(FRAMES_OF_MESSAGE * 480).map(append).collect();
        let silence_message = append(&[0; FRAMES_OF_MESSAGE * 480]);
        Voice { speech, silence, speech_messages, silence_message }
    })
}

/// The sentence without the silence in front of it.
fn sentence_at(rate: SampleRate) -> Vec<i16> {
    let mut reader = hound::WavReader::new(SENTENCE).unwrap();
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    let begin = samples.iter().position(|sample| sample.unsigned_abs() > 1_500).unwrap();
    let mut resampler = Resampler::new(SampleRate::HZ_16000, rate).unwrap();
    let mut output = resampler.push(&samples[begin..]);
    output.extend(resampler.flush());
    output
}

fn append(samples: &[i16]) -> String {
    let pcm = Pcm { rate: SampleRate::HZ_24000, samples: samples.to_vec() };
    let audio = STANDARD.encode(pcm.to_le_bytes());
    serde_json::json!({"type": "input_audio_buffer.append", "audio": audio}).to_string()
}

/// One piece of audio on its way to the gateway.
#[derive(Clone, Copy)]
pub(super) enum Said {
    Packet { sequence: u16, timestamp: u32, payload: &'static [u8] },
    Message(&'static str),
}

/// What is audible at a moment, for a provider that listens itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    None,
    SpeechBegins,
    SpeechEnds,
}

#[derive(Clone, Copy)]
struct Frame {
    at: Instant,
    said: Said,
    edge: Edge,
}

/// Everything the caller will send, in order of time.
pub(super) struct Caller {
    frames: VecDeque<Frame>,
}

impl Caller {
    pub(super) fn new(
        leg: Leg,
        rule: Option<&InterruptionRule>,
        start: Instant,
        length: Duration,
        dice: &mut Dice,
    ) -> Self {
        let mut frames = Vec::new();
        let mut at = start + dice.millis(0, 800);
        let mut stream = Stream { sequence: 65_500, start };
        while at < start + length {
            at = match leg {
                Leg::Rtp => stream.speak(at, spoken_frames(rule, dice), dice, &mut frames),
                Leg::Pcm => send_messages(at, dice, &mut frames),
            };
            at += dice.millis(100, if rule.is_some() { 1_500 } else { 2_500 });
        }
        frames.sort_by_key(|frame| frame.at);
        Self { frames: frames.into() }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.frames.front().map(|frame| frame.at)
    }

    pub(super) fn speak(&mut self) -> Option<(Said, Edge)> {
        self.frames.pop_front().map(|frame| (frame.said, frame.edge))
    }
}

struct Stream {
    sequence: u16,
    start: Instant,
}

impl Stream {
    /// An utterance of some frames and what follows: silence, or nothing at all (muted, DTX, a replaced track).
    fn speak(&mut self, begin: Instant, spoken: usize, dice: &mut Dice, frames: &mut Vec<Frame>) -> Instant {
        let silent = if dice.chance(50) { dice.between(1, 40) as usize } else { 0 };
        let mut at = begin;
        for index in 0..spoken + silent {
            let voice = voice();
            let payload = voice.speech.get(index).filter(|_| index < spoken).unwrap_or(&voice.silence);
            let since = at.saturating_duration_since(self.start).as_millis() as u32;
            let said = Said::Packet { sequence: self.sequence, timestamp: since * 48, payload };
            let edge = match index {
                0 => Edge::SpeechBegins,
                _ if index == spoken - 1 => Edge::SpeechEnds,
                _ => Edge::None,
            };
            self.sequence = self.sequence.wrapping_add(1);
            // A lost packet still is an edge of what the provider would have heard, more or less.
            if !dice.chance(2) || edge != Edge::None {
                let late = if dice.chance(3) { dice.millis(5, 60) } else { Duration::ZERO };
                frames.push(Frame { at: at + late, said, edge });
                if dice.chance(2) {
                    frames.push(Frame { at: at + late, said, edge: Edge::None });
                }
            }
            at += FRAME;
        }
        at
    }
}

/// Where a rule judges by length, utterances end around its borders.
fn spoken_frames(rule: Option<&InterruptionRule>, dice: &mut Dice) -> usize {
    const AROUND: Duration = Duration::from_millis(200);
    let Some(rule) = rule else { return dice.between(2, 30) as usize };
    let border = if dice.chance(15) { LONGEST_BACKCHANNEL } else { rule.minimum_speech };
    let length = (border + dice.millis(0, 400)).saturating_sub(AROUND);
    (length.as_millis() / FRAME.as_millis()).max(2) as usize
}

/// Clients that send PCM send it in pieces, and what is recorded already as fast as they can.
fn send_messages(begin: Instant, dice: &mut Dice, frames: &mut Vec<Frame>) -> Instant {
    let spoken = dice.between(1, 8) as usize;
    let silent = if dice.chance(75) { dice.between(1, 10) as usize } else { 0 };
    let pace = if dice.chance(20) { Duration::ZERO } else { FRAME * FRAMES_OF_MESSAGE as u32 };
    let mut at = begin;
    for index in 0..spoken + silent {
        let voice = voice();
        let message = voice.speech_messages.get(index).filter(|_| index < spoken);
        let said = Said::Message(message.unwrap_or(&voice.silence_message));
        let edge = match index {
            0 => Edge::SpeechBegins,
            _ if index == spoken => Edge::SpeechEnds,
            _ => Edge::None,
        };
        frames.push(Frame { at, said, edge });
        at += pace;
    }
    at
}
