//! The caller's voice: RTP packets in, a gapless stream of PCM out.
//!
//! Each sample of the output stands for one moment of the call. What was lost is recovered from the redundancy of the
//! next packet or concealed, what the sender left out is silence, and while nothing arrives at all silence is made in
//! real time, so that a turn ends when the caller mutes. Silence that packets turn out to have been late for is
//! remembered and taken off the next pause.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use thiserror::Error;
use voxgate_protocol::audio::{Pcm, SampleRate};

use crate::decode::{DECODER_STEP_TICKS, DecodeError, Decoder, carries_redundancy, packet_ticks};
use crate::jitter::{AudioPacket, JitterBuffer, JitterOutput, JitterStats, Pushed, RTP_CLOCK_HZ};
use crate::resample::{ResampleError, Resampler};

/// After this long without a packet silence is made.
pub const STARVATION: Duration = Duration::from_millis(100);

/// How much silence is made while no packet comes, unless [`Uplink::set_max_silence`] says otherwise.
pub const DEFAULT_MAX_SILENCE: Duration = Duration::from_secs(3);

/// The length of the pieces made-up audio comes in.
const STEP: Duration = Duration::from_millis(20);
const STEP_TICKS: u32 = 960;

/// How much of one loss is concealed before silence takes over: 100 ms.
const MAX_CONCEALED_TICKS: u32 = 4_800;

/// How much of one gap is filled at all: 2 s.
const MAX_GAP_TICKS: u32 = 96_000;

/// One RTP packet of the caller.
#[derive(Clone, Copy)]
pub struct RtpAudio<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp in 48 kHz ticks.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// The Opus packet.
    pub payload: &'a [u8],
    /// When it came from the network.
    pub arrived: Instant,
}

/// Shows the length of the payload only: audio must never reach a log.
impl fmt::Debug for RtpAudio<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpAudio")
            .field("sequence", &self.sequence)
            .field("timestamp", &self.timestamp)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The next piece of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkFrame {
    /// Its samples.
    pub pcm: Pcm,
    /// When the packet behind it came from the network; for made-up audio, when it was made.
    pub arrived: Instant,
    /// How long its packet was held back for missing ones.
    pub jitter_wait: Duration,
    /// Whether it stands in for audio that was sent and could not be heard. Pauses of the sender do not count.
    pub concealed: bool,
    /// The RTP timestamp of the packet it was decoded from; `None` for what was recovered or made up.
    pub timestamp: Option<u32>,
}

/// Why no uplink can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UplinkError {
    /// No decoder.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No conversion from 48 kHz to the output rate.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// What an uplink has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkStats {
    /// Order and loss of the packets.
    pub jitter: JitterStats,
    /// How long a gap is waited for at present.
    pub wait: Duration,
    /// Lost packets whose audio came back from the next packet.
    pub recovered: u64,
    /// Packets that were not Opus.
    pub corrupt: u64,
    /// Audio that was lost and made up.
    pub concealed: Duration,
    /// Silence for pauses of the sender.
    pub silence: Duration,
    /// Silence that was made although audio came later; it is taken off the next pause.
    pub surplus: Duration,
}

/// The silence made while nothing arrives.
#[derive(Clone, Copy, Debug)]
struct Starvation {
    next: Instant,
    made: Duration,
}

/// The receiving end of one caller.
#[derive(Debug)]
pub struct Uplink {
    jitter: JitterBuffer,
    decoder: Decoder,
    decoder_rate: SampleRate,
    resampler: Resampler,
    output_rate: SampleRate,
    max_silence: Duration,
    starvation: Option<Starvation>,
    /// Ticks of silence made for which audio may still come.
    ahead: u32,
    /// Ticks of a loss whose repair waits for the packet behind it.
    lost: u32,
    /// Ticks times rate that did not make a whole sample.
    remainder: u64,
    last_duration: u32,
    frames: VecDeque<UplinkFrame>,
    recovered: u64,
    corrupt: u64,
    concealed_ticks: u64,
    silence_ticks: u64,
}

impl Uplink {
    /// An uplink whose output has the given rate: decoded straight to it if Opus can, else converted from 48 kHz.
    ///
    /// # Errors
    ///
    /// [`UplinkError`] if 48 kHz does not convert to the rate or libopus has no memory.
    pub fn new(output_rate: SampleRate) -> Result<Self, UplinkError> {
        let decoder_rate = if output_rate.is_native_to_opus() { output_rate } else { SampleRate::HZ_48000 };
        Ok(Self {
            jitter: JitterBuffer::new(),
            decoder: Decoder::new(decoder_rate)?,
            decoder_rate,
            resampler: Resampler::new(decoder_rate, output_rate)?,
            output_rate,
            max_silence: DEFAULT_MAX_SILENCE,
            starvation: None,
            ahead: 0,
            lost: 0,
            remainder: 0,
            last_duration: STEP_TICKS,
            frames: VecDeque::new(),
            recovered: 0,
            corrupt: 0,
            concealed_ticks: 0,
            silence_ticks: 0,
        })
    }

    /// Limits the silence made while nothing arrives. It has to be longer than the pause that ends a turn.
    pub const fn set_max_silence(&mut self, limit: Duration) {
        self.max_silence = limit;
    }

    /// Takes one packet. Frames are read with [`Uplink::poll`].
    pub fn push(&mut self, now: Instant, packet: RtpAudio<'_>) -> Pushed {
        let duration = match packet_ticks(packet.payload) {
            Some(ticks) => ticks,
            None if packet.payload.is_empty() => 0,
            None => self.last_duration,
        };
        let held = AudioPacket {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            duration,
            payload: packet.payload.to_vec(),
        };
        let pushed = self.jitter.push(now, packet.arrived, held);
        if pushed == Pushed::Accepted {
            self.starvation = Some(Starvation { next: packet.arrived + STARVATION, made: Duration::ZERO });
        }
        self.drain(now);
        pushed
    }

    /// Gives up on missing packets and makes silence, as far as due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.jitter.handle_timeout(now);
        self.drain(now);
        while let Some(starvation) = self.starvation
            && starvation.made < self.max_silence
            && starvation.next <= now
        {
            let made = starvation.made + STEP;
            self.starvation = Some(Starvation { next: starvation.next + STEP, made });
            self.ahead = self.ahead.saturating_add(STEP_TICKS);
            self.make_silence(now, STEP_TICKS, false);
        }
    }

    /// When [`Uplink::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let starvation = self.starvation.filter(|s| s.made < self.max_silence).map(|s| s.next);
        [self.jitter.poll_timeout(), starvation].into_iter().flatten().min()
    }

    /// The next frame.
    pub fn poll(&mut self) -> Option<UplinkFrame> {
        self.frames.pop_front()
    }

    /// What was seen since the start.
    #[must_use]
    pub fn stats(&self) -> UplinkStats {
        UplinkStats {
            jitter: self.jitter.stats(),
            wait: self.jitter.wait(),
            recovered: self.recovered,
            corrupt: self.corrupt,
            concealed: ticks_duration(self.concealed_ticks),
            silence: ticks_duration(self.silence_ticks),
            surplus: ticks_duration(u64::from(self.ahead)),
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.jitter.poll() {
            match output {
                JitterOutput::Lost { samples, .. } => self.lost = samples,
                JitterOutput::TimestampGap { samples } => {
                    self.repair_loss(now, None);
                    let missing = self.take_from_surplus(samples);
                    self.make_silence(now, missing, false);
                }
                JitterOutput::Released { packet, arrived, waited } => {
                    self.repair_loss(now, Some(&packet));
                    self.play(&packet, arrived, waited);
                }
            }
        }
    }

    fn play(&mut self, packet: &AudioPacket, arrived: Instant, waited: Duration) {
        if packet.duration == 0 {
            return;
        }
        match self.decoder.decode(&packet.payload) {
            Ok(samples) => {
                self.last_duration = packet.duration;
                self.emit_packet(&samples, arrived, waited, packet.timestamp);
            }
            Err(_) => {
                self.corrupt += 1;
                self.concealed_ticks += u64::from(packet.duration);
                let samples = self.decoder.conceal(packet.duration);
                self.emit(&samples, arrived, waited, true);
            }
        }
    }

    /// Fills a loss: concealment, then silence if it is long, then what the next packet knows of its end.
    fn repair_loss(&mut self, now: Instant, next: Option<&AudioPacket>) {
        let lost = std::mem::take(&mut self.lost);
        if lost == 0 {
            return;
        }
        let missing = self.take_from_surplus(lost);
        let redundant = next.filter(|packet| carries_redundancy(&packet.payload));
        let recovered = redundant.map_or(0, |packet| whole_steps(packet.duration.min(missing)));
        // Concealment continues the last sound; after silence there is none.
        let after_silence = missing < lost;
        let concealed =
            if after_silence { 0 } else { whole_steps((missing - recovered).min(MAX_CONCEALED_TICKS)) };
        self.conceal(now, concealed);
        self.make_silence(now, missing - recovered - concealed, true);
        if let Some(packet) = redundant
            && recovered > 0
        {
            self.recovered += 1;
            let samples = self.decoder.recover(&packet.payload, recovered);
            self.emit(&samples, now, Duration::ZERO, false);
        }
    }

    fn conceal(&mut self, now: Instant, ticks: u32) {
        self.concealed_ticks += u64::from(ticks);
        for step in steps(ticks) {
            let samples = self.decoder.conceal(step);
            self.emit(&samples, now, Duration::ZERO, true);
        }
    }

    fn make_silence(&mut self, now: Instant, ticks: u32, concealed: bool) {
        *(if concealed { &mut self.concealed_ticks } else { &mut self.silence_ticks }) += u64::from(ticks);
        for step in steps(ticks) {
            self.remainder += u64::from(step) * u64::from(self.decoder_rate.hz());
            let samples = self.remainder / u64::from(RTP_CLOCK_HZ);
            self.remainder %= u64::from(RTP_CLOCK_HZ);
            self.emit(&vec![0; samples as usize], now, Duration::ZERO, concealed);
        }
    }

    /// How much of a gap is still to be filled after the silence that was already made for it.
    fn take_from_surplus(&mut self, gap: u32) -> u32 {
        let covered = gap.min(self.ahead);
        self.ahead -= covered;
        (gap - covered).min(MAX_GAP_TICKS.saturating_sub(covered))
    }

    fn emit(&mut self, samples: &[i16], arrived: Instant, jitter_wait: Duration, concealed: bool) {
        let samples = self.resampler.push(samples);
        if !samples.is_empty() {
            let pcm = Pcm { rate: self.output_rate, samples };
            self.frames.push_back(UplinkFrame { pcm, arrived, jitter_wait, concealed, timestamp: None });
        }
    }

    fn emit_packet(&mut self, samples: &[i16], arrived: Instant, jitter_wait: Duration, timestamp: u32) {
        let known = self.frames.len();
        self.emit(samples, arrived, jitter_wait, false);
        if let Some(frame) = self.frames.get_mut(known) {
            frame.timestamp = Some(timestamp);
        }
    }
}

/// The part of a length that libopus can fill: a multiple of 2.5 ms.
const fn whole_steps(ticks: u32) -> u32 {
    ticks / DECODER_STEP_TICKS * DECODER_STEP_TICKS
}

/// Cuts a length into steps of 20 ms and a rest.
fn steps(ticks: u32) -> impl Iterator<Item = u32> {
    let rest = ticks % STEP_TICKS;
    std::iter::repeat_n(STEP_TICKS, (ticks / STEP_TICKS) as usize).chain((rest > 0).then_some(rest))
}

fn ticks_duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * 1_000_000 / u64::from(RTP_CLOCK_HZ / 1_000))
}

#[cfg(test)]
mod tests;
