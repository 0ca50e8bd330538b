//! The caller's way in: audio to turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audible::WordEnds;
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};
use voxgate_protocol::bridge::{BridgeTraits, TurnOwner};
use voxgate_protocol::settings::TurnDetection;
use voxgate_protocol::trace::AudioMark;

use crate::encode::OPUS_LOOK_AHEAD;
use crate::resample::Resampler;
use crate::turn::{ListeningRule, PauseRule, Question, TurnEvent, TurnMachine};
use crate::uplink::{DEFAULT_MAX_SILENCE, RtpAudio, Uplink, UplinkFrame, UplinkStats};
use crate::voice::{VoiceActivity, VoiceFrame};

use super::loudness::{Loudness, Piece};
use super::observing::HeardSound;
use super::pieces::{MessagePiece, PieceClock, PieceStats};
use super::recent::Recent;
use super::{Leg, SessionError};

/// How far back arrivals are remembered: longer than any configured pause plus the start of a turn.
const ARRIVAL_MEMORY: Duration = Duration::from_secs(12);

/// Audio kept before speech is detected, so that the provider hears the beginning of the first word: at most the
/// longest prefix padding a client may ask for.
const MAX_PREFIX: Duration = Duration::from_secs(10);

/// What a semantic turn gets before its first word, for which a client cannot ask.
pub(super) const SEMANTIC_PADDING: Duration = Duration::from_millis(300);

/// Time the detector needs to be sure, in addition to the prefix padding.
const DETECTION_LAG: Duration = Duration::from_millis(120);

/// Silence that is made beyond the pause that ends a turn, so that the turn of a caller who vanished ends.
const SILENCE_MARGIN: Duration = Duration::from_secs(1);

/// The pieces a message's audio is heard in, as if it came by RTP. What reaches the provider is decided once a piece,
/// so a turn that lies inside one long message must not be heard in one go.
const PIECE: Duration = Duration::from_millis(20);

/// Less than this is no turn: the Realtime API refuses to commit it (`input_audio_buffer_commit_empty`).
const SHORTEST_COMMIT: Duration = Duration::from_millis(100);

/// The longest idle timeout a client may ask for, 1.4 MiB at 24 kHz.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How much later than the last word a detector may say that speech ended, and how much earlier. Less than the shortest
/// pause that ends a turn, or noise in the pause would be a word.
const MOST_LATE: Duration = Duration::from_millis(250);
const MOST_EARLY: Duration = Duration::from_millis(100);

/// The most audio one Opus packet holds (RFC 6716 section 2.1.4).
const LONGEST_PACKET: Duration = Duration::from_millis(120);

/// When a stretch of the caller's audio came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    end: SampleCount,
    /// From the network.
    pub(super) received: Instant,
    /// How long it waited for packets before it.
    pub(super) waited: Duration,
    /// When its samples were ready.
    pub(super) decoded: Instant,
    /// The RTP timestamp of the packet, and behind its last sample.
    timestamps: Option<(u32, u32)>,
    /// The message it came in, and the position behind its last sample.
    message: Option<(MessagePiece, SampleCount)>,
    /// For the arrival of one sample: how long that sample waited at the client, for its packet or message to fill and for
    /// what the coder looks ahead.
    pub(super) packing: Duration,
    /// For the arrival of one sample: how long its message was held up on the way.
    pub(super) late: Duration,
    /// For the arrival of one sample: which it is in the client's counting.
    pub(super) mark: Option<AudioMark>,
}

/// Where a piece of audio comes from.
#[derive(Clone, Copy, Debug)]
struct Provenance {
    received: Instant,
    waited: Duration,
    timestamp: Option<u32>,
    message: Option<(MessagePiece, SampleCount)>,
}

impl Provenance {
    /// Not from the client.
    const fn at(received: Instant) -> Self {
        Self { received, waited: Duration::ZERO, timestamp: None, message: None }
    }
}

/// What the input path found out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum InputEvent {
    /// Audio the provider has to hear.
    Audio(Pcm),
    /// Speech began (gateway's own detection).
    SpeechStarted {
        /// Position, prefix padding included.
        at: Duration,
    },
    /// The listener is asked whether the turn is over.
    Paused {
        /// The question.
        question: Question,
        /// The end of the turn so far.
        speech: Pcm,
    },
    /// The turn is over (gateway's own detection).
    SpeechStopped {
        /// Position.
        at: Duration,
        /// When the last speech sample came in.
        arrival: Option<Arrival>,
    },
    /// The caller stayed silent after the answer.
    IdleTimeout {
        /// Where the agent's last word was heard.
        from: Duration,
        /// The position now.
        to: Duration,
    },
}

/// What reaches the provider while nobody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Everything: the provider or the client decides about turns.
    Open,
    /// Only turns, with their prefix.
    Turns {
        /// Whether a turn is being spoken.
        is_speaking: bool,
    },
}

#[derive(Debug)]
pub(super) struct Input {
    rate: SampleRate,
    owner: TurnOwner,
    least_silence: Duration,
    uplink: Option<Uplink>,
    /// From the PCM rate of message clients to the provider's.
    resampler: Option<Resampler>,
    pieces: PieceClock,
    voice: VoiceActivity,
    /// What passed while nobody looked for turns: the detector's positions lack it.
    unheard: SampleCount,
    turn: Option<TurnMachine>,
    listening: Option<ListeningRule>,
    recent: Recent,
    gate: Gate,
    prefix: VecDeque<i16>,
    prefix_length: SampleCount,
    /// Silence that is kept for the idle timeout, which makes an item of it.
    silence_length: SampleCount,
    position: SampleCount,
    uncommitted: SampleCount,
    arrivals: VecDeque<Arrival>,
    words: WordEnds,
    /// Where the last word ended.
    audible_until: SampleCount,
    events: VecDeque<InputEvent>,
    concealed: u64,
    /// If somebody looks on.
    loudness: Option<Loudness>,
}

impl Input {
    /// A caller from whom nothing comes any more is taken to be silent for `least_silence` or longer.
    pub(super) fn new(
        leg: Leg,
        traits: BridgeTraits,
        least_silence: Duration,
        listening: Option<ListeningRule>,
    ) -> Result<Self, SessionError> {
        let rate = traits.input_rate;
        let audio = |error: &dyn std::fmt::Display| SessionError::Audio(error.to_string());
        let uplink = match leg {
            Leg::Rtp => Some(Uplink::new(rate).map_err(|error| audio(&error))?),
            Leg::Pcm => None,
        };
        let resampler = match leg {
            Leg::Pcm if rate != SampleRate::HZ_24000 => {
                Some(Resampler::new(SampleRate::HZ_24000, rate).map_err(|error| audio(&error))?)
            }
            Leg::Pcm | Leg::Rtp => None,
        };
        Ok(Self {
            rate,
            owner: traits.turn_owner,
            least_silence: (least_silence + SILENCE_MARGIN).max(DEFAULT_MAX_SILENCE),
            uplink,
            resampler,
            pieces: PieceClock::default(),
            voice: VoiceActivity::new(rate).map_err(|error| audio(&error))?,
            unheard: SampleCount(0),
            turn: None,
            listening,
            recent: Recent::default(),
            gate: Gate::Open,
            prefix: VecDeque::new(),
            prefix_length: SampleCount(0),
            silence_length: SampleCount(0),
            position: SampleCount(0),
            uncommitted: SampleCount(0),
            arrivals: VecDeque::new(),
            words: WordEnds::new(rate),
            audible_until: SampleCount(0),
            events: VecDeque::new(),
            concealed: 0,
            loudness: None,
        })
    }

    pub(super) fn configure(&mut self, detection: Option<&TurnDetection>) {
        if let Some(uplink) = &mut self.uplink {
            let longest = detection.map_or(Duration::ZERO, |detection| PauseRule::of(detection).longest());
            uplink.set_max_silence((longest + SILENCE_MARGIN).max(self.least_silence));
        }
        let window = match (self.listening, detection) {
            (Some(rule), Some(TurnDetection::Semantic(_))) if self.owner == TurnOwner::Gateway => rule.window,
            _ => Duration::ZERO,
        };
        self.recent.keep(window, self.rate);
        let (TurnOwner::Gateway, Some(detection)) = (self.owner, detection) else {
            self.turn = None;
            self.gate = Gate::Open;
            return;
        };
        match &mut self.turn {
            Some(turn) => turn.reconfigure(detection),
            None => {
                let turn = TurnMachine::starting_at(self.position, detection, self.rate);
                self.turn = Some(turn.heard_by(self.listening));
                self.gate = Gate::Turns { is_speaking: false };
            }
        }
        let (padding, idle_timeout) = match detection {
            TurnDetection::ServerVad(vad) => (vad.prefix_padding, vad.idle_timeout),
            TurnDetection::Semantic(_) => (SEMANTIC_PADDING, None),
        };
        self.silence_length = self.rate.samples_in(idle_timeout.unwrap_or_default().min(LONGEST_SILENCE));
        self.prefix_length = self.rate.samples_in(padding.min(MAX_PREFIX) + DETECTION_LAG);
    }

    pub(super) fn handle_rtp(&mut self, now: Instant, packet: RtpAudio<'_>) {
        if let Some(uplink) = &mut self.uplink {
            uplink.push(now, packet);
        }
        self.take_frames(now);
    }

    pub(super) fn handle_pcm(&mut self, now: Instant, pcm: &Pcm) {
        let samples = match &mut self.resampler {
            Some(resampler) => resampler.push(&pcm.samples),
            None => pcm.samples.clone(),
        };
        if let Some(loudness) = &mut self.loudness {
            loudness.add_before(now, &samples, self.rate);
        }
        let end = self.position + SampleCount(samples.len() as u64);
        let message = Some((self.pieces.came(now, pcm.duration()), end));
        let provenance = Provenance { message, ..Provenance::at(now) };
        for piece in samples.chunks(self.rate.samples_in(PIECE).0 as usize) {
            self.take(now, provenance, Pcm { rate: self.rate, samples: piece.to_vec() });
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(uplink) = &mut self.uplink {
            uplink.handle_timeout(now);
        }
        self.take_frames(now);
        if let Some(turn) = &mut self.turn {
            turn.handle_timeout(now);
        }
        self.take_turn_events();
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let uplink = self.uplink.as_ref().and_then(Uplink::poll_timeout);
        let turn = self.turn.as_ref().and_then(TurnMachine::poll_timeout);
        uplink.into_iter().chain(turn).min()
    }

    pub(super) fn poll_event(&mut self) -> Option<InputEvent> {
        self.events.pop_front()
    }

    pub(super) fn playback_started(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.playback_started();
        }
    }

    pub(super) fn playback_ended(&mut self, now: Instant) {
        if let Some(turn) = &mut self.turn {
            turn.playback_ended(now);
        }
    }

    /// How likely the caller's words so far are a whole turn; `None` if nobody can tell.
    pub(super) fn estimate_complete(&mut self, probability: Option<f32>) {
        if let Some(turn) = &mut self.turn {
            turn.estimate_complete(probability);
        }
    }

    /// The listener's verdict. False if it came too late to count.
    pub(super) fn hear_verdict(&mut self, question: Question, probability: Option<f32>) -> bool {
        self.turn.as_mut().is_some_and(|turn| turn.hear_verdict(question, probability))
    }

    /// How much the caller has spoken in the last turn, and how long ago that ended.
    pub(super) fn last_spoken(&self) -> Option<(Duration, Duration)> {
        self.turn.as_ref()?.last_spoken()
    }

    pub(super) fn listen_to_loudness(&mut self, since: Instant) {
        self.loudness = Some(Loudness::new(since));
    }

    pub(super) fn tape_voice(&mut self) {
        self.loudness.iter_mut().for_each(Loudness::tape);
    }

    pub(super) fn take_tape(&mut self) -> Vec<HeardSound> {
        self.loudness.as_mut().map(Loudness::take_tape).unwrap_or_default()
    }

    pub(super) fn take_loudness(&mut self, until: Duration) -> Option<Piece> {
        self.loudness.as_mut()?.take(until)
    }

    pub(super) fn uplink_stats(&self) -> Option<UplinkStats> {
        self.uplink.as_ref().map(Uplink::stats)
    }

    /// Of a client that sends messages.
    pub(super) fn piece_stats(&self) -> Option<PieceStats> {
        self.uplink.is_none().then(|| self.pieces.stats())
    }

    pub(super) const fn concealed_frames(&self) -> u64 {
        self.concealed
    }

    /// Forgets the audio since the last commit.
    pub(super) fn clear(&mut self) {
        self.uncommitted = SampleCount(0);
        self.prefix.clear();
        self.end_turn();
    }

    /// The arrival of the last sound that can be heard, or of the last sample if there is none, if there is audio to
    /// commit. A turn being spoken ends with it.
    pub(super) fn take_uncommitted(&mut self) -> Option<Arrival> {
        if self.uncommitted < self.rate.samples_in(SHORTEST_COMMIT) {
            return None;
        }
        let uncommitted = std::mem::take(&mut self.uncommitted);
        self.end_turn();
        let before = self.position.0.saturating_sub(uncommitted.0);
        let is_audible = self.audible_until.0 > before;
        self.arrival_of(if is_audible { self.audible_until } else { self.position })
    }

    /// What was not passed on because nobody spoke, as far back as asked for and kept; enough of it for a provider to take
    /// a commit.
    pub(super) fn take_silence(&mut self, length: Duration) -> Pcm {
        let older = self.prefix.len().saturating_sub(self.rate.samples_in(length).0 as usize);
        let mut samples: Vec<i16> = self.prefix.drain(..).skip(older).collect();
        let shortest = self.rate.samples_in(SHORTEST_COMMIT).0 as usize;
        samples.resize(samples.len().max(shortest), 0);
        Pcm { rate: self.rate, samples }
    }

    /// A caller who has sent next to nothing since a position is taken to be silent, so that there is something to commit.
    pub(super) fn fill_silence(&mut self, now: Instant, from: Duration) {
        if self.position().saturating_sub(from) < SHORTEST_COMMIT {
            self.take(now, Provenance::at(now), Pcm::silence(self.rate, SHORTEST_COMMIT));
        }
    }

    /// How much of the caller was heard so far.
    pub(super) fn position(&self) -> Duration {
        self.position.duration_at(self.rate)
    }

    /// The client took the turn into its own hands.
    fn end_turn(&mut self) {
        self.pieces.restart();
        if let Some(turn) = &mut self.turn {
            turn.discard();
            self.gate = Gate::Turns { is_speaking: false };
        }
    }

    /// The arrival of the last word, if speech ended about at a position.
    pub(super) fn arrival_at(&self, position: Duration) -> Option<Arrival> {
        self.arrival_of(self.last_word(self.rate.samples_in(position)))
    }

    /// Where the last word of speech ended that a detector says ended here: it hears in steps, and takes what rings on for
    /// speech. In a room that is never quiet nobody knows better.
    fn last_word(&self, last_speech: SampleCount) -> SampleCount {
        let earliest = last_speech.0.saturating_sub(self.rate.samples_in(MOST_LATE).0);
        let latest = last_speech.0 + self.rate.samples_in(MOST_EARLY).0;
        if (earliest..=latest).contains(&self.audible_until.0) { self.audible_until } else { last_speech }
    }

    fn arrival_of(&self, sample: SampleCount) -> Option<Arrival> {
        let index = self.arrivals.partition_point(|arrival| arrival.end < sample);
        let arrival = self.arrivals.get(index).or_else(|| self.arrivals.back()).copied()?;
        let until = |end: SampleCount| SampleCount(end.0.saturating_sub(sample.0)).duration_at(self.rate);
        if let Some((message, end)) = arrival.message {
            let delay = self.resampler.as_ref().map_or(Duration::ZERO, Resampler::delay);
            let packing = message.wait(until(end) + delay);
            let after = self.arrivals.iter().skip(index).filter_map(|after| after.message);
            let late = message.held_up(after.map(|(after, _)| after));
            return Some(Arrival { packing, late, ..arrival });
        }
        let behind = until(arrival.end);
        // Audio that did not come in packets was in no coder.
        let Some((packet, end)) = arrival.timestamps else {
            return Some(Arrival { packing: behind.min(LONGEST_PACKET), ..arrival });
        };
        let packing = behind.min(LONGEST_PACKET) + OPUS_LOOK_AHEAD;
        let mark = AudioMark { packet, sample: end.wrapping_sub(ticks_in(packing)) };
        Some(Arrival { packing, mark: Some(mark), ..arrival })
    }

    fn take_frames(&mut self, now: Instant) {
        while let Some(frame) = self.uplink.as_mut().and_then(Uplink::poll) {
            let UplinkFrame { pcm, arrived: received, jitter_wait: waited, concealed, timestamp } = frame;
            self.concealed += u64::from(concealed);
            if let Some(loudness) = &mut self.loudness {
                loudness.add_before(now, &pcm.samples, self.rate);
            }
            self.take(now, Provenance { waited, timestamp, ..Provenance::at(received) }, pcm);
        }
    }

    fn take(&mut self, now: Instant, provenance: Provenance, pcm: Pcm) {
        let Provenance { received, waited, timestamp, message } = provenance;
        self.position += pcm.len();
        if let Some(behind) = self.words.hear(&pcm.samples) {
            self.audible_until = SampleCount(self.position.0.saturating_sub(behind as u64));
        }
        let ticks = ticks_in(pcm.duration());
        self.remember(Arrival {
            end: self.position,
            received,
            waited,
            decoded: now,
            timestamps: timestamp.map(|begin| (begin, begin.wrapping_add(ticks))),
            message,
            packing: Duration::ZERO,
            late: Duration::ZERO,
            mark: None,
        });
        if self.turn.is_some() {
            let frames = self.voice.push(&pcm.samples);
            self.recent.push(&pcm.samples);
            self.forward(pcm);
            if let Some(turn) = &mut self.turn {
                for frame in frames {
                    turn.push(VoiceFrame { end: frame.end + self.unheard, ..frame });
                }
            }
            self.take_turn_events();
        } else {
            self.unheard += pcm.len();
            self.forward(pcm);
        }
    }

    fn remember(&mut self, arrival: Arrival) {
        self.arrivals.push_back(arrival);
        let oldest = self.position.0.saturating_sub(self.rate.samples_in(ARRIVAL_MEMORY).0);
        while self.arrivals.front().is_some_and(|arrival| arrival.end.0 < oldest) {
            self.arrivals.pop_front();
        }
    }

    fn forward(&mut self, pcm: Pcm) {
        if self.gate == (Gate::Turns { is_speaking: false }) {
            self.prefix.extend(&pcm.samples);
            self.keep_last(self.prefix_length.max(self.silence_length));
            return;
        }
        self.uncommitted += pcm.len();
        match self.events.back_mut() {
            Some(InputEvent::Audio(before)) => before.samples.extend(pcm.samples),
            _ => self.events.push_back(InputEvent::Audio(pcm)),
        }
    }

    /// Of what was not passed on only this much stays.
    fn keep_last(&mut self, length: SampleCount) {
        let excess = self.prefix.len().saturating_sub(length.0 as usize);
        self.prefix.drain(..excess);
    }

    fn take_turn_events(&mut self) {
        while let Some(event) = self.turn.as_mut().and_then(TurnMachine::poll_event) {
            match event {
                TurnEvent::SpeechStarted { at, .. } => self.open_gate(at),
                TurnEvent::Paused { question, begin } => {
                    let spoken = SampleCount(self.position.0.saturating_sub(begin.0));
                    let speech = self.recent.last(spoken, self.rate);
                    self.events.push_back(InputEvent::Paused { question, speech });
                }
                TurnEvent::SpeechStopped { at, last_speech } => {
                    self.gate = Gate::Turns { is_speaking: false };
                    self.uncommitted = SampleCount(0);
                    let arrival = self.arrival_of(self.last_word(last_speech));
                    self.events.push_back(InputEvent::SpeechStopped { at, arrival });
                }
                TurnEvent::IdleTimeout { from, to } => {
                    self.events.push_back(InputEvent::IdleTimeout { from, to });
                }
            }
        }
    }

    fn open_gate(&mut self, at: Duration) {
        self.events.push_back(InputEvent::SpeechStarted { at });
        self.gate = Gate::Turns { is_speaking: true };
        self.keep_last(self.prefix_length);
        let samples: Vec<i16> = self.prefix.drain(..).collect();
        if !samples.is_empty() {
            self.forward(Pcm { rate: self.rate, samples });
        }
    }
}

/// As RTP counts Opus, at 48 kHz (RFC 7587 section 4.1).
pub(super) const fn ticks_in(duration: Duration) -> u32 {
    SampleRate::HZ_48000.samples_in(duration).0 as u32
}

/// The pause that ends a turn under these settings, for providers that report the end only.
pub(super) fn configured_pause(detection: Option<&TurnDetection>) -> Duration {
    match detection {
        Some(TurnDetection::ServerVad(vad)) => vad.silence,
        Some(TurnDetection::Semantic(_)) | None => Duration::ZERO,
    }
}
