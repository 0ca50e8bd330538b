//! Measures the turns of a session.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::TurnStage;
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::timeline::{Certainty, Hop};
use voxgate_protocol::trace::{AudioMark, TurnTrace};

use crate::encode::OPUS_LOOK_AHEAD;
use crate::trace::{Outside, TurnTracer};

use super::input::{Arrival, ticks_in};
use super::opening::Opening;

/// Time a packet waits in the client before it is heard, as long as the client has not said otherwise: one frame
/// of jitter buffer and one of device buffer.
const DEFAULT_CLIENT_BUFFER: Duration = Duration::from_millis(60);

/// Microphone to encoder, as long as the client has not said otherwise: one device buffer of 10 ms, what browsers ask
/// of the system for calls.
const DEFAULT_CAPTURE: Duration = Duration::from_millis(10);

/// What the network added, as far as the shell knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkTimes {
    /// Relay receive to transceiver receive of the last audio packet.
    pub relay_in: Duration,
    /// Transceiver send to relay send, from the tunnel's echoed timestamps.
    pub relay_out: Option<Duration>,
    /// Round trip between client and transceiver (ICE or RTCP).
    pub round_trip: Option<Duration>,
}

/// How far the answer of a turn has come. Starts anew with every response, since a tool call takes two.
#[derive(Debug, Default)]
struct Progress {
    has_token: bool,
    has_requested_speech: bool,
    has_audio: bool,
}

#[derive(Debug)]
struct OpenTurn {
    tracer: TurnTracer,
    /// From the encoder of the caller until the arrival of the last speech sample.
    packing: Duration,
    /// When recognition of the turn began, if the provider said so and it has not ended.
    recognising: Option<Instant>,
    is_recognised: bool,
    /// A response of this turn ended without audio: a tool is at work.
    waits_for_tool: bool,
    progress: Progress,
    /// The caller's last word, by the client's own count.
    spoken: Option<AudioMark>,
    /// Set when the first packet of the answer was polled; [`TurnMeter::sent`] follows.
    is_polled: bool,
    /// Everything up to the first packet of the answer, if that brought no sound.
    unsounded: Option<TurnTracer>,
    /// How the answer began; the next [`TurnMeter::sent`] completes the turn.
    opening: Option<(Opening, u32)>,
}

impl OpenTurn {
    fn stage(&mut self, at: Instant, stage: TurnStage) {
        let (seen, hop, begun) = match stage {
            TurnStage::Recognising => return,
            TurnStage::Recognised => (&mut self.is_recognised, Hop::Stt, self.recognising.take()),
            TurnStage::FirstToken => (&mut self.progress.has_token, Hop::Model, None),
            TurnStage::SpeechRequested => (&mut self.progress.has_requested_speech, Hop::Aggregation, None),
        };
        // Only the first time counts: later pieces of the same answer are not waited for.
        if std::mem::replace(seen, true) {
            return;
        }
        match begun {
            Some(begun) => self.tracer.mark_since(hop, begun, at),
            None => self.tracer.mark(hop, at),
        }
    }

    /// A voice behind a model is a hop of its own; a model that speaks is not.
    fn audio(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.progress.has_audio, true) {
            self.tracer.mark(self.voice(), at);
        }
    }

    const fn voice(&self) -> Hop {
        if self.progress.has_requested_speech { Hop::Tts } else { Hop::Model }
    }
}

/// Measures the turns of a session.
#[derive(Debug, Default)]
pub(super) struct TurnMeter {
    open: Option<OpenTurn>,
    /// When recognition of a turn that goes on began.
    recognising: Option<Instant>,
    turns: u32,
    client: ClientReport,
    network: NetworkTimes,
}

impl TurnMeter {
    pub(super) const fn report(&mut self, report: ClientReport) {
        self.client = report;
    }

    pub(super) const fn note_network(&mut self, times: NetworkTimes) {
        self.network = times;
    }

    pub(super) const fn turns(&self) -> u32 {
        self.turns
    }

    /// How long a sent sample takes until it is heard.
    pub(super) fn client_buffer(&self) -> Duration {
        self.ear_side().into_iter().map(|outside| outside.duration).sum()
    }

    /// A new turn begins; an unanswered one is no turn.
    pub(super) fn speech_started(&mut self) {
        (self.open, self.recognising) = (None, None);
    }

    /// The end of the turn was decided at `decided`; the last speech sample came with `arrival`.
    pub(super) fn speech_ended(&mut self, arrival: Option<Arrival>, decided: Instant) {
        let Some(arrival) = arrival else { return };
        let mut tracer = TurnTracer::start(arrival.received);
        tracer.mark(Hop::Jitter, arrival.received + arrival.waited);
        tracer.mark(Hop::Decode, arrival.decoded);
        tracer.mark(Hop::Endpointing, decided);
        self.open = Some(OpenTurn {
            tracer,
            packing: arrival.packing,
            spoken: arrival.mark,
            recognising: self.recognising.take(),
            is_recognised: false,
            waits_for_tool: false,
            progress: Progress::default(),
            is_polled: false,
            unsounded: None,
            opening: None,
        });
    }

    /// The client asked for an answer by hand: what passed since the end of the turn was its own doing.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.tracer.pass(now);
        }
    }

    pub(super) fn stage(&mut self, at: Instant, stage: TurnStage) {
        if stage == TurnStage::Recognising && self.open.is_none() {
            // The first of several: recognition may go to sleep in the pauses of a turn.
            self.recognising.get_or_insert(at);
        }
        if let Some(open) = &mut self.open {
            open.stage(at, stage);
        }
    }

    /// A second answer within a turn: the time between the two was the client's tool.
    pub(super) fn response_started(&mut self, at: Instant) {
        if let Some(open) = &mut self.open
            && std::mem::take(&mut open.waits_for_tool)
        {
            open.tracer.pass(at);
            open.progress = Progress::default();
        }
    }

    /// An answer without audio ended: the model worked until here, a tool works from here.
    pub(super) fn response_done(&mut self, at: Instant) {
        if let Some(open) = &mut self.open
            && !open.progress.has_audio
        {
            open.tracer.mark(Hop::Model, at);
            open.waits_for_tool = true;
        }
    }

    /// The first samples of the answer arrived.
    pub(super) fn first_audio(&mut self, at: Instant) {
        if let Some(open) = &mut self.open {
            open.audio(at);
        }
    }

    /// The first packet of an answer leaves the queue.
    pub(super) fn polled(&mut self, received: Instant, now: Instant) {
        if let Some(open) = &mut self.open
            && !std::mem::replace(&mut open.is_polled, true)
        {
            open.audio(received);
            open.tracer.mark(Hop::Pacing, now);
        }
    }

    /// A packet with this RTP timestamp brings the first sound, or none is waited for any longer. The silence a voice
    /// begins with is the voice's.
    pub(super) fn opened(&mut self, opening: Opening, timestamp: u32, now: Instant) {
        if let Some(open) = self.open.as_mut().filter(|open| open.is_polled) {
            open.opening = Some((opening, timestamp));
            if open.unsounded.is_some() {
                open.tracer.mark(open.voice(), now);
            }
        }
    }

    /// The packet is on the network. If it brought the first sound the turn is measured.
    pub(super) fn sent(&mut self, now: Instant) -> Option<TurnTrace> {
        let open = self.open.as_mut().filter(|open| open.is_polled)?;
        open.tracer.mark(Hop::Encode, now);
        if open.opening.is_none() {
            open.unsounded.get_or_insert_with(|| open.tracer.clone());
            return None;
        }
        let mut open = self.open.take()?;
        self.turns += 1;
        let before = self.mouth_side(open.packing);
        let mut after = self.ear_side().to_vec();
        let mut heard = None;
        match open.opening {
            Some((Opening::Sounds(offset), packet)) => {
                after.extend([known(open.voice(), offset), known(Hop::Encode, OPUS_LOOK_AHEAD)]);
                let sample = packet.wrapping_add(ticks_in(offset + OPUS_LOOK_AHEAD));
                heard = Some(AudioMark { packet, sample });
            }
            // Nobody knows when it is heard: the first packet has to do.
            _ => open.tracer = open.unsounded.take().unwrap_or(open.tracer),
        }
        let trace = open.tracer.finish(self.turns, &before, &after);
        Some(TurnTrace { spoken: open.spoken, heard, ..trace })
    }

    fn one_way(&self) -> Duration {
        self.client.round_trip.or(self.network.round_trip).unwrap_or_default() / 2
    }

    fn mouth_side(&self, packing: Duration) -> [Outside; 3] {
        let device = self.client.capture.unwrap_or(DEFAULT_CAPTURE);
        let relay_in = known(Hop::RelayIn, self.network.relay_in);
        [estimate(Hop::Capture, device + packing), self.way(Hop::Uplink), relay_in]
    }

    fn ear_side(&self) -> [Outside; 3] {
        let heard_after = match (self.client.jitter_buffer, self.client.playout) {
            (None, None) => DEFAULT_CLIENT_BUFFER,
            (jitter, playout) => jitter.unwrap_or_default() + playout.unwrap_or_default(),
        };
        let relay_out = self.network.relay_out.unwrap_or(self.network.relay_in);
        [estimate(Hop::RelayOut, relay_out), self.way(Hop::Downlink), estimate(Hop::Playout, heard_after)]
    }

    /// Half of a round trip: one half may have taken all of it, and the other nothing.
    fn way(&self, hop: Hop) -> Outside {
        Outside { error: self.one_way(), ..estimate(hop, self.one_way()) }
    }
}

const fn known(hop: Hop, duration: Duration) -> Outside {
    Outside { hop, duration, certainty: Certainty::Measured, error: Duration::ZERO }
}

/// Of which nobody knows how wrong it is.
const fn estimate(hop: Hop, duration: Duration) -> Outside {
    Outside { hop, duration, certainty: Certainty::Estimated, error: Duration::ZERO }
}
