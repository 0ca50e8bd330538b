//! Writes down what happens in a session.
//!
//! What happens is written when it does; what only adds up, such as packets and loudness, once a second. Nothing here
//! decides anything, and no packet waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use voxgate_media::session::{Loudness, Observed};
use voxgate_media::uplink::UplinkStats;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::conversation::ItemKind;
use voxgate_protocol::id::ToolCallId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::session::ClientReport;
use voxgate_signaling::live::Presence;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::facts::{DownlinkNote, EventNote, NetworkNote, UplinkNote, WordsChange};
use voxgate_telemetry::session::view::{EventKind, Lane, MarkKind};

use super::sight::SaidWords;

/// What adds up is written down this often.
const EVERY: Duration = Duration::from_secs(1);

/// A client that said nothing for longer says nothing of this second.
const LATEST_REPORT: Duration = Duration::from_millis(2_500);

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

    /// Something happened. One sentence, without anything that was said.
    pub(crate) fn event(&self, now: Instant, event: EventNote) {
        self.record.event(self.at(now), event);
    }
}

/// What the transport of a call knows of its packets, since the call began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transported {
    /// Between client and gateway.
    pub(crate) round_trip: Option<Duration>,
    /// Packets sent to the client.
    pub(crate) sent: u64,
    /// Those the client says it never got.
    pub(crate) lost: u64,
    /// The interarrival jitter the client measures.
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
    transported: Transported,
}

/// What a second adds up to.
#[derive(Debug, Default)]
pub(super) struct Second {
    pub(super) uplink: Option<UplinkStats>,
    pub(super) loudness: Option<Loudness>,
    pub(super) cost: Option<NanoDollars>,
}

/// Writes one session down.
#[derive(Debug)]
pub(super) struct Chronicle {
    pen: Pen,
    next: Instant,
    counted: Counted,
    transported: Option<Transported>,
    report: Option<(Instant, ClientReport)>,
    cost: Option<NanoDollars>,
    /// Tools at work, with the numbers of their events; the oldest first.
    tools: VecDeque<(ToolCallId, u64)>,
}

impl Chronicle {
    pub(super) fn new(pen: Pen) -> Self {
        let next = pen.began + EVERY;
        let (counted, tools) = (Counted::default(), VecDeque::new());
        Self { pen, next, counted, transported: None, report: None, cost: None, tools }
    }

    pub(super) const fn pen(&self) -> &Pen {
        &self.pen
    }

    /// When a second is over.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.next
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
                let stop_ms = stop.as_millis() as u64;
                let text =
                    format!("The caller cut the answer off; it stopped {stop_ms} ms after the first sound.");
                let detail = json!({ "stop_ms": stop_ms });
                record.event(at, EventNote::info(EventKind::Interruption, text).with(detail));
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
        match event {
            BridgeEvent::Output { part: OutputPart::ToolArguments { call_id, name, .. }, .. } => {
                if self.tools.iter().any(|(known, _)| known == call_id) {
                    return;
                }
                if self.tools.len() == MOST_TOOLS {
                    self.tools.pop_front();
                }
                let text = format!("The model calls the tool {name}.");
                let note = EventNote::info(EventKind::ToolCall, text).with(json!({ "tool": name }));
                let number = self.pen.record.event(self.pen.at(now), note);
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

    /// A second is over, or the session.
    pub(super) fn second(&mut self, now: Instant, second: Second, metrics: &Metrics) {
        // A process that stood still does not make up for the seconds it missed.
        self.next = (self.next + EVERY).max(now);
        let Second { uplink, loudness, cost } = second;
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
        if uplink.is_some() || transported.is_some() || report.is_some() {
            let note = self.network(uplink, transported, report);
            metrics.network_second(&note);
            self.pen.record.network(at, note);
        }
        self.pen.record.lasts(at);
    }

    fn network(
        &mut self,
        uplink: Option<UplinkStats>,
        transported: Option<Transported>,
        report: Option<ClientReport>,
    ) -> NetworkNote {
        let uplink = uplink.map(|now| {
            let before = std::mem::replace(&mut self.counted.uplink, now);
            uplink_note(&before, &now)
        });
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
        NetworkNote { round_trip, uplink, downlink: downlink_note(&before, &transported, report), pair }
    }

    /// The call came to a relay.
    fn carried_by(&self, before: Option<&str>, relay: &str) {
        let at = self.pen.at(self.next.checked_sub(EVERY).unwrap_or(self.next));
        self.pen.record.carried_by(at, Some(relay));
        let detail = json!({ "relay": relay, "before": before });
        let text = match before {
            Some(before) => format!("The call moved from relay {before} to relay {relay}."),
            None => format!("Relay {relay} carries the call."),
        };
        self.pen.record.event(at, EventNote::info(EventKind::Relay, text).with(detail));
    }
}

fn uplink_note(before: &UplinkStats, now: &UplinkStats) -> UplinkNote {
    let passed = |now: u64, before: u64| now.saturating_sub(before) as u32;
    let came = |stats: &UplinkStats| stats.jitter.released + stats.jitter.late;
    UplinkNote {
        packets: passed(came(now), came(before)),
        lost: passed(now.jitter.lost, before.jitter.lost),
        recovered: passed(now.recovered, before.recovered),
        concealed: now.concealed.saturating_sub(before.concealed),
        jitter: Some(now.jitter.interarrival),
        buffer: Some(now.wait),
    }
}

/// What the client's script says; without one, what its RTCP reports do.
fn downlink_note(
    before: &Transported,
    now: &Transported,
    report: Option<ClientReport>,
) -> Option<DownlinkNote> {
    let report = match report {
        Some(report) => report,
        None => {
            now.jitter?;
            ClientReport::default()
        }
    };
    let lost = now.lost.saturating_sub(before.lost) as u32;
    let sent = now.sent.saturating_sub(before.sent) as u32;
    let is_told = now.jitter.is_some();
    Some(DownlinkNote {
        packets: report.packets.or_else(|| is_told.then_some(sent.saturating_sub(lost))),
        lost: report.lost.or_else(|| is_told.then_some(lost)),
        concealed: report.concealed,
        jitter: report.jitter.or(now.jitter),
        buffer: report.jitter_buffer,
        playout: report.playout,
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
