//! The receiving side: packets in order, decoded, recorded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opus::{Channels, Decoder};
use tokio::sync::Notify;
use voxgate_protocol::audio::SampleRate;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use crate::recording::{HEARING_RATE, Recording};
use crate::reorder::{Arrival, Reorder};
use crate::samples::{Passage, SampleLog};
use crate::timings::{Step, TimingCard};

/// The longest Opus packet is 120 ms (RFC 6716 section 3.2.5).
const LONGEST_PACKET: usize = HEARING_RATE.hz() as usize * 120 / 1_000;

/// What a call has heard so far. Cloning shares the recording.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    recording: Arc<Mutex<Recording>>,
    changed: Arc<Notify>,
}

impl Heard {
    /// A copy of the recording; for a look at one thing use [`Heard::with`].
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.lock().clone()
    }

    /// Looks at the recording in place. Audio waits meanwhile, so `look` should be short.
    pub fn with<T>(&self, look: impl FnOnce(&Recording) -> T) -> T {
        look(&self.lock())
    }

    /// When sound began after quiet, no earlier than `since`; see [`Recording::onset_after`].
    #[must_use]
    pub fn onset_after(&self, since: Instant) -> Option<Instant> {
        self.with(|recording| recording.onset_after(since))
    }

    /// Waits until sound begins after quiet, no earlier than `since`. Never returns if it never does.
    pub async fn wait_for_onset(&self, since: Instant) -> Instant {
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.onset_after(since) {
                return at;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one remote track until it ends.
pub(crate) struct Ear {
    pub(crate) heard: Heard,
    pub(crate) samples: SampleLog,
    pub(crate) timings: TimingCard,
}

impl Ear {
    pub(crate) async fn listen(self, track: Arc<dyn TrackRemote>) {
        let mut decoder = match Decoder::new(HEARING_RATE.hz(), Channels::Mono) {
            Ok(decoder) => decoder,
            Err(error) => return tracing::error!(%error, "no decoder, so the answer stays unheard"),
        };
        let mut reorder = Reorder::default();
        loop {
            let give_up = reorder.deadline();
            tokio::select! {
                event = track.poll() => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(packet)) => reorder.push(self.arrival(packet)),
                    Some(TrackRemoteEvent::OnEnded) | None => return,
                    Some(_) => {}
                },
                () = sleep_until(give_up) => {}
            }
            let now = Instant::now();
            while let Some(arrival) = reorder.pop(now) {
                self.hear(&mut decoder, &arrival, now);
            }
            let mut recording = self.heard.lock();
            (recording.lost, recording.late) = (reorder.lost(), reorder.late());
            drop(recording);
            self.samples.lock().counts.lost = reorder.lost();
        }
    }

    fn arrival(&self, packet: rtc::rtp::Packet) -> Arrival {
        let arrived_at = Instant::now();
        self.timings.stamp(Step::FirstAudioIn, arrived_at);
        Arrival {
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            payload: packet.payload,
            arrived_at,
        }
    }

    fn hear(&self, decoder: &mut Decoder, arrival: &Arrival, now: Instant) {
        // A packet in order was ready when it came, however late this task was woken.
        let waited = now.saturating_duration_since(arrival.arrived_at);
        let mut decoded = [0; LONGEST_PACKET];
        // An empty payload would make the decoder invent sound for a lost packet; the gap is silence instead.
        let result = if arrival.payload.is_empty() {
            Ok(0)
        } else {
            decoder.decode(&arrival.payload, &mut decoded, false)
        };
        let heard_at = arrival.arrived_at + waited;
        let mut recording = self.heard.lock();
        match result {
            Ok(0) => return,
            Ok(length) => {
                recording.add(arrival.timestamp, &decoded[..length], heard_at);
                let length = length as u32 * (SampleRate::HZ_48000.hz() / HEARING_RATE.hz());
                let (timestamp, passed_at) = (arrival.timestamp, arrival.arrived_at);
                let mut samples = self.samples.lock();
                samples.heard.add(Passage { timestamp, length, sounded_at: heard_at, passed_at });
                samples.counts.packets += 1;
                samples.counts.waited += waited;
            }
            Err(_) => recording.undecodable += 1,
        }
        let audible = recording.frames().last().and_then(crate::recording::HeardFrame::first_audible_at);
        drop(recording);
        if let Some(at) = audible {
            self.timings.stamp(Step::FirstAudible, at);
        }
        self.heard.changed.notify_waiters();
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
