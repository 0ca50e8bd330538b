//! The sending side: speech or silence, encoded and sent every 20 ms for as long as the call lasts.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Encoder};
use rtc::rtp;
use tokio::sync::{mpsc, oneshot};
use webrtc::media_stream::track_local::TrackLocal;

use crate::error::CallError;
use crate::mouth::{Mouth, Spoken};
use crate::pacing::{FRAME_SAMPLES, Pacer, Slot};
use crate::peer::OPUS_PAYLOAD_TYPE;
use crate::samples::{Passage, SampleLog};
use crate::speech::{SPEECH_RATE, Speech};
use crate::timings::{Step, TimingCard};

/// What browsers spend on speech.
const BITRATE: i32 = 32_000;

/// Half of the effort of the best setting; sounds the same at this bitrate and leaves room for many callers.
const COMPLEXITY: i32 = 5;

/// Room for one encoded frame: libopus never writes more than 1275 bytes per frame (RFC 6716 section 3.2.1).
const LARGEST_PACKET: usize = 1_275;

/// What the rest of the call asks of the microphone.
#[derive(Debug)]
pub(crate) enum MicrophoneCommand {
    /// Say this after everything asked before.
    Say(Speech, oneshot::Sender<Spoken>),
    /// Drop what was not said yet.
    FallSilent,
}

/// One microphone, from the moment keys are exchanged until its command channel closes.
pub(crate) struct Microphone {
    track: Arc<dyn TrackLocal>,
    ssrc: u32,
    sequence: u16,
    pacer: Pacer,
    mouth: Mouth<oneshot::Sender<Spoken>>,
    encoder: Encoder,
    timings: TimingCard,
    samples: SampleLog,
}

impl Microphone {
    /// Its first frame begins at `opened`.
    pub(crate) fn open(
        track: Arc<dyn TrackLocal>,
        ssrc: u32,
        opened: Instant,
        timings: TimingCard,
        samples: SampleLog,
    ) -> Result<Self, CallError> {
        let mut encoder = Encoder::new(SPEECH_RATE.hz(), Channels::Mono, Application::Voip)?;
        encoder.set_bitrate(Bitrate::Bits(BITRATE))?;
        encoder.set_complexity(COMPLEXITY)?;
        let random = getrandom::u64().map_err(|_| CallError::Randomness)?;
        let pacer = Pacer::new(opened, random as u32);
        let sequence = (random >> 32) as u16;
        Ok(Self { track, ssrc, sequence, pacer, mouth: Mouth::new(), encoder, timings, samples })
    }

    /// Sends until the last sender of commands is gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<MicrophoneCommand>) {
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(MicrophoneCommand::Say(speech, done)) => self.mouth.say(speech, done),
                    Some(MicrophoneCommand::FallSilent) => self.mouth.fall_silent(),
                    None => return,
                },
                () = tokio::time::sleep_until(self.pacer.deadline().into()) => self.send_due_frames().await,
            }
        }
    }

    async fn send_due_frames(&mut self) {
        while let Some(slot) = self.pacer.take(Instant::now()) {
            let mut frame = [0; FRAME_SAMPLES];
            let said = self.mouth.fill(slot.captured_from, &mut frame);
            let mut encoded = [0; LARGEST_PACKET];
            match self.encoder.encode(&frame, &mut encoded) {
                Ok(length) => self.send(slot, &encoded[..length]).await,
                Err(error) => tracing::warn!(%error, "a frame could not be encoded"),
            }
            if let Some((done, spoken)) = said {
                // Nobody has to wait for the end of an utterance.
                let _ = done.send(spoken);
            }
        }
    }

    async fn send(&mut self, slot: Slot, payload: &[u8]) {
        let Slot { timestamp, marker, captured_from } = slot;
        let header = rtp::Header {
            version: 2,
            marker,
            payload_type: OPUS_PAYLOAD_TYPE,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        let packet = rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
        self.sequence = self.sequence.wrapping_add(1);
        match self.track.write_rtp(packet).await {
            Ok(()) => {
                let passed_at = Instant::now();
                self.timings.stamp(Step::FirstAudioOut, passed_at);
                let length = FRAME_SAMPLES as u32;
                let spoken = Passage { timestamp, length, sounded_at: captured_from, passed_at };
                self.samples.lock().spoken.add(spoken);
            }
            Err(error) => tracing::debug!(%error, "a packet could not be sent"),
        }
    }
}
