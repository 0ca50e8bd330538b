//! Writes down what happens in a session.
//!
//! What happens is written when it does; what only adds up, such as packets and loudness, once a second. Nothing here
//! decides anything, and no packet waits for it.

mod judges;
pub(crate) mod sentences;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_media::session::{ClientBuffer, Loudness, Observed, PieceStats};
use voxgate_media::uplink::UplinkStats;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::conversation::ItemKind;
use voxgate_protocol::id::ToolCallId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::session::{ClientReport, EndReason};
use voxgate_signaling::live::Presence;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::facts::{DownlinkNote, EventNote, NetworkNote, UplinkNote, WordsChange};
use voxgate_telemetry::session::view::{Lane, MarkKind};

use super::sight::SaidWords;

pub(super) use self::judges::JudgeNews;

/// What adds up is written down this often.
const EVERY: Duration = Duration::from_secs(1);

/// A client that said nothing for longer says nothing of this second: one with no news is silent for five.
const LATEST_REPORT: Duration = Duration::from_millis(7_500);

/// Audio that is lost is told again after this long without loss.
const CALM: Duration = Duration::from_secs(10);

/// Refused messages of a client that are told one by one: a client in a loop must not push everything else out of the record.
const MOST_REFUSALS: u64 = 16;

/// Tools at work at once that are followed.
const MOST_TOOLS: usize = 32;

/// Writes in a session's record, at the time of the session. Clones write in the same.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    record: SessionRecord,
    began: Instant,
}

impl Pen {
    pub(crate) fn of(presence: &Presence) -> Self {
        Self { record: presence.record().clone(), began: presence.began() }
    }

    /// When that was, since the session began.
    pub(crate) fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// Something happened. One sentence, without anything that was said. Gives its number.
    pub(crate) fn event(&self, now: Instant, event: EventNote) -> u64 {
        self.record.event(self.at(now), event)
    }

    /// What happened went on until now.
    pub(super) fn event_ended(&self, now: Instant, number: u64) {
        self.record.event_ended(self.at(now), number);
    }
}

/// What the transport of a call knows of its packets, since the call began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transported {
    /// Between client and gateway.
    pub(crate) round_trip: Option<Duration>,
    /// RTCP reports of the client about what is sent to it.
    pub(crate) reports: u64,
    /// Packets these are about.
    pub(crate) expected: u64,
    /// Of them those the client says it never got.
    pub(crate) lost: u64,
    /// The interarrival jitter the client reported last.
    pub(crate) jitter: Option<Duration>,
    /// The way of the packets.
    pub(crate) pair: Option<&'static str>,
    /// The relay that carries the call.
    pub(crate) relay: Option<Arc<str>>,
}

/// What was counted up to the last second.
#[derive(Debug, Default)]
struct Counted {
    uplink: UplinkStats,
    pieces: u64,
    transported: Transported,
}

/// What a second adds up to.
#[derive(Debug, Default)]
pub(super) struct Second {
    pub(super) uplink: Option<UplinkStats>,
    /// The same of a client that sends messages.
    pub(super) pieces: Option<PieceStats>,
    pub(super) loudness: Option<Loudness>,
    pub(super) cost: Option<NanoDollars>,
}

/// Writes one session down.
#[derive(Debug)]
pub(super) struct Chronicle {
    pen: Pen,
    /// Whether network and levels are written down.
    measures: bool,
    next: Instant,
    counted: Counted,
    transported: Option<Transported>,
    report: Option<(Instant, ClientReport)>,
    /// The client counts its packets itself, whether or not it has just said how many came.
    counts_packets: bool,
    cost: Option<NanoDollars>,
    /// Tools at work, with the numbers of their events; the oldest first.
    tools: VecDeque<(ToolCallId, u64)>,
    /// When audio of the caller was last lost at the way to the provider.
    dropped_at: Option<Instant>,
    /// Messages of the client that were refused.
    refusals: u64,
}

impl Chronicle {
    /// Of a session that is not measured only cost and events are written down, and how long it lasts.
    pub(super) fn new(pen: Pen, measures: bool) -> Self {
        let next = pen.began + EVERY;
        let (counted, tools) = (Counted::default(), VecDeque::new());
        let (transported, report, cost, dropped_at) = (None, None, None, None);
        let (counts_packets, refusals) = (false, 0);
        Self {
            pen,
            measures,
            next,
            counted,
            transported,
            report,
            counts_packets,
            cost,
            tools,
            dropped_at,
            refusals,
        }
    }

    pub(super) const fn pen(&self) -> &Pen {
        &self.pen
    }

    /// When a second is over.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.next
    }

    pub(super) const fn measures(&self) -> bool {
        self.measures
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// What the transport knows at the end of a second.
    pub(super) fn transported(&mut self, transported: Transported) {
        self.transported = Some(transported);
    }

    /// What the client says of itself.
    pub(super) fn reported(&mut self, now: Instant, report: ClientReport) {
        if !self.measures {
            return;
        }
        self.counts_packets |= report.packets.is_some();
        let before = self.report.map(|(_, report)| report);
        self.report = Some((now, merged(before, report)));
    }

    /// Who speaks, and who is cut off.
    pub(super) fn observed(&self, observed: Observed) {
        let record = &self.pen.record;
        let mark = |at, lane| record.mark(self.pen.at(at), lane, MarkKind::Speech);
        let ended = |at, lane| record.mark_ended(self.pen.at(at), lane, MarkKind::Speech, None);
        match observed {
            Observed::CallerSpeaks(at) => mark(at, Lane::Caller),
            Observed::CallerSilent(at) => ended(at, Lane::Caller),
            Observed::AgentSpeaks(at) => mark(at, Lane::Agent),
            Observed::AgentSilent(at) => ended(at, Lane::Agent),
            Observed::Interrupted { spoke, silent } => {
                let stop = silent.saturating_duration_since(spoke);
                record.mark(self.pen.at(spoke), Lane::Caller, MarkKind::Interruption);
                let at = self.pen.at(silent);
                record.mark_ended(at, Lane::Caller, MarkKind::Interruption, Some(stop));
                record.event(at, sentences::interrupted(stop));
            }
        }
    }

    /// What is said, with everything hidden that must be.
    pub(super) fn said(&self, now: Instant, item: &str, who: Lane, words: &SaidWords) {
        let change = match words {
            SaidWords::Added(text) => WordsChange::Add(text),
            SaidWords::Complete(text) => WordsChange::Complete(text),
            SaidWords::Cut(text) => WordsChange::Cut(text),
            SaidWords::TakenBack => WordsChange::Remove,
        };
        self.pen.record.words(self.pen.at(now), item, who, change);
    }

    /// The session is told something by its provider, or in its name.
    pub(super) fn heard(&mut self, now: Instant, event: &BridgeEvent) {
        if let Some(note) = sentences::failure(event) {
            self.pen.event(now, note);
        }
        match event {
            BridgeEvent::Output { part: OutputPart::ToolArguments { call_id, name, .. }, .. } => {
                if self.tools.iter().any(|(known, _)| known == call_id) {
                    return;
                }
                if self.tools.len() == MOST_TOOLS {
                    self.tools.pop_front();
                }
                let number = self.pen.record.event(self.pen.at(now), sentences::tool_called(name));
                self.tools.push_back((call_id.clone(), number));
            }
            BridgeEvent::ResponseDone { usage, .. } => {
                let at = self.pen.at(now);
                self.pen.record.answered(at);
                if let Some(usage) = usage {
                    self.pen.record.tokens(at, usage);
                }
            }
            _ => {}
        }
    }

    /// The session tells its provider something: perhaps what came of a tool.
    pub(super) fn told(&mut self, now: Instant, command: &BridgeCommand) {
        let BridgeCommand::CreateItem { item, .. } = command else { return };
        let ItemKind::ToolOutput { call_id, .. } = &item.kind else { return };
        let place = self.tools.iter().position(|(known, _)| known == call_id);
        if let Some((_, number)) = place.and_then(|place| self.tools.remove(place)) {
            self.pen.record.event_ended(self.pen.at(now), number);
        }
    }

    /// Audio of the caller was lost, since the provider takes none.
    pub(super) fn audio_dropped(&mut self, now: Instant) {
        let is_news = self.dropped_at.is_none_or(|at| now.saturating_duration_since(at) > CALM);
        self.dropped_at = Some(now);
        if is_news {
            self.pen.event(now, sentences::audio_dropped());
        }
    }

    /// A message of the client, or of a connection beside it, was refused.
    pub(super) fn client_refused(&mut self, now: Instant, code: &str) {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals <= MOST_REFUSALS {
            self.pen.event(now, sentences::client_refused(code));
        }
    }

    /// The session is over.
    pub(super) fn ended(&self, now: Instant, reason: EndReason) {
        let more = self.refusals.saturating_sub(MOST_REFUSALS);
        if more > 0 {
            self.pen.event(now, sentences::more_client_refused(more));
        }
        self.pen.event(now, sentences::ended(reason));
    }

    /// A second is over, or the session.
    pub(super) fn second(&mut self, now: Instant, second: Second, metrics: &Metrics) {
        // A process that stood still does not make up for the seconds it missed.
        self.next = (self.next + EVERY).max(now);
        let Second { uplink, pieces, loudness, cost } = second;
        let at = self.pen.at(now);
        if let Some(loudness) = loudness {
            self.pen.record.levels(loudness.from, &loudness.caller, &loudness.agent);
        }
        if let Some(cost) = cost.filter(|cost| self.cost != Some(*cost)) {
            self.cost = Some(cost);
            self.pen.record.cost(at, cost);
        }
        let transported = self.transported.take();
        self.report = self.report.filter(|(heard, _)| now.saturating_duration_since(*heard) <= LATEST_REPORT);
        let report = self.report.map(|(_, report)| report);
        if let Some((_, read)) = &mut self.report {
            (read.packets, read.lost, read.concealed) = (None, None, None);
        }
        let uplink = uplink.map(|uplink| self.packets(uplink));
        let uplink = uplink.or_else(|| pieces.map(|pieces| self.pieces(&pieces)));
        if uplink.is_some() || transported.is_some() || report.is_some() {
            let note = self.network(uplink, transported, report);
            metrics.network_second(&note);
            self.pen.record.network(at, note);
        }
        self.pen.record.lasts(at);
    }

    /// The caller's packets since the last second.
    fn packets(&mut self, now: UplinkStats) -> UplinkNote {
        let before = std::mem::replace(&mut self.counted.uplink, now);
        uplink_note(&before, &now)
    }

    /// The same of a client that sends messages.
    fn pieces(&mut self, now: &PieceStats) -> UplinkNote {
        let packets = now.pieces.saturating_sub(self.counted.pieces) as u32;
        self.counted.pieces = now.pieces;
        // How evenly nothing came nobody can say.
        let jitter = Some(now.jitter).filter(|_| packets > 0);
        UplinkNote { packets, jitter, ..UplinkNote::default() }
    }

    fn network(
        &mut self,
        uplink: Option<UplinkNote>,
        transported: Option<Transported>,
        report: Option<ClientReport>,
    ) -> NetworkNote {
        let before = self.counted.transported.clone();
        let transported = transported.unwrap_or_else(|| before.clone());
        self.counted.transported.clone_from(&transported);
        if before.relay != transported.relay
            && let Some(relay) = &transported.relay
        {
            self.carried_by(before.relay.as_deref(), relay);
        }
        let round_trip = report.and_then(|report| report.round_trip).or(transported.round_trip);
        let told = report.and_then(|report| report.pair).map(|pair| pair.as_str().to_owned());
        let pair = told.or_else(|| transported.pair.map(str::to_owned));
        let is_told = transported.reports > before.reports && !self.counts_packets;
        let downlink = downlink_note(&before, &transported, report, is_told);
        NetworkNote { round_trip, uplink, downlink, pair }
    }

    /// The call came to a relay.
    fn carried_by(&self, before: Option<&str>, relay: &str) {
        let at = self.pen.at(self.next.checked_sub(EVERY).unwrap_or(self.next));
        self.pen.record.carried_by(at, Some(relay));
        self.pen.record.event(at, sentences::carried_by(before, relay));
    }
}

fn uplink_note(before: &UplinkStats, now: &UplinkStats) -> UplinkNote {
    let passed = |now: u64, before: u64| now.saturating_sub(before) as u32;
    let came = |stats: &UplinkStats| stats.jitter.released + stats.jitter.late;
    UplinkNote {
        packets: passed(came(now), came(before)),
        lost: Some(passed(now.jitter.lost, before.jitter.lost)),
        recovered: Some(passed(now.recovered, before.recovered)),
        concealed: Some(now.concealed.saturating_sub(before.concealed)),
        jitter: Some(now.jitter.interarrival),
        buffer: Some(now.wait),
    }
}

/// What the client's script says; what it leaves out, or all without one, its RTCP reports do. Either comes less often than
/// once a second: how many packets a second without one brought is not known, and is in the next. `is_told`: by RTCP.
fn downlink_note(
    before: &Transported,
    now: &Transported,
    report: Option<ClientReport>,
    is_told: bool,
) -> Option<DownlinkNote> {
    if report.is_none() && now.reports == 0 {
        return None;
    }
    let report = report.unwrap_or_default();
    let lost = now.lost.saturating_sub(before.lost);
    let came = now.expected.saturating_sub(before.expected).saturating_sub(lost);
    let is_silent = (report.jitter_buffer, report.playout) == (None, None);
    let buffers = now.jitter.map_or(ClientBuffer::USUAL, ClientBuffer::of);
    Some(DownlinkNote {
        packets: report.packets.or_else(|| is_told.then_some(came as u32)),
        lost: report.lost.or_else(|| is_told.then_some(lost as u32)),
        concealed: report.concealed,
        jitter: report.jitter.or(now.jitter),
        buffer: report.jitter_buffer,
        playout: report.playout,
        probable_wait: is_silent.then_some(buffers.wait),
    })
}

/// A report with what was counted since the one before it, if nobody has read that.
fn merged(before: Option<ClientReport>, report: ClientReport) -> ClientReport {
    let Some(before) = before else { return report };
    let sum = |one: Option<u32>, other: Option<u32>| match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    let concealed = match (before.concealed, report.concealed) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    let (packets, lost) = (sum(before.packets, report.packets), sum(before.lost, report.lost));
    ClientReport { packets, lost, concealed, ..report }
}

#[cfg(test)]
mod tests;
