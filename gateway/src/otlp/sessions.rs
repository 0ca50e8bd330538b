//! From records to spans.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use voxgate_protocol::id::SessionId;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::view::{EventView, SessionState, TurnView};
use voxgate_telemetry::session::{SessionRecord, SessionSink};
use voxgate_telemetry::spans::conventions::Conventions;
use voxgate_telemetry::spans::{session_span, speech_spans, tool_spans, turn_spans};

use super::traces::Traced;

/// Words that may wait. One that is lost costs nothing but time: what it told of is in the record.
const MOST_NOTICES: usize = 1_024;

/// What a session says.
enum Notice {
    /// A turn was measured.
    Turn(SessionRecord),
    /// It is over.
    Ended(SessionRecord),
    /// The process ends.
    Finish,
}

/// Where sessions say that there is something to send. Never waits.
#[derive(Clone)]
pub(super) struct Notices {
    queue: mpsc::Sender<Notice>,
    /// Set if the end of a session did not fit.
    missed_an_end: Arc<AtomicBool>,
}

impl Notices {
    /// Nothing that is said from now on is sent.
    pub(super) async fn finish(&self) {
        // Who has gone has nothing left to send.
        let _ = self.queue.send(Notice::Finish).await;
    }
}

impl SessionSink for Notices {
    fn turn(&self, record: &SessionRecord, _turn: u32) {
        // The next one tells of this one, too.
        let _ = self.queue.try_send(Notice::Turn(record.clone()));
    }

    fn ended(&self, record: &SessionRecord) {
        if self.queue.try_send(Notice::Ended(record.clone())).is_err() {
            self.missed_an_end.store(true, Ordering::Relaxed);
        }
    }
}

/// What is known of a session that was not sent yet.
struct Pending {
    record: SessionRecord,
    /// Of the record, as it was read last.
    revision: u64,
    turns: BTreeMap<u32, TurnView>,
    events: Vec<EventView>,
    /// Turns up to this one are sent.
    sent: u32,
}

/// Makes spans of records.
pub(super) struct Sessions {
    conventions: Conventions,
    notices: mpsc::Receiver<Notice>,
    missed_an_end: Arc<AtomicBool>,
    spans: mpsc::Sender<Traced>,
    metrics: Arc<Metrics>,
    pending: HashMap<SessionId, Pending>,
    over: Over,
}

/// The sessions that were over last: what still waits of them is old. No more words than those that may wait can be.
#[derive(Default)]
struct Over {
    names: HashSet<SessionId>,
    order: VecDeque<SessionId>,
}

impl Over {
    /// False if that was known.
    fn add(&mut self, name: &SessionId) -> bool {
        if !self.names.insert(name.clone()) {
            return false;
        }
        self.order.push_back(name.clone());
        if self.order.len() > MOST_NOTICES
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        true
    }
}

impl Sessions {
    pub(super) fn new(
        conventions: Conventions,
        spans: mpsc::Sender<Traced>,
        metrics: Arc<Metrics>,
    ) -> (Self, Notices) {
        let (queue, notices) = mpsc::channel(MOST_NOTICES);
        let missed_an_end = Arc::new(AtomicBool::new(false));
        let told = Notices { queue, missed_an_end: Arc::clone(&missed_an_end) };
        let (pending, over) = (HashMap::new(), Over::default());
        (Self { conventions, notices, missed_an_end, spans, metrics, pending, over }, told)
    }

    /// Until the process ends.
    pub(super) async fn run(mut self) {
        while let Some(notice) = self.notices.recv().await {
            match notice {
                Notice::Turn(record) => self.read(record),
                Notice::Ended(record) => self.end(&record),
                Notice::Finish => return,
            }
            if self.missed_an_end.swap(false, Ordering::Relaxed) {
                self.look_for_ends();
            }
        }
    }

    /// Sends the turns before the newest one, of which more may become known: its cost, and whether it is cut off.
    fn read(&mut self, record: SessionRecord) {
        if record.summary().state == SessionState::Ended {
            return self.end(&record);
        }
        let name = record.facts().session.clone();
        let mut pending = self.pending.remove(&name).unwrap_or_else(|| Pending::of(record));
        pending.read();
        let newest = pending.turns.keys().next_back().copied().unwrap_or_default();
        self.send_turns(&mut pending, newest);
        self.pending.insert(name, pending);
    }

    fn end(&mut self, record: &SessionRecord) {
        if !self.over.add(&record.facts().session) {
            return;
        }
        let known = self.pending.remove(&record.facts().session);
        let mut pending = known.unwrap_or_else(|| Pending::of(record.clone()));
        pending.read();
        self.send_turns(&mut pending, u32::MAX);
        let (context, whole) = (record.facts().trace, record.view_since(0));
        let (session, conventions) = (&whole.session, self.conventions);
        let tools = tool_spans(&context, session, &whole.turns, &whole.events, conventions);
        let speech = speech_spans(&context, session, &whole.marks, conventions);
        for span in tools.into_iter().chain(speech).chain([session_span(&context, &whole, conventions)]) {
            self.send(Traced { trace: context.trace, span });
        }
    }

    /// Those whose end was not told. Only sessions with turns are waited for; one without has lost its span.
    fn look_for_ends(&mut self) {
        let ended = |pending: &&Pending| pending.record.summary().state == SessionState::Ended;
        let over: Vec<_> = self.pending.values().filter(ended).map(|one| one.record.clone()).collect();
        over.iter().for_each(|record| self.end(record));
    }

    fn send_turns(&self, pending: &mut Pending, before: u32) {
        let context = pending.record.facts().trace;
        let session = pending.record.summary();
        while let Some(entry) = pending.turns.first_entry().filter(|entry| *entry.key() < before) {
            let turn = entry.remove();
            pending.sent = pending.sent.max(turn.turn);
            for span in turn_spans(&context, &session, &turn, &pending.events, self.conventions) {
                self.send(Traced { trace: context.trace, span });
            }
            pending.events.retain(|event| event.at_ms > turn.at_ms);
        }
    }

    fn send(&self, traced: Traced) {
        if self.spans.try_send(traced).is_err() {
            self.metrics.otlp_spans.with_label_values(&["queue_full"]).inc();
        }
    }
}

impl Pending {
    const fn of(record: SessionRecord) -> Self {
        Self { record, revision: 0, turns: BTreeMap::new(), events: Vec::new(), sent: 0 }
    }

    /// Takes over what is new.
    fn read(&mut self) {
        let view = self.record.view_since(self.revision);
        self.revision = view.revision;
        self.events.extend(view.events);
        let unsent = view.turns.into_iter().filter(|turn| turn.turn > self.sent);
        self.turns.extend(unsent.map(|turn| (turn.turn, turn)));
    }
}
