//! Speech over an answer under an interruption rule: while nobody knows whether it interrupts the answer is silent and
//! the client hears of nothing; then it was nothing at all, or it was an interruption from the first moment.
//!
//! That an answer is held is seen from outside: a turn's audio goes to the provider, and the client was not told that
//! anybody speaks.

use std::time::{Duration, Instant};

use serde_json::Value;
use voxgate_media::encode::FRAME;
use voxgate_media::session::{InterruptionRule, NetworkTimes};
use voxgate_media::voice::VOICE_FRAME;
use voxgate_protocol::session::ClientReport;

use super::{Verdict, promise};

/// Speech that was detected before the turn's audio goes to the provider, and what a late loop hears at once.
const HEARD_BEFORE: Duration = VOICE_FRAME.saturating_mul(3).saturating_add(Duration::from_millis(250));

/// How much later than its rule an answer may go on: packets that are late, a loop that is busy, the wait before a
/// missing packet counts as silence.
const PATIENCE: Duration = Duration::from_millis(450);

/// Backchannels that go on for longer are more than that.
const LONGEST_BACKCHANNEL: Duration = Duration::from_millis(1_500);

/// How exactly the moment an answer fell silent is known from its packets: a frame that was not full, and rounding.
const FRAME_AND_A_BIT: Duration = Duration::from_millis(25);

/// What a client says takes as long as this until it is heard, unless it says otherwise.
const DEFAULT_CLIENT_BUFFER: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Unknown,
    None,
    Backchannels,
    Meaning,
}

struct Held {
    since: Instant,
    /// Audio of the turn that went to the provider since.
    audio: Duration,
    words: Words,
}

/// What began or ended a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An answer fell silent.
    Held,
    /// The answer went on, and nobody heard of the sound.
    Resumed,
    /// It was an interruption, or a turn like any other.
    Told,
}

/// One step of the core, as far as it concerns holding.
#[derive(Default)]
struct Step {
    packets: u64,
    /// Of the turn, to the provider.
    audio: Duration,
    is_told: bool,
    is_over: bool,
    is_cleared: bool,
    input_events: u64,
    /// The client did something that decides about a held answer.
    is_clients_doing: bool,
    words: Option<Words>,
    is_taken_back: bool,
    truncated: Option<Duration>,
    truncations: u64,
}

pub(super) struct Holds {
    rule: Option<InterruptionRule>,
    /// Whether voxgate looks for turns.
    detects: bool,
    /// A turn's audio goes to the provider.
    is_speaking: bool,
    /// The client knows of it.
    is_told: bool,
    held: Option<Held>,
    step: Step,
    /// When each packet since the last start of an answer left, and when it was heard less the buffer.
    left: Vec<Instant>,
    last_packet: Option<Instant>,
    network: NetworkTimes,
    report: ClientReport,
}

impl Holds {
    pub(super) fn new(rule: Option<InterruptionRule>, detects: bool) -> Self {
        Self {
            rule,
            detects,
            is_speaking: false,
            is_told: false,
            held: None,
            step: Step::default(),
            left: Vec::new(),
            last_packet: None,
            network: NetworkTimes::default(),
            report: ClientReport::default(),
        }
    }

    pub(super) fn network(&mut self, times: NetworkTimes) {
        self.network = times;
    }

    pub(super) fn report(&mut self, report: ClientReport) {
        self.report = report;
    }

    /// A packet of the caller comes in.
    pub(super) fn caller(&mut self, now: Instant) {
        self.last_packet = Some(now);
    }

    /// The recogniser's words come in.
    pub(super) fn words(&mut self, words: &str) {
        let Some(rule) = &self.rule else { return };
        self.step.words = Some(if !words.chars().any(char::is_alphanumeric) {
            Words::None
        } else if rule.backchannels.are_all(words) {
            Words::Backchannels
        } else {
            Words::Meaning
        });
    }

    /// A client event that decides about the turn comes in.
    pub(super) fn clients_doing(&mut self) {
        self.step.is_clients_doing = true;
    }

    /// The provider gets audio.
    pub(super) fn audio(&mut self, length: Duration) {
        self.is_speaking = true;
        self.step.audio += length;
    }

    /// The provider is told to forget the audio, or to take it as a turn.
    pub(super) fn turn_is_over(&mut self, is_cleared: bool) {
        self.is_speaking = false;
        self.step.is_cleared |= is_cleared;
        self.step.is_over = true;
    }

    /// A packet with audio left.
    pub(super) fn packet(&mut self, now: Instant) {
        self.step.packets += 1;
        // What leaves in a burst still sounds one after the other.
        let at = self.left.last().map_or(now, |last| now.max(*last + FRAME));
        self.left.push(at);
    }

    /// An answer became audible with the packets of this step.
    pub(super) fn started(&mut self) {
        let kept = self.left.len().saturating_sub(self.step.packets as usize);
        self.left.drain(..kept);
    }

    pub(super) fn event(&mut self, kind: &str, event: &Value) {
        if kind.starts_with("input_audio_buffer.") {
            self.step.input_events += 1;
        }
        match kind {
            "input_audio_buffer.speech_started" => {
                self.is_told = true;
                self.step.is_told = true;
            }
            "session.updated" => {
                let detects = event["session"]["audio"]["input"]["turn_detection"].is_object();
                if detects && !self.detects {
                    // What went to the provider before was no turn.
                    self.is_speaking = false;
                }
                self.detects = detects;
            }
            "output_audio_buffer.cleared" => self.step.is_taken_back = true,
            "conversation.item.truncated" => {
                let heard = Duration::from_millis(event["audio_end_ms"].as_u64().unwrap_or(u64::MAX));
                self.step.truncated = Some(heard);
                self.step.truncations += 1;
            }
            _ => {}
        }
    }

    /// The input is carried to its end. `audible` answers were played in this step, `playing` still are.
    pub(super) fn settled(
        &mut self,
        now: Instant,
        audible: usize,
        playing: usize,
    ) -> Result<Option<Change>, String> {
        let step = std::mem::take(&mut self.step);
        promise!(
            !step.is_cleared || step.is_clients_doing || self.held.is_some(),
            "the provider was told to forget what the client was told of"
        );
        if !self.detects || (!self.is_speaking && self.held.is_none()) {
            self.is_told &= self.is_speaking && self.detects;
            return Ok(self.held.take().map(|_| Change::Told));
        }
        let is_quiet = self.is_speaking && !self.is_told;
        let change = match self.held.take() {
            Some(held) if is_quiet && !step.is_cleared => {
                self.held = Some(self.goes_on(held, &step, now)?);
                None
            }
            Some(held) => Some(self.released(&held, &step, now, audible, playing)?),
            None if is_quiet => {
                promise!(
                    self.rule.is_some(),
                    "audio goes to the provider and the client was told of no speech"
                );
                promise!(step.packets == 0, "{} packets left when the answer was held", step.packets);
                self.held = Some(Held { since: now, audio: Duration::ZERO, words: Words::Unknown });
                Some(Change::Held)
            }
            None => None,
        };
        if step.is_over && !self.is_speaking {
            self.is_told = false;
        }
        Ok(change)
    }

    /// The answer is still held.
    fn goes_on(&self, mut held: Held, step: &Step, now: Instant) -> Result<Held, String> {
        promise!(step.packets == 0, "a packet left while the answer was held");
        promise!(step.input_events == 0, "the client was told of what may be a noise");
        held.audio += step.audio;
        held.words = step.words.unwrap_or(held.words);
        promise!(held.words != Words::Meaning, "the answer is held although the words have a meaning");
        let quiet = self.last_packet.map_or(Duration::ZERO, |last| now.duration_since(last.max(held.since)));
        let longest = self.rule.as_ref().map_or(Duration::ZERO, |rule| rule.resume_after) + PATIENCE;
        promise!(quiet <= longest, "the answer is held {quiet:?} after the last sound");
        Ok(held)
    }

    fn released(
        &self,
        held: &Held,
        step: &Step,
        now: Instant,
        audible: usize,
        playing: usize,
    ) -> Result<Change, String> {
        let words = step.words.unwrap_or(held.words);
        if step.is_cleared && !step.is_told {
            promise!(
                step.input_events == u64::from(step.is_clients_doing),
                "the client was told of what was a noise"
            );
            self.was_none(held, words, step, now)?;
            return Ok(Change::Resumed);
        }
        promise!(step.is_told, "a held answer was given up, and the client was not told why");
        if step.is_clients_doing {
            return Ok(Change::Told);
        }
        promise!(playing == 0, "the caller interrupts, and the answer goes on");
        if step.is_taken_back {
            self.was_one(held, words, step, audible)?;
        }
        Ok(Change::Told)
    }

    /// The answer goes on: rightly?
    fn was_none(&self, held: &Held, words: Words, step: &Step, now: Instant) -> Verdict {
        let Some(rule) = &self.rule else { return Ok(()) };
        if step.is_clients_doing {
            return Ok(());
        }
        promise!(words != Words::Meaning, "the answer goes on although the words had a meaning");
        let lasted = now.duration_since(held.since);
        promise!(
            words != Words::Unknown || lasted + PATIENCE >= rule.resume_after,
            "the answer goes on after {lasted:?}, and the words were unknown"
        );
        Ok(())
    }

    /// The caller interrupted: really, and what is kept is what was heard when the answer fell silent?
    fn was_one(&self, held: &Held, words: Words, step: &Step, audible: usize) -> Verdict {
        let Some(rule) = &self.rule else { return Ok(()) };
        let spoken = held.audio + step.audio + HEARD_BEFORE;
        let enough = match words {
            Words::Meaning => Duration::ZERO,
            Words::Backchannels => LONGEST_BACKCHANNEL,
            Words::Unknown | Words::None => rule.minimum_speech,
        };
        promise!(spoken >= enough, "{words:?} interrupt after {spoken:?} at most; the rule says {enough:?}");
        let heard = self.heard_until(held.since);
        if let (Some(told), 1, 1) = (step.truncated, step.truncations, audible) {
            promise!(
                told <= heard + FRAME_AND_A_BIT,
                "an answer that was held when {heard:?} of it had been heard is cut at {told:?}"
            );
        }
        Ok(())
    }

    /// What of the answer had reached the ear.
    fn heard_until(&self, moment: Instant) -> Duration {
        let report = self.report;
        let in_client = match (report.jitter_buffer, report.playout) {
            (None, None) => DEFAULT_CLIENT_BUFFER,
            (jitter, playout) => jitter.unwrap_or_default() + playout.unwrap_or_default(),
        };
        let round_trip = report.round_trip.or(self.network.round_trip).unwrap_or_default();
        let NetworkTimes { relay_in, relay_out, .. } = self.network;
        let relay_out = relay_out.unwrap_or(relay_in);
        let buffer = relay_out + round_trip.saturating_sub(relay_in + relay_out) / 2 + in_client;
        self.left.iter().map(|at| moment.saturating_duration_since(*at + buffer).min(FRAME)).sum()
    }
}
