//! Measures the turns of a session.

use std::time::{Duration, Instant};

use voxgate_protocol::bridge::TurnStage;
use voxgate_protocol::session::ClientReport;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{AudioMark, TurnTrace};

use crate::encode::OPUS_LOOK_AHEAD;
use crate::trace::TurnTracer;

use super::Leg;
use super::input::{Arrival, ticks_in};
use super::opening::Opening;
use super::outside::{NetworkTimes, Outsides, known};

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
    /// How the last word came.
    arrival: Arrival,
    /// When recognition of the turn began, if the provider said so and it has not ended.
    recognising: Option<Instant>,
    is_recognised: bool,
    /// A response of this turn ended without audio: a tool is at work.
    waits_for_tool: bool,
    progress: Progress,
    /// Set when the first packet of the answer was polled; [`TurnMeter::sent`] follows.
    is_polled: bool,
    /// Everything up to the first packet of the answer, if that brought no sound.
    unsounded: Option<TurnTracer>,
    /// How the answer began, and the timestamp of its packet, if it is one; the next [`TurnMeter::sent`] completes the turn.
    opening: Option<(Opening, Option<u32>)>,
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
#[derive(Debug)]
pub(super) struct TurnMeter {
    leg: Leg,
    open: Option<OpenTurn>,
    /// When recognition of a turn that goes on began.
    recognising: Option<Instant>,
    turns: u32,
    outside: Outsides,
}

impl TurnMeter {
    pub(super) fn new(leg: Leg) -> Self {
        Self { leg, open: None, recognising: None, turns: 0, outside: Outsides::of(leg) }
    }

    pub(super) const fn report(&mut self, report: ClientReport) {
        self.outside.client = report;
    }

    pub(super) const fn note_network(&mut self, times: NetworkTimes) {
        self.outside.network = times;
    }

    pub(super) const fn turns(&self) -> u32 {
        self.turns
    }

    /// How long a sent sample takes until it is heard.
    pub(super) fn client_buffer(&self) -> Duration {
        self.outside.ear_side().known.iter().map(|outside| outside.duration).sum()
    }

    /// A new turn begins; an unanswered one is no turn.
    pub(super) fn speech_started(&mut self) {
        (self.open, self.recognising) = (None, None);
    }

    /// The end of the turn was decided at `decided`; the last speech sample came with `arrival`.
    pub(super) fn speech_ended(&mut self, arrival: Option<Arrival>, decided: Instant) {
        let Some(arrival) = arrival else { return };
        let mut tracer = TurnTracer::start(arrival.received);
        // Messages wait for none before them, and hold samples as they are.
        if self.leg == Leg::Rtp {
            tracer.mark(Hop::Jitter, arrival.received + arrival.waited);
            tracer.mark(Hop::Decode, arrival.decoded);
        }
        tracer.mark(Hop::Endpointing, decided);
        self.open = Some(OpenTurn {
            tracer,
            arrival,
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

    /// The first packet of an answer leaves the queue, or its first message was made, which waits in none.
    pub(super) fn polled(&mut self, received: Instant, now: Instant) {
        if let Some(open) = &mut self.open
            && !std::mem::replace(&mut open.is_polled, true)
        {
            open.audio(received);
            if self.leg == Leg::Rtp {
                open.tracer.mark(Hop::Pacing, now);
            }
        }
    }

    /// A packet with this RTP timestamp or a message, there since `at`, brings the first sound, or none is waited for any
    /// longer. The silence a voice begins with is the voice's.
    pub(super) fn opened(&mut self, opening: Opening, timestamp: Option<u32>, at: Instant) {
        if let Some(open) = self.open.as_mut().filter(|open| open.is_polled) {
            open.opening = Some((opening, timestamp));
            if open.unsounded.is_some() {
                open.tracer.mark(open.voice(), at);
            }
        }
    }

    /// The packet or message is on the network. If it brought the first sound the turn is measured.
    pub(super) fn sent(&mut self, now: Instant) -> Option<TurnTrace> {
        let open = self.open.as_mut().filter(|open| open.is_polled)?;
        open.tracer.mark(Hop::Encode, now);
        if open.opening.is_none() {
            open.unsounded.get_or_insert_with(|| open.tracer.clone());
            return None;
        }
        let mut open = self.open.take()?;
        self.turns += 1;
        let before = self.outside.mouth_side(open.arrival.packing, open.arrival.late);
        let mut after = self.outside.ear_side();
        let mut heard = None;
        match open.opening {
            Some((Opening::Sounds(offset), packet)) => {
                after.known.push(known(open.voice(), offset));
                if let Some(packet) = packet {
                    after.known.push(known(Hop::Encode, OPUS_LOOK_AHEAD));
                    let sample = packet.wrapping_add(ticks_in(offset + OPUS_LOOK_AHEAD));
                    heard = Some(AudioMark { packet, sample });
                }
            }
            // Nobody knows when it is heard: the first packet has to do.
            _ => open.tracer = open.unsounded.take().unwrap_or(open.tracer),
        }
        let trace = open.tracer.finish(self.turns, &before.known, &after.known);
        let unseen = [before.unseen, after.unseen].concat();
        Some(TurnTrace { unseen, spoken: open.arrival.mark, heard, ..trace })
    }
}
