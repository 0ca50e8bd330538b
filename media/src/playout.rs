//! What the caller is to hear, when each 20 ms of it is due, and how much has been heard.
//!
//! Audio waits here as PCM, where barge-in can still take it back, and leaves one frame at a time at absolute
//! deadlines. Each response that starts ends in exactly one of [`PlayoutEvent::Stopped`] and
//! [`PlayoutEvent::Cleared`].

mod heard;
mod pacer;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use thiserror::Error;
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};
use voxgate_protocol::id::{ItemId, ResponseId};

use crate::encode::FRAME;
use heard::HeardClocks;
use pacer::Pacer;

/// Silent frames sent while the rest of a response is late; then the talkspurt ends until more comes.
const MAX_SILENT_FRAMES: u32 = 10;

/// Responses that may be open at once.
const MAX_RESPONSES: usize = 32;

/// Items one response may queue at once.
const MAX_ITEMS: usize = 8;

/// Ended responses whose late audio is still recognised and dropped.
const MAX_CLOSED: usize = 64;

/// Settings of a [`Playout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// The first RTP timestamp, random as RFC 3550 section 5.1 demands.
    pub rtp_start: u32,
    /// Audio to collect before a talkspurt starts. Default none.
    pub pre_roll: Duration,
    /// Audio that may wait. Default 10 minutes.
    pub capacity: Duration,
}

impl Default for PlayoutConfig {
    fn default() -> Self {
        Self { rtp_start: 0, pre_roll: Duration::ZERO, capacity: Duration::from_secs(600) }
    }
}

/// Why audio was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlayoutError {
    /// Frames are encoded with Opus, which knows 8, 12, 16, 24 and 48 kHz only.
    #[error("Opus does not encode at {0} Hz")]
    Rate(u32),
    /// The audio has another rate than the queue.
    #[error("the queue plays {expected} Hz, not {got} Hz")]
    OtherRate {
        /// The queue's rate in Hz.
        expected: u32,
        /// The audio's rate in Hz.
        got: u32,
    },
    /// More audio waits than [`PlayoutConfig::capacity`].
    #[error("the playout queue is full")]
    Full,
    /// More responses or items are open than a conversation has.
    #[error("too many responses or items wait for playout")]
    TooMany,
}

/// What became of audio handed to [`Playout::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It will be played.
    Yes,
    /// Its response was cleared, cancelled or finished.
    Dropped,
}

/// 20 ms for the encoder.
#[derive(Clone, PartialEq, Eq)]
pub struct PlayoutFrame {
    /// Exactly 20 ms at the queue's rate.
    pub samples: Vec<i16>,
    /// RTP timestamp in 48 kHz ticks.
    pub rtp_timestamp: u32,
    /// Whether this is the first frame of a talkspurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// With the first audio of a response: which, and when that audio came from the provider.
    pub first_of_response: Option<(ResponseId, Instant)>,
    /// How long after its deadline the frame was taken.
    pub lateness: Duration,
}

/// Leaves the samples out: audio must never reach a log.
impl fmt::Debug for PlayoutFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayoutFrame")
            .field("rtp_timestamp", &self.rtp_timestamp)
            .field("marker", &self.marker)
            .field("first_of_response", &self.first_of_response)
            .field("lateness", &self.lateness)
            .finish_non_exhaustive()
    }
}

/// What happened in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayoutEvent {
    /// The first frame of a response left.
    Started(ResponseId),
    /// The last frame of a finished response has had its 20 ms.
    Stopped(ResponseId),
    /// A started response was taken back.
    Cleared(ResponseId),
    /// Nothing follows for now: one [`crate::encode::DTX_FRAME`] with this timestamp ends the talkspurt.
    TalkspurtEnd {
        /// RTP timestamp behind the last frame.
        rtp_timestamp: u32,
    },
}

/// How far an item had come when its response was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The response.
    pub response_id: ResponseId,
    /// The item.
    pub item_id: ItemId,
    /// How much of it left for the caller; never more than was received.
    pub heard: Duration,
    /// How much of it came from the provider.
    pub received: Duration,
    /// Whether all of it left and no more was to come.
    pub fully_played: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Frames taken, silent ones included.
    pub frames: u64,
    /// Times a response had no audio when a frame was due.
    pub underruns: u64,
    /// Times sending fell more than two frames behind and the clock was moved.
    pub stalls: u64,
    /// Pushes that were dropped because their response was over.
    pub dropped: u64,
}

/// Samples of one item.
struct Piece {
    item_id: ItemId,
    samples: VecDeque<i16>,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({}, {} samples)", self.item_id, self.samples.len())
    }
}

#[derive(Debug)]
struct Response {
    id: ResponseId,
    first_received: Instant,
    started: bool,
    finished: bool,
    pieces: VecDeque<Piece>,
}

impl Response {
    fn waiting(&self) -> usize {
        self.pieces.iter().map(|piece| piece.samples.len()).sum()
    }
}

/// The queue of one call.
#[derive(Debug)]
pub struct Playout {
    rate: SampleRate,
    frame_samples: usize,
    config: PlayoutConfig,
    responses: VecDeque<Response>,
    closed: VecDeque<ResponseId>,
    waiting: usize,
    clocks: HeardClocks,
    pacer: Pacer,
    silent_frames: u32,
    is_held: bool,
    events: VecDeque<PlayoutEvent>,
    stats: PlayoutStats,
}

impl Playout {
    /// An empty queue for audio of one rate.
    ///
    /// # Errors
    ///
    /// [`PlayoutError::Rate`] if the rate is not native to Opus.
    pub fn new(rate: SampleRate, config: PlayoutConfig) -> Result<Self, PlayoutError> {
        if !rate.is_native_to_opus() {
            return Err(PlayoutError::Rate(rate.hz()));
        }
        Ok(Self {
            rate,
            frame_samples: rate.samples_in(FRAME).0 as usize,
            config,
            responses: VecDeque::new(),
            closed: VecDeque::new(),
            waiting: 0,
            clocks: HeardClocks::new(rate),
            pacer: Pacer::new(config.rtp_start),
            silent_frames: 0,
            is_held: false,
            events: VecDeque::new(),
            stats: PlayoutStats::default(),
        })
    }

    /// Queues audio of an item behind what its response already has. `received` is when it came from the provider.
    ///
    /// # Errors
    ///
    /// [`PlayoutError`] if the rate differs or a limit is reached; nothing is queued then.
    pub fn push(
        &mut self,
        response_id: &ResponseId,
        item_id: &ItemId,
        pcm: Pcm,
        received: Instant,
    ) -> Result<Queued, PlayoutError> {
        if pcm.rate != self.rate {
            return Err(PlayoutError::OtherRate { expected: self.rate.hz(), got: pcm.rate.hz() });
        }
        let known = self.responses.iter().position(|response| response.id == *response_id);
        let finished = known.is_some_and(|index| self.responses[index].finished);
        if finished || self.closed.contains(response_id) {
            self.stats.dropped += 1;
            return Ok(Queued::Dropped);
        }
        if pcm.is_empty() {
            return Ok(Queued::Yes);
        }
        if self.waiting + pcm.samples.len() > self.rate.samples_in(self.config.capacity).0 as usize {
            return Err(PlayoutError::Full);
        }
        let response = match known {
            Some(index) => &mut self.responses[index],
            None if self.responses.len() == MAX_RESPONSES => return Err(PlayoutError::TooMany),
            None => self.responses.push_back_mut(Response {
                id: response_id.clone(),
                first_received: received,
                started: false,
                finished: false,
                pieces: VecDeque::new(),
            }),
        };
        let piece = match response.pieces.iter().position(|piece| piece.item_id == *item_id) {
            Some(index) => &mut response.pieces[index],
            None if response.pieces.len() == MAX_ITEMS => return Err(PlayoutError::TooMany),
            None => {
                response.pieces.push_back_mut(Piece { item_id: item_id.clone(), samples: VecDeque::new() })
            }
        };
        self.waiting += pcm.samples.len();
        self.clocks.received(response_id, item_id, pcm.len().0);
        piece.samples.extend(pcm.samples);
        Ok(Queued::Yes)
    }

    /// Tells that a response has no more audio than was pushed.
    pub fn finish(&mut self, response_id: &ResponseId) {
        match self.responses.iter_mut().find(|response| response.id == *response_id) {
            Some(response) => response.finished = true,
            None => self.close(response_id),
        }
        // Within a talkspurt the last frame still has to sound.
        if self.pacer.deadline().is_none() {
            self.stop_drained();
        }
    }

    /// Takes back one response: what waits is gone, and what comes later is dropped. As with [`Playout::clear`], a
    /// response whose last frame already left counts as stopped.
    pub fn cancel(&mut self, response_id: &ResponseId) -> Vec<Heard> {
        self.stop_drained();
        let Some(index) = self.responses.iter().position(|response| response.id == *response_id) else {
            self.close(response_id);
            return Vec::new();
        };
        let heard = self.responses.remove(index).map_or_else(Vec::new, |response| self.take_back(response));
        if self.responses.is_empty() {
            self.is_held = false;
            self.end_talkspurt();
        }
        heard
    }

    /// Takes back everything at once, for barge-in. A response whose last frame already left counts as stopped, not
    /// as cleared.
    pub fn clear(&mut self) -> Vec<Heard> {
        self.is_held = false;
        self.stop_drained();
        let responses = std::mem::take(&mut self.responses);
        let heard = responses.into_iter().flat_map(|response| self.take_back(response)).collect();
        self.end_talkspurt();
        heard
    }

    /// Falls silent at once and gives nothing up: what waits stays until [`Playout::resume`], or goes with
    /// [`Playout::clear`]. The frame that left last is the last one. False if there is nothing to hold.
    pub fn hold(&mut self) -> bool {
        self.stop_drained();
        self.is_held = self.is_active();
        if self.is_held {
            self.end_talkspurt();
        }
        self.is_held
    }

    /// Goes on where [`Playout::hold`] stopped, as a new talkspurt.
    pub const fn resume(&mut self) {
        self.is_held = false;
    }

    /// When [`Playout::poll_frame`] wants to be called; `None` while there is nothing to play.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_held {
            return None;
        }
        self.pacer.deadline().or_else(|| self.ready_at())
    }

    /// The frame that is due. Call until `None`: after a delay up to three frames are due at once.
    pub fn poll_frame(&mut self, now: Instant) -> Option<PlayoutFrame> {
        if self.is_held {
            return None;
        }
        if self.pacer.deadline().is_none() && self.ready_at().is_some_and(|ready| ready <= now) {
            self.pacer.begin(now);
        }
        if self.pacer.deadline()? > now {
            return None;
        }
        self.stop_drained();
        let Some(index) = self.responses.iter().position(|response| response.waiting() > 0) else {
            return self.play_silence(now);
        };
        self.silent_frames = 0;
        self.play_response(index, now)
    }

    /// The next event. Read after every call that changes the queue.
    pub fn poll_event(&mut self) -> Option<PlayoutEvent> {
        self.events.pop_front()
    }

    /// How much of an item left for the caller; `None` for an item never seen or long forgotten.
    #[must_use]
    pub fn heard(&self, item_id: &ItemId) -> Option<Duration> {
        self.clocks.heard(item_id)
    }

    /// How much of an item has reached the caller's ear if a sample takes `client_buffer` to get there.
    #[must_use]
    pub fn heard_at_ear(&self, item_id: &ItemId, now: Instant, client_buffer: Duration) -> Option<Duration> {
        self.clocks.heard_at_ear(item_id, now, client_buffer)
    }

    /// The items of which something had left and not reached the caller's ear at that time, each with what had.
    #[must_use]
    pub fn on_the_way(&self, at: Instant, client_buffer: Duration) -> Vec<(ItemId, Duration)> {
        self.clocks.on_the_way(at, client_buffer)
    }

    /// How much audio waits.
    #[must_use]
    pub const fn queued(&self) -> Duration {
        SampleCount(self.waiting as u64).duration_at(self.rate)
    }

    /// Whether the caller hears a response or is about to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.responses.iter().any(|response| response.started || response.waiting() > 0)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats { stalls: self.pacer.stalls(), ..self.stats }
    }

    /// When the first waiting response may begin a talkspurt.
    fn ready_at(&self) -> Option<Instant> {
        let response = self.responses.iter().find(|response| response.waiting() > 0)?;
        let enough = self.rate.samples_in(self.config.pre_roll).0 as usize;
        let collected = response.finished || response.waiting() >= enough;
        let wait = if collected { Duration::ZERO } else { self.config.pre_roll };
        let ready = response.first_received + wait;
        Some(self.pacer.free_at().map_or(ready, |free| free.max(ready)))
    }

    /// A frame holds audio of one response only, so that starts and stops fall on frames.
    fn play_response(&mut self, index: usize, now: Instant) -> Option<PlayoutFrame> {
        let slot = self.pacer.take(now)?;
        let response = &mut self.responses[index];
        let mut samples = Vec::with_capacity(self.frame_samples);
        while samples.len() < self.frame_samples
            && let Some(piece) = response.pieces.front_mut()
        {
            let taken = piece.samples.len().min(self.frame_samples - samples.len());
            samples.extend(piece.samples.drain(..taken));
            self.clocks.played(&piece.item_id, taken as u64, now);
            if piece.samples.is_empty() {
                response.pieces.pop_front();
            }
        }
        self.waiting -= samples.len();
        self.stats.frames += 1;
        if samples.len() < self.frame_samples && !response.finished {
            self.stats.underruns += 1;
        }
        samples.resize(self.frame_samples, 0);
        let first = !std::mem::replace(&mut response.started, true);
        let first_of_response = first.then(|| (response.id.clone(), response.first_received));
        if first {
            self.events.push_back(PlayoutEvent::Started(response.id.clone()));
        }
        Some(PlayoutFrame {
            samples,
            rtp_timestamp: slot.rtp_timestamp,
            marker: slot.marker,
            first_of_response,
            lateness: slot.lateness,
        })
    }

    /// Bridges a short underrun; without an unfinished response, or after a long one, the talkspurt ends.
    fn play_silence(&mut self, now: Instant) -> Option<PlayoutFrame> {
        let unfinished = self.responses.iter().any(|response| response.started && !response.finished);
        if !unfinished || self.silent_frames == MAX_SILENT_FRAMES {
            self.end_talkspurt();
            return None;
        }
        if self.silent_frames == 0 {
            self.stats.underruns += 1;
        }
        self.silent_frames += 1;
        self.stats.frames += 1;
        let slot = self.pacer.take(now)?;
        Some(PlayoutFrame {
            samples: vec![0; self.frame_samples],
            rtp_timestamp: slot.rtp_timestamp,
            marker: slot.marker,
            first_of_response: None,
            lateness: slot.lateness,
        })
    }

    fn end_talkspurt(&mut self) {
        self.silent_frames = 0;
        if let Some(rtp_timestamp) = self.pacer.end() {
            self.events.push_back(PlayoutEvent::TalkspurtEnd { rtp_timestamp });
        }
    }

    fn stop_drained(&mut self) {
        while let Some(index) =
            self.responses.iter().position(|response| response.finished && response.waiting() == 0)
            && let Some(response) = self.responses.remove(index)
        {
            self.close(&response.id);
            if response.started {
                self.events.push_back(PlayoutEvent::Stopped(response.id));
            }
        }
    }

    fn take_back(&mut self, response: Response) -> Vec<Heard> {
        self.waiting -= response.waiting();
        self.close(&response.id);
        let last = self.clocks.of_response(&response.id).last().map(|clock| clock.item_id.clone());
        let heard = self
            .clocks
            .of_response(&response.id)
            .map(|clock| Heard {
                response_id: response.id.clone(),
                item_id: clock.item_id.clone(),
                heard: self.clocks.rate_duration(clock.played),
                received: self.clocks.rate_duration(clock.received),
                fully_played: clock.played == clock.received
                    && (response.finished || last.as_ref() != Some(&clock.item_id)),
            })
            .collect();
        if response.started {
            self.events.push_back(PlayoutEvent::Cleared(response.id));
        }
        heard
    }

    fn close(&mut self, response_id: &ResponseId) {
        if self.closed.contains(response_id) {
            return;
        }
        if self.closed.len() == MAX_CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(response_id.clone());
    }
}

#[cfg(test)]
mod tests;
