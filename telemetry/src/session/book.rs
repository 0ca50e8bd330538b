//! What a record holds. No clock: every moment is a duration since the session began.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::usage::TokenUsage;

use super::badness::Badness;
use super::facts::{EventNote, NetworkNote, Serving, SessionFacts, Spent, TurnNote, WordsChange};
use super::kept::{Kept, Stamped, opened};
use super::levels::Levels;
use super::quality::Quality;
use super::transcript::Transcript;
use super::turns::{Turns, milliseconds};
use super::view::{
    DownlinkView, EventView, Lane, MarkKind, MarkView, NetworkView, RECORD_VERSION, RecordView,
    RecordingView, SessionState, SummaryView, TokensView, TruncatedView, TurnView, UplinkView, WordsView,
};

/// How much of a session is kept. The oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Turns.
    pub turns: usize,
    /// Seconds on the network.
    pub network: usize,
    /// Values of both levels.
    pub levels: usize,
    /// Stretches of speech and interruptions.
    pub marks: usize,
    /// Items of the transcript.
    pub items: usize,
    /// Bytes of the transcript.
    pub words: usize,
    /// Events.
    pub events: usize,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            turns: 2_000,
            network: 3_600,
            levels: 36_000,
            marks: 4_000,
            items: 2_000,
            words: 256 * 1_024,
            events: 1_000,
        }
    }
}

macro_rules! stamped {
    ($view:ident, $key:ident, $type:ty) => {
        impl Stamped for $view {
            type Key = $type;

            fn key(&self) -> $type {
                self.$key
            }

            fn seq(&self) -> u64 {
                self.seq
            }

            fn stamp(&mut self, seq: u64) {
                self.seq = seq;
            }
        }
    };
}

stamped!(NetworkView, at_ms, f64);
stamped!(MarkView, number, u64);
stamped!(EventView, number, u64);

/// Everything a record holds.
#[derive(Debug)]
pub(super) struct Book {
    revision: u64,
    last: Duration,
    state: SessionState,
    end_reason: Option<EndReason>,
    recording: RecordingView,
    measured: bool,
    serving: Serving,
    relay: Option<String>,
    answers: u32,
    interruptions: u32,
    spent: Spent,
    /// What the turn that is not measured yet has used.
    tokens: Option<TokensView>,
    /// Whether its answer was cut off already.
    is_interrupted: bool,
    quality: Quality,
    turns: Turns,
    network: Kept<NetworkView>,
    levels: Levels,
    marks: Kept<MarkView>,
    marked: u64,
    transcript: Transcript,
    events: Kept<EventView>,
    happened: u64,
}

/// What a reader copies under the lock; it is opened afterwards.
pub(super) struct Snapshot {
    view: RecordView,
    turns: Vec<Arc<TurnView>>,
    network: Vec<Arc<NetworkView>>,
    marks: Vec<Arc<MarkView>>,
    transcript: Vec<Arc<WordsView>>,
    events: Vec<Arc<EventView>>,
}

impl Snapshot {
    pub(super) fn open(self) -> RecordView {
        RecordView {
            turns: opened(self.turns),
            network: opened(self.network),
            marks: opened(self.marks),
            transcript: opened(self.transcript),
            events: opened(self.events),
            ..self.view
        }
    }
}

impl Book {
    pub(super) const fn new(limits: RecordLimits) -> Self {
        Self {
            revision: 1,
            last: Duration::ZERO,
            state: SessionState::Connecting,
            end_reason: None,
            recording: RecordingView { words: false, voices: false },
            measured: true,
            serving: Serving { provider: String::new(), region: None, model: None, route: None },
            relay: None,
            answers: 0,
            interruptions: 0,
            spent: Spent { total: None, at_last_word: None, at_turn: NanoDollars::ZERO },
            tokens: None,
            is_interrupted: false,
            quality: Quality::NONE,
            turns: Turns::new(limits.turns),
            network: Kept::new(limits.network),
            levels: Levels::new(limits.levels),
            marks: Kept::new(limits.marks),
            marked: 0,
            transcript: Transcript::new(limits.items, limits.words),
            events: Kept::new(limits.events),
            happened: 0,
        }
    }

    /// Something changes at `at`: the revision of it.
    fn change(&mut self, at: Duration) -> u64 {
        self.last = self.last.max(at);
        self.revision += 1;
        self.revision
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == SessionState::Ended
    }

    pub(super) fn opened(&mut self, at: Duration) {
        if self.state == SessionState::Connecting {
            self.state = SessionState::Open;
            self.change(at);
        }
    }

    pub(super) fn lasts(&mut self, at: Duration) {
        if at > self.last && !self.is_over() {
            self.change(at);
        }
    }

    pub(super) fn ending(&mut self) {
        if self.state != SessionState::Ended {
            self.state = SessionState::Ending;
            self.change(self.last);
        }
    }

    pub(super) fn ended(&mut self, at: Duration, reason: Option<EndReason>) {
        if self.state == SessionState::Ended {
            return;
        }
        self.state = SessionState::Ended;
        self.end_reason = reason;
        let seq = self.change(at);
        let end = milliseconds(at);
        let open: Vec<u64> =
            self.marks.newest().filter(|mark| mark.until_ms.is_none()).map(|mark| mark.number).collect();
        for number in open {
            self.marks.change(seq, &number, |mark| mark.until_ms = Some(end.max(mark.at_ms)));
        }
    }

    pub(super) fn keeps(&mut self, recording: RecordingView) {
        self.recording = recording;
        self.change(self.last);
    }

    pub(super) fn leaves_out_measures(&mut self) {
        self.measured = false;
        self.change(self.last);
    }

    pub(super) fn served_by(&mut self, at: Duration, serving: Serving) {
        if self.serving != serving {
            self.serving = serving;
            self.change(at);
        }
    }

    pub(super) fn carried_by(&mut self, at: Duration, relay: Option<&str>) {
        if self.relay.as_deref() != relay {
            self.relay = relay.map(str::to_owned);
            self.change(at);
        }
    }

    pub(super) fn answered(&mut self, at: Duration) {
        self.answers = self.answers.saturating_add(1);
        self.change(at);
    }

    pub(super) fn cost(&mut self, at: Duration, total: NanoDollars) {
        if self.spent.total == Some(total) {
            return;
        }
        self.spent.total = Some(total);
        let seq = self.change(at);
        let (turn, cost) = (self.turns.newest().map(|turn| turn.turn), self.spent.of_turn());
        if let Some(turn) = turn {
            self.turns.change(seq, turn, |turn| turn.cost_nano_dollars = cost);
        }
    }

    pub(super) fn turn(&mut self, at: Duration, note: TurnNote<'_>) {
        let seq = self.change(at + note.account.whole.duration);
        self.settle_last_turn(seq);
        self.turns.add(seq, at, note, &self.serving);
        let cost = self.spent.of_turn();
        let (tokens, is_interrupted) = (self.tokens.take(), std::mem::take(&mut self.is_interrupted));
        self.turns.change(seq, note.account.turn, |turn| {
            (turn.cost_nano_dollars, turn.tokens, turn.interrupted) = (cost, tokens, is_interrupted);
        });
    }

    /// What was spent since the caller's last word is the new turn's.
    fn settle_last_turn(&mut self, seq: u64) {
        let total = self.spent.total.unwrap_or_default();
        let since = self.spent.at_last_word.take().unwrap_or(total);
        // The first turn has all that was spent before it.
        let Some(newest) = self.turns.newest().map(|turn| turn.turn) else { return };
        let cost = self.spent.total.map(|_| difference(since, self.spent.at_turn));
        self.turns.change(seq, newest, |turn| turn.cost_nano_dollars = cost);
        self.spent.at_turn = since;
    }

    pub(super) fn network(&mut self, at: Duration, note: NetworkNote) {
        let seq = self.change(at);
        let mos = self.quality.add(&note);
        let NetworkNote { round_trip, uplink, downlink, pair } = note;
        let uplink = uplink.map(|uplink| UplinkView {
            packets: uplink.packets,
            lost: uplink.lost,
            recovered: uplink.recovered,
            concealed_ms: uplink.concealed.map(milliseconds),
            jitter_ms: uplink.jitter.map(milliseconds),
            buffer_ms: uplink.buffer.map(milliseconds),
        });
        let downlink = downlink.map(|downlink| DownlinkView {
            packets: downlink.packets,
            lost: downlink.lost,
            concealed_ms: downlink.concealed.map(milliseconds),
            jitter_ms: downlink.jitter.map(milliseconds),
            buffer_ms: downlink.buffer.map(milliseconds),
            playout_ms: downlink.playout.map(milliseconds),
        });
        let (at_ms, round_trip_ms) = (milliseconds(at), round_trip.map(milliseconds));
        self.network.push(seq, NetworkView { seq, at_ms, round_trip_ms, uplink, downlink, pair, mos });
    }

    pub(super) fn levels(&mut self, from: Duration, caller: &[u8], agent: &[u8]) {
        let seq = self.change(self.last);
        self.levels.add(seq, from, caller, agent);
    }

    /// A stretch begins. One of the same lane and kind that goes on ends with it.
    pub(super) fn mark(&mut self, at: Duration, lane: Lane, kind: MarkKind) {
        self.mark_ended(at, lane, kind, None);
        let seq = self.change(at);
        if (lane, kind) == (Lane::Caller, MarkKind::Speech) {
            // An answer that was cut off and never measured is no turn.
            self.is_interrupted = false;
        }
        self.marked += 1;
        let (number, at_ms) = (self.marked, milliseconds(at));
        self.marks.push(seq, MarkView { seq, number, at_ms, until_ms: None, lane, kind, stop_ms: None });
        if kind == MarkKind::Interruption {
            self.interruptions = self.interruptions.saturating_add(1);
            self.interrupt_turn(seq);
        }
    }

    /// The answer that was cut off is that of the newest turn, or of the one that is not measured yet.
    fn interrupt_turn(&mut self, seq: u64) {
        match self.turns.newest().map(|turn| turn.turn).filter(|_| self.spent.at_last_word.is_none()) {
            Some(turn) => drop(self.turns.change(seq, turn, |turn| turn.interrupted = true)),
            None => self.is_interrupted = true,
        }
    }

    pub(super) fn mark_ended(&mut self, at: Duration, lane: Lane, kind: MarkKind, stop: Option<Duration>) {
        let is_open = |mark: &&MarkView| mark.lane == lane && mark.kind == kind;
        // Only the newest of its kind can go on.
        let newest = self.marks.newest().find(is_open).filter(|mark| mark.until_ms.is_none());
        let Some(number) = newest.map(|mark| mark.number) else { return };
        let seq = self.change(at);
        let (until, stop) = (milliseconds(at), stop.map(milliseconds));
        self.marks.change(seq, &number, |mark| {
            (mark.until_ms, mark.stop_ms) = (Some(until.max(mark.at_ms)), stop);
        });
        if (lane, kind) == (Lane::Caller, MarkKind::Speech) {
            self.spent.at_last_word = Some(self.spent.total.unwrap_or_default());
        }
    }

    /// Nothing is taken of a session whose words may not be kept.
    pub(super) fn words(&mut self, at: Duration, item: (&str, Lane), change: WordsChange<'_>) {
        if self.recording.words && self.transcript.take(self.revision + 1, at, item, change) {
            self.change(at);
        }
    }

    pub(super) fn event(&mut self, at: Duration, note: EventNote) -> u64 {
        let seq = self.change(at);
        self.happened += 1;
        let EventNote { kind, severity, text, detail } = note;
        let (number, at_ms) = (self.happened, milliseconds(at));
        self.events.push(seq, EventView { seq, number, at_ms, kind, severity, text, detail });
        number
    }

    pub(super) fn event_ended(&mut self, at: Duration, number: u64) {
        let seq = self.change(at);
        self.events.change(seq, &number, |event| {
            if let Value::Object(detail) = &mut event.detail {
                detail.insert("until_ms".to_owned(), milliseconds(at).into());
            }
        });
    }

    pub(super) fn tokens(&mut self, at: Duration, usage: &TokenUsage) {
        let seq = self.change(at);
        // Since the caller's last word it is the next turn that is answered; it is not measured yet.
        let newest = self.turns.newest().map(|turn| turn.turn).filter(|_| self.spent.at_last_word.is_none());
        match newest {
            Some(turn) => {
                self.turns.change(seq, turn, |turn| {
                    turn.tokens = Some(turn.tokens.unwrap_or_default().plus(usage));
                });
            }
            None => self.tokens = Some(self.tokens.unwrap_or_default().plus(usage)),
        }
    }

    /// The last turns, the newest first.
    pub(super) fn newest_turns(&self, most: usize) -> Vec<TurnView> {
        self.turns.last(most)
    }

    pub(super) fn badness(&self) -> Badness {
        Badness {
            runs: self.state != SessionState::Ended,
            recent_breaches: self.turns.recent_breaches(),
            p95_ms: self.turns.quantile(95).unwrap_or_default().as_millis() as u32,
            loss_ppm: self.quality.loss_ppm(),
        }
    }

    pub(super) fn summary(&self, facts: &SessionFacts) -> SummaryView {
        let tenancy = &facts.tenancy;
        let began_at = facts.began_at_unix_ms as f64 / 1_000.0;
        let is_over = self.state == SessionState::Ended;
        let served = Some(&self.serving).filter(|serving| !serving.provider.is_empty());
        let quantile = |percent| self.turns.quantile(percent).map(milliseconds);
        SummaryView {
            id: facts.session.to_string(),
            call: facts.call.as_ref().map(ToString::to_string),
            organisation: tenancy.organisation.to_string(),
            team: tenancy.team.to_string(),
            key: tenancy.key.to_string(),
            agent: tenancy.agent.as_ref().map(ToString::to_string),
            model: facts.model.clone(),
            route: served.and_then(|serving| serving.route.clone()),
            provider: served.map(|serving| serving.provider.clone()),
            region: served.and_then(|serving| serving.region.clone()),
            transport: facts.transport.to_owned(),
            purpose: facts.purpose.to_owned(),
            state: self.state,
            revision_number: facts.revision.number,
            revision_hash: facts.revision.hash.to_string(),
            began_at,
            ended_at: is_over.then_some(began_at + self.last.as_secs_f64()),
            end_reason: self.end_reason,
            duration_ms: milliseconds(self.last),
            answers: self.answers,
            cost_nano_dollars: self.spent.total.map(NanoDollars::get),
            turns: self.turns.measured(),
            mouth_to_ear_p50_ms: quantile(50),
            mouth_to_ear_p95_ms: quantile(95),
            breaches: self.turns.breached(),
            worst_hop: self.turns.worst_hop(),
            mos: self.quality.opinion(),
            loss_ratio: self.quality.loss(),
            interruptions: self.interruptions,
            relay: self.relay.clone(),
            badness: self.badness().number(),
            trace_id: facts.trace.trace.to_string(),
            seq: self.revision,
        }
    }

    pub(super) fn since(&self, facts: &SessionFacts, revision: u64) -> Snapshot {
        let truncated = TruncatedView {
            turns: self.turns.is_truncated(),
            network: self.network.is_truncated(),
            levels: self.levels.is_truncated(),
            marks: self.marks.is_truncated(),
            transcript: self.transcript.is_truncated(),
            events: self.events.is_truncated(),
        };
        let view = RecordView {
            version: RECORD_VERSION,
            revision: self.revision,
            session: self.summary(facts),
            recording: self.recording,
            measured: self.measured,
            turns: Vec::new(),
            network: Vec::new(),
            levels: self.levels.since(revision),
            marks: Vec::new(),
            transcript: Vec::new(),
            events: Vec::new(),
            truncated,
        };
        Snapshot {
            view,
            turns: self.turns.since(revision),
            network: self.network.since(revision),
            marks: self.marks.since(revision),
            transcript: self.transcript.since(revision),
            events: self.events.since(revision),
        }
    }

    /// Roughly how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        const TURN: usize = 4_096;
        const EVENT: usize = 512;
        self.turns.len() * TURN
            + self.network.len() * size_of::<NetworkView>()
            + self.levels.len() * 2
            + self.marks.len() * size_of::<MarkView>()
            + self.transcript.bytes()
            + self.transcript.len() * size_of::<WordsView>()
            + self.events.len() * EVENT
    }
}

impl Spent {
    /// What the newest turn has cost so far.
    fn of_turn(&self) -> Option<i64> {
        self.total.map(|total| difference(total, self.at_turn))
    }
}

fn difference(total: NanoDollars, before: NanoDollars) -> i64 {
    total.checked_sub(before).unwrap_or_default().get()
}
