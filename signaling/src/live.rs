//! The sessions of this process: those that run, and the last ones that are over. What the administration sees of them,
//! and how it ends one.

mod past;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::trace_context::TraceContext;
use voxgate_telemetry::session::facts::{Serving, SessionFacts};
use voxgate_telemetry::session::view::SummaryView;
use voxgate_telemetry::session::{RecordLimits, SessionRecord, SessionSink};

use self::past::Past;

/// Tells a running session to look at its [`Presence`]. Must return at once.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

struct Live {
    record: SessionRecord,
    began: Instant,
    is_told_to_end: AtomicBool,
    bell: Mutex<Option<Bell>>,
}

impl Live {
    fn ring(&self) {
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(bell) = bell {
            bell();
        }
    }
}

#[derive(Default)]
struct Book {
    live: BTreeMap<SessionId, Arc<Live>>,
    past: Past,
    sinks: Vec<Arc<dyn SessionSink>>,
}

/// The sessions of this process. Clones share them.
///
/// Of those that are over the records of the last 1,000 are kept, if they fit 64 MiB; the oldest go.
#[derive(Clone, Default)]
pub struct LiveSessions(Arc<Mutex<Book>>);

impl fmt::Debug for LiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSessions(..)")
    }
}

impl LiveSessions {
    /// From now on somebody else hears of sessions that begin.
    pub fn add_sink(&self, sink: Arc<dyn SessionSink>) {
        self.with(|book| book.sinks.push(sink));
    }

    /// A session begins. It is listed until what this gives is dropped.
    #[must_use]
    pub fn enter(&self, facts: SessionFacts) -> Presence {
        let name = facts.session.clone();
        let sinks = self.with(|book| book.sinks.as_slice().into());
        let record = SessionRecord::new(facts, RecordLimits::default(), sinks);
        let live = Arc::new(Live {
            record,
            began: Instant::now(),
            is_told_to_end: AtomicBool::new(false),
            bell: Mutex::default(),
        });
        self.with(|book| book.live.insert(name, Arc::clone(&live)));
        Presence { live, sessions: self.clone() }
    }

    /// The record of a session that runs; `None` if it does not.
    #[must_use]
    pub fn find(&self, session: &SessionId) -> Option<SessionRecord> {
        self.get(session).map(|live| live.record.clone())
    }

    /// The record of a session that runs, or is over and kept.
    #[must_use]
    pub fn record(&self, session: &SessionId) -> Option<SessionRecord> {
        self.with(|book| {
            let live = book.live.get(session).map(|live| live.record.clone());
            live.or_else(|| book.past.get(session))
        })
    }

    /// The records of the sessions that run, in the order of their names, and then of those that are over and kept, the
    /// last one first; of all those that `is_wanted`, which is asked under the lock and must be quick.
    pub fn records(&self, is_wanted: impl Fn(&SessionFacts) -> bool) -> Vec<SessionRecord> {
        self.with(|book| {
            let live = book.live.values().map(|live| &live.record);
            live.chain(book.past.records()).filter(|record| is_wanted(record.facts())).cloned().collect()
        })
    }

    /// The records of the sessions that run, in the order of their names.
    #[must_use]
    pub fn running(&self) -> Vec<SessionRecord> {
        self.with(|book| book.live.values().map(|live| live.record.clone()).collect())
    }

    /// Tells a session to end. Gives how it stands while it does; `None` if it does not run.
    pub fn end(&self, session: &SessionId) -> Option<SummaryView> {
        let live = self.get(session)?;
        live.is_told_to_end.store(true, Ordering::Relaxed);
        live.record.ending();
        let ending = live.record.summary();
        live.ring();
        Some(ending)
    }

    fn get(&self, session: &SessionId) -> Option<Arc<Live>> {
        self.with(|book| book.live.get(session).cloned())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A session's place on the list. Dropping it moves the session to those that are over.
pub struct Presence {
    live: Arc<Live>,
    sessions: LiveSessions,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presence").field(&self.record().facts().session).finish()
    }
}

impl Presence {
    /// What rings the session. One that was told to end before is rung for at once.
    pub fn hang(&self, bell: Bell) {
        *self.live.bell.lock().unwrap_or_else(PoisonError::into_inner) = Some(bell);
        if self.is_told_to_end() {
            self.live.ring();
        }
    }

    /// Where in which distributed trace the session stands.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.record().facts().trace
    }

    /// Whether somebody wants the session to end.
    #[must_use]
    pub fn is_told_to_end(&self) -> bool {
        self.live.is_told_to_end.load(Ordering::Relaxed)
    }

    /// What happens in the session is written down here.
    #[must_use]
    pub fn record(&self) -> &SessionRecord {
        &self.live.record
    }

    /// When the session began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.live.began
    }

    /// How long after the session's beginning a moment is: the time of [`SessionRecord`].
    #[must_use]
    pub fn since_began(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.live.began)
    }

    /// The client is connected.
    pub fn open(&self, now: Instant) {
        self.record().opened(self.since_began(now));
    }

    /// Who serves the session from now on.
    pub fn served_by(&self, now: Instant, serving: Serving) {
        self.record().served_by(self.since_began(now), serving);
    }

    /// An answer was completed.
    pub fn answered(&self, now: Instant) {
        self.record().answered(self.since_began(now));
    }

    /// What the session has cost so far.
    pub fn costs(&self, now: Instant, cost: NanoDollars) {
        self.record().cost(self.since_began(now), cost);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let record = &self.live.record;
        // Whoever knows why has said so; one that never began has no reason.
        record.ended(self.since_began(Instant::now()), None);
        let size = record.size();
        let gone = self.sessions.with(|book| {
            book.live.remove(&record.facts().session);
            book.past.add(record.clone(), size)
        });
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use voxgate_protocol::session::EndReason;
    use voxgate_telemetry::session::view::SessionState;

    use super::*;

    fn facts(session: &str) -> SessionFacts {
        SessionFacts {
            model: "m".to_owned(),
            ..SessionFacts::new(SessionId::from(session), TraceContext::begin(None, (1, 1)))
        }
    }

    fn serving(provider: &str, region: Option<&str>) -> Serving {
        let (provider, region) = (provider.to_owned(), region.map(str::to_owned));
        Serving { provider, region, ..Serving::default() }
    }

    fn names(records: &[SessionRecord]) -> Vec<&str> {
        records.iter().map(|record| record.facts().session.as_str()).collect()
    }

    #[test]
    fn a_session_is_listed_for_as_long_as_it_runs_and_shows_how_it_stands() {
        let sessions = LiveSessions::default();
        let presence = sessions.enter(facts("sess_1"));
        let summary = sessions.find(&"sess_1".into()).unwrap().summary();
        assert_eq!((summary.state, summary.answers), (SessionState::Connecting, 0));
        assert_eq!((summary.provider, summary.cost_nano_dollars), (None, None));
        let now = Instant::now();
        presence.open(now);
        presence.answered(now);
        presence.served_by(now, serving("p", Some("eu")));
        presence.costs(now, NanoDollars::new(7));
        let summary = sessions.find(&"sess_1".into()).unwrap().summary();
        assert_eq!((summary.state, summary.answers), (SessionState::Open, 1));
        assert_eq!((summary.provider.as_deref(), summary.region.as_deref()), (Some("p"), Some("eu")));
        assert_eq!(summary.cost_nano_dollars, Some(7));
        drop(presence);
        assert!(sessions.find(&"sess_1".into()).is_none());
    }

    #[test]
    fn those_that_run_stand_in_the_order_of_their_names() {
        let sessions = LiveSessions::default();
        let mut running: Vec<_> = [3, 1, 2].map(|n| sessions.enter(facts(&format!("sess_{n}")))).into();
        assert_eq!(names(&sessions.running()), ["sess_1", "sess_2", "sess_3"]);
        running.remove(1);
        assert_eq!(names(&sessions.running()), ["sess_2", "sess_3"]);
        let wanted = sessions.records(|facts| facts.session.as_str() != "sess_2");
        assert_eq!(names(&wanted), ["sess_3", "sess_1"], "those that are over come last");
    }

    #[test]
    fn a_session_that_is_told_to_end_is_rung_for_even_if_its_bell_comes_later() {
        let sessions = LiveSessions::default();
        let (early, late) = (sessions.enter(facts("sess_early")), sessions.enter(facts("sess_late")));
        let rung = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rung);
        let bell: Bell = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        early.hang(Arc::clone(&bell));
        assert_eq!(rung.load(Ordering::Relaxed), 0);
        for name in ["sess_early", "sess_late"] {
            assert_eq!(sessions.end(&name.into()).unwrap().state, SessionState::Ending);
        }
        assert_eq!(rung.load(Ordering::Relaxed), 1);
        late.hang(bell);
        assert_eq!(rung.load(Ordering::Relaxed), 2);
        assert!(early.is_told_to_end() && late.is_told_to_end());
        assert!(sessions.end(&"sess_other".into()).is_none());
    }

    #[test]
    fn a_session_that_is_over_stays_readable_with_its_reason_and_its_end_is_told_once() {
        let sessions = LiveSessions::default();
        let ended = Arc::new(Ended::default());
        sessions.add_sink(Arc::<Ended>::clone(&ended));
        let (one, other) = (sessions.enter(facts("sess_1")), sessions.enter(facts("sess_2")));
        one.record().ended(Duration::from_millis(1_500), Some(EndReason::HungUp));
        drop(one);
        drop(other);
        let record = sessions.record(&"sess_1".into()).unwrap();
        let summary = record.summary();
        assert_eq!((summary.state, summary.end_reason), (SessionState::Ended, Some(EndReason::HungUp)));
        assert_eq!((summary.duration_ms, summary.ended_at), (1_500.0, Some(1.5)));
        let records = sessions.records(|facts| facts.transport == "websocket");
        assert_eq!(names(&records), ["sess_2", "sess_1"], "the last one first");
        assert_eq!(records[0].summary().end_reason, None, "it never began");
        assert_eq!(*ended.0.lock().unwrap(), ["sess_1", "sess_2"]);
    }

    #[test]
    fn the_past_is_bounded_and_the_oldest_of_it_goes() {
        let sessions = LiveSessions::default();
        for number in 0..1_010 {
            drop(sessions.enter(facts(&format!("sess_{number:04}"))));
        }
        assert_eq!(sessions.records(|_| true).len(), 1_000);
        assert!(sessions.record(&"sess_0009".into()).is_none());
        assert!(sessions.record(&"sess_0010".into()).is_some());
    }

    #[derive(Default)]
    struct Ended(Mutex<Vec<String>>);

    impl SessionSink for Ended {
        fn ended(&self, record: &SessionRecord) {
            self.0.lock().unwrap().push(record.facts().session.to_string());
        }
    }
}
