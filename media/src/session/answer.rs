//! The agent's way out: answers to packets.

use std::time::{Duration, Instant};

use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::id::{ItemId, ResponseId};

use crate::encode::{DTX_FRAME, Encoder, EncoderConfig};
use crate::playout::{Playout, PlayoutConfig, PlayoutEvent, Queued};
use crate::resample::Resampler;

use super::estimate::PlaybackEstimate;
use super::loudness::{Loudness, Piece};
use super::observing::HeardSound;
use super::opening::{Beginning, MessageOpening, Opening, OpeningWatch};
use super::{Leg, SessionError};

/// An item the caller did not hear to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interrupted {
    pub(super) item_id: ItemId,
    pub(super) heard: Duration,
}

/// One packet for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) payload: Vec<u8>,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// For the first packet of an answer: when its samples came from the provider.
    pub(super) first_received: Option<Instant>,
    /// What it means for the beginning of its answer, if anything.
    pub(super) opening: Option<Opening>,
    pub(super) lateness: Duration,
}

/// What the way out has for the caller or the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Packet(Packet),
    Started(ResponseId),
    Stopped(ResponseId),
    Cleared(ResponseId),
}

#[derive(Debug)]
struct Speaker {
    playout: Playout,
    encoder: Encoder,
    /// The rate of queue and encoder.
    coded: SampleRate,
    /// Where the provider's rate is not native to Opus.
    resampler: Option<Resampler>,
    opening: OpeningWatch,
}

/// The way of answers to the client.
#[derive(Debug)]
pub(super) struct Answer {
    speaker: Option<Speaker>,
    /// From the provider's rate to the PCM rate of message clients.
    resampler: Option<Resampler>,
    /// Whose samples the resamplers hold.
    converting: Option<ItemId>,
    /// What a message client plays by itself.
    estimate: PlaybackEstimate,
    /// How its answers begin.
    opening: MessageOpening,
    /// If somebody looks on.
    loudness: Option<Loudness>,
}

impl Answer {
    pub(super) fn new(
        leg: Leg,
        rate: SampleRate,
        encoder: &EncoderConfig,
        rtp_start: u32,
    ) -> Result<Self, SessionError> {
        let speaker = match leg {
            Leg::Rtp => Some(Speaker::new(rate, encoder, rtp_start)?),
            Leg::Pcm => None,
        };
        let resampler = match leg {
            Leg::Pcm if rate != SampleRate::HZ_24000 => Some(resampler(rate, SampleRate::HZ_24000)?),
            Leg::Pcm | Leg::Rtp => None,
        };
        let (estimate, opening) = (PlaybackEstimate::default(), MessageOpening::default());
        Ok(Self { speaker, resampler, converting: None, estimate, opening, loudness: None })
    }

    /// Samples of this item follow. What a resampler still holds of another must not be heard in it.
    pub(super) fn continue_with(&mut self, item_id: &ItemId) {
        if self.converting.as_ref() == Some(item_id) {
            return;
        }
        self.converting = Some(item_id.clone());
        let spoken = self.speaker.as_mut().and_then(|speaker| speaker.resampler.as_mut());
        for resampler in spoken.into_iter().chain(&mut self.resampler) {
            drop(resampler.flush());
        }
    }

    pub(super) fn is_audible(&self) -> bool {
        self.speaker.as_ref().is_some_and(|speaker| speaker.playout.is_active())
    }

    /// No more samples of this answer will come. What that means for the beginning of one a message client plays.
    pub(super) fn finish(&mut self, response_id: &ResponseId) -> Option<Opening> {
        let Some(speaker) = &mut self.speaker else { return self.opening.finish(response_id) };
        speaker.playout.finish(response_id);
        None
    }

    /// What a message that came at that time means for the beginning of its answer, if anything.
    pub(super) fn begins(
        &mut self,
        response_id: &ResponseId,
        pcm: &Pcm,
        received: Instant,
    ) -> Option<Beginning> {
        self.opening.hear(response_id, pcm, received)
    }

    /// Queues samples; false if the queue is full.
    pub(super) fn push(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        pcm: &Pcm,
        received: Instant,
    ) -> bool {
        match &mut self.speaker {
            Some(speaker) => speaker.push(response_id, item_id, pcm, received),
            None => {
                if let Some(loudness) = &mut self.loudness {
                    loudness.add(self.estimate.next_begins(received), &pcm.samples, pcm.rate);
                }
                self.estimate.received(received, item_id, pcm.duration());
                true
            }
        }
    }

    /// The samples as a message client gets them: at 24 kHz, the only PCM rate of the Realtime API.
    pub(super) fn for_client(&mut self, pcm: Pcm) -> Pcm {
        match &mut self.resampler {
            Some(resampler) => Pcm { rate: SampleRate::HZ_24000, samples: resampler.push(&pcm.samples) },
            None => pcm,
        }
    }

    /// Falls silent at once and gives nothing up. False if there is nothing to hold, or if the client plays by itself.
    pub(super) fn hold(&mut self) -> bool {
        self.speaker.as_mut().is_some_and(|speaker| speaker.playout.hold())
    }

    /// Goes on where it fell silent.
    pub(super) fn resume(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.playout.resume();
        }
    }

    /// Stops playback at once and says what was cut off. What was heard counts up to `silent_since`.
    pub(super) fn clear(&mut self, silent_since: Instant, client_buffer: Duration) -> Vec<Interrupted> {
        let Some(speaker) = &mut self.speaker else {
            self.estimate.stop(silent_since);
            self.loudness.iter_mut().for_each(|loudness| loudness.silence(silent_since));
            return Vec::new();
        };
        let cut = speaker.playout.clear();
        cut.into_iter()
            .filter(|item| !item.fully_played)
            .map(|item| {
                // What left a moment ago is still on its way to the ear.
                let at_ear = speaker.playout.heard_at_ear(&item.item_id, silent_since, client_buffer);
                Interrupted { heard: at_ear.unwrap_or(item.heard).min(item.received), item_id: item.item_id }
            })
            .collect()
    }

    /// Stops playback for a client that was heard last at that time. Gives every item that did not reach its ear whole,
    /// whether or not all of it had left.
    pub(super) fn lose(&mut self, heard_at: Instant, client_buffer: Duration) -> Vec<Interrupted> {
        let sent = match &self.speaker {
            Some(speaker) => speaker.playout.on_the_way(heard_at, client_buffer),
            None => self.estimate.cut(heard_at),
        };
        let mut cut: Vec<Interrupted> =
            sent.into_iter().map(|(item_id, heard)| Interrupted { item_id, heard }).collect();
        for waiting in self.clear(heard_at, client_buffer) {
            if !cut.iter().any(|item| item.item_id == waiting.item_id) {
                cut.push(waiting);
            }
        }
        cut
    }

    /// Whether the client keeps the playout clock itself.
    pub(super) const fn is_played_by_the_client(&self) -> bool {
        self.speaker.is_none()
    }

    /// When a client that plays by itself has probably played everything; `None` if it has, or was sent nothing.
    pub(super) fn probably_ends(&self) -> Option<Instant> {
        self.estimate.ends()
    }

    /// Whether it has. Said once.
    pub(super) fn has_probably_ended(&mut self, now: Instant) -> bool {
        let has_ended = self.estimate.ends().is_some_and(|at| at <= now);
        if has_ended {
            self.estimate.has_ended();
        }
        has_ended
    }

    /// A client that plays by itself says what it has played.
    pub(super) fn forget_estimate(&mut self) {
        self.estimate.forget();
    }

    /// A client may not claim to have heard more than was sent.
    pub(super) fn clamp(&self, item_id: &ItemId, heard: Duration) -> Duration {
        let sent = self.speaker.as_ref().and_then(|speaker| speaker.playout.heard(item_id));
        sent.map_or(heard, |sent| heard.min(sent))
    }

    /// The next packet or event, in order.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Spoken> {
        self.speaker.as_mut()?.poll(now, self.loudness.as_mut())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.speaker.as_ref()?.playout.poll_timeout()
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

    pub(super) fn underruns(&self) -> u64 {
        self.speaker.as_ref().map_or(0, |speaker| speaker.playout.stats().underruns)
    }
}

impl Speaker {
    fn new(rate: SampleRate, config: &EncoderConfig, rtp_start: u32) -> Result<Self, SessionError> {
        let audio = |error: &dyn std::fmt::Display| SessionError::Audio(error.to_string());
        let coded = if rate.is_native_to_opus() { rate } else { SampleRate::HZ_24000 };
        let resampler = if coded == rate { None } else { Some(resampler(rate, coded)?) };
        let playout = PlayoutConfig { rtp_start, ..PlayoutConfig::default() };
        Ok(Self {
            playout: Playout::new(coded, playout).map_err(|error| audio(&error))?,
            encoder: Encoder::new(coded, *config).map_err(|error| audio(&error))?,
            coded,
            resampler,
            opening: OpeningWatch::default(),
        })
    }

    /// False if the queue cannot take any more.
    fn push(&mut self, response_id: &ResponseId, item_id: &ItemId, pcm: &Pcm, received: Instant) -> bool {
        let samples = match &mut self.resampler {
            Some(resampler) => resampler.push(&pcm.samples),
            None => pcm.samples.clone(),
        };
        let pcm = Pcm { rate: self.coded, samples };
        matches!(self.playout.push(response_id, item_id, pcm, received), Ok(Queued::Yes | Queued::Dropped))
    }

    fn poll(&mut self, now: Instant, mut loudness: Option<&mut Loudness>) -> Option<Spoken> {
        loop {
            if let Some(event) = self.playout.poll_event() {
                return Some(match event {
                    PlayoutEvent::Started(response_id) => Spoken::Started(response_id),
                    PlayoutEvent::Stopped(response_id) => Spoken::Stopped(response_id),
                    PlayoutEvent::Cleared(response_id) => Spoken::Cleared(response_id),
                    PlayoutEvent::TalkspurtEnd { rtp_timestamp } => Spoken::Packet(Packet {
                        payload: DTX_FRAME.to_vec(),
                        timestamp: rtp_timestamp,
                        marker: false,
                        first_received: None,
                        opening: self.opening.pause(),
                        lateness: Duration::ZERO,
                    }),
                });
            }
            let frame = self.playout.poll_frame(now)?;
            if frame.first_of_response.is_some() {
                self.opening.begin();
            }
            let opening = self.opening.hear(&frame.samples, self.coded);
            if let Some(loudness) = &mut loudness {
                loudness.add(now, &frame.samples, self.coded);
            }
            // A frame of the wrong length is impossible here, as is a coder that cannot begin anew; a lost frame is better than a lost
            // call.
            if frame.marker && self.encoder.begin_talkspurt().is_err() {
                continue;
            }
            let Ok(payload) = self.encoder.encode(&frame.samples) else { continue };
            return Some(Spoken::Packet(Packet {
                payload,
                timestamp: frame.rtp_timestamp,
                marker: frame.marker,
                first_received: frame.first_of_response.map(|(_, received)| received),
                opening,
                lateness: frame.lateness,
            }));
        }
    }
}

fn resampler(from: SampleRate, to: SampleRate) -> Result<Resampler, SessionError> {
    Resampler::new(from, to).map_err(|error| SessionError::Audio(error.to_string()))
}
