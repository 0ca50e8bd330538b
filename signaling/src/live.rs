//! The sessions that run in this process: what the administration sees of them, and how it ends one.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use voxgate_policy::bundle::RevisionName;
use voxgate_protocol::id::{CallId, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::TenantPath;

/// Tells a running session to look at its [`Presence`]. Must return at once.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// What is known of a session when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Its name.
    pub session: SessionId,
    /// The call, if it is one over WebRTC.
    pub call: Option<CallId>,
    /// Whose it is.
    pub tenancy: TenantPath,
    /// The model, as the client named it.
    pub model: String,
    /// `webrtc` or `websocket`.
    pub transport: &'static str,
    /// `conversation` or `transcription`.
    pub purpose: &'static str,
    /// The revision of the configuration it keeps to its end.
    pub revision: RevisionName,
    /// In milliseconds since 1970.
    pub began_at_unix_ms: u64,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It is admitted; its client is not connected yet.
    Connecting,
    /// Its client is connected.
    Open,
    /// It was told to end.
    Ending,
}

impl SessionState {
    /// The word in the administration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Ending => "ending",
        }
    }
}

/// Who serves a session. It may change while the session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The configured provider.
    pub provider: Arc<str>,
    /// Where it works, if the configuration says so.
    pub region: Option<Arc<str>>,
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStanding {
    /// What was known from the beginning.
    pub facts: Arc<SessionFacts>,
    /// How far it is.
    pub state: SessionState,
    /// Who serves it; `None` until somebody does.
    pub served_by: Option<Server>,
    /// Answers that were completed.
    pub answers: u32,
    /// What it has cost so far, estimates included; `None` if nobody counts.
    pub cost: Option<NanoDollars>,
}

/// Stands for a cost nobody counts: no session costs minus nine billion dollars.
const UNCOUNTED: i64 = i64::MIN;

struct Live {
    facts: Arc<SessionFacts>,
    is_open: AtomicBool,
    is_ended: AtomicBool,
    answers: AtomicU32,
    cost: AtomicI64,
    served_by: Mutex<Option<Server>>,
    bell: Mutex<Option<Bell>>,
}

impl Live {
    fn standing(&self) -> SessionStanding {
        let state = if self.is_ended.load(Ordering::Relaxed) {
            SessionState::Ending
        } else if self.is_open.load(Ordering::Relaxed) {
            SessionState::Open
        } else {
            SessionState::Connecting
        };
        let cost = self.cost.load(Ordering::Relaxed);
        SessionStanding {
            facts: Arc::clone(&self.facts),
            state,
            served_by: self.served_by.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            answers: self.answers.load(Ordering::Relaxed),
            cost: (cost != UNCOUNTED).then_some(NanoDollars::new(cost)),
        }
    }

    fn ring(&self) {
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(bell) = bell {
            bell();
        }
    }
}

type Book = BTreeMap<SessionId, Arc<Live>>;

/// The sessions of this process. Clones share them.
#[derive(Clone, Default)]
pub struct LiveSessions(Arc<Mutex<Book>>);

impl fmt::Debug for LiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSessions(..)")
    }
}

impl LiveSessions {
    /// A session begins. It is listed until what this gives is dropped.
    #[must_use]
    pub fn enter(&self, facts: SessionFacts) -> Presence {
        let name = facts.session.clone();
        let live = Arc::new(Live {
            facts: Arc::new(facts),
            is_open: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            answers: AtomicU32::new(0),
            cost: AtomicI64::new(UNCOUNTED),
            served_by: Mutex::default(),
            bell: Mutex::default(),
        });
        self.with(|book| book.insert(name, Arc::clone(&live)));
        Presence { live, sessions: self.clone() }
    }

    /// At most `most` sessions behind `after`, in the order of their names, of those that `is_wanted`.
    pub fn list(
        &self,
        after: &str,
        most: usize,
        is_wanted: impl Fn(&SessionFacts) -> bool,
    ) -> Vec<SessionStanding> {
        let from = Bound::Excluded(SessionId::from(after));
        self.with(|book| {
            let behind = book.range((from, Bound::Unbounded)).map(|(_, live)| live);
            behind.filter(|live| is_wanted(&live.facts)).take(most).map(|live| live.standing()).collect()
        })
    }

    /// One session as it stands; `None` if it does not run.
    #[must_use]
    pub fn find(&self, session: &SessionId) -> Option<SessionStanding> {
        self.get(session).map(|live| live.standing())
    }

    /// Tells a session to end. Gives how it stands; `None` if it does not run.
    pub fn end(&self, session: &SessionId) -> Option<SessionStanding> {
        let live = self.get(session)?;
        live.is_ended.store(true, Ordering::Relaxed);
        live.ring();
        Some(live.standing())
    }

    fn get(&self, session: &SessionId) -> Option<Arc<Live>> {
        self.with(|book| book.get(session).cloned())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A session's place on the list. Dropping it takes the session off.
pub struct Presence {
    live: Arc<Live>,
    sessions: LiveSessions,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presence").field(&self.live.facts.session).finish()
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

    /// Whether somebody wants the session to end.
    #[must_use]
    pub fn is_told_to_end(&self) -> bool {
        self.live.is_ended.load(Ordering::Relaxed)
    }

    /// The client is connected.
    pub fn open(&self) {
        self.live.is_open.store(true, Ordering::Relaxed);
    }

    /// Who serves the session from now on.
    pub fn served_by(&self, provider: &str, region: Option<&str>) {
        let server = Server { provider: provider.into(), region: region.map(Into::into) };
        *self.live.served_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// An answer was completed.
    pub fn answered(&self) {
        self.live.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// What the session has cost so far.
    pub fn costs(&self, cost: NanoDollars) {
        self.live.cost.store(cost.get(), Ordering::Relaxed);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let name = &self.live.facts.session;
        self.sessions.with(|book| book.remove(name));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn facts(session: &str) -> SessionFacts {
        SessionFacts {
            session: SessionId::from(session),
            call: None,
            tenancy: TenantPath::default(),
            model: "m".to_owned(),
            transport: "websocket",
            purpose: "conversation",
            revision: RevisionName::default(),
            began_at_unix_ms: 0,
        }
    }

    fn names(sessions: &[SessionStanding]) -> Vec<&str> {
        sessions.iter().map(|session| session.facts.session.as_str()).collect()
    }

    #[test]
    fn a_session_is_listed_for_as_long_as_it_runs_and_shows_how_it_stands() {
        let sessions = LiveSessions::default();
        let presence = sessions.enter(facts("sess_1"));
        let standing = sessions.find(&"sess_1".into()).unwrap();
        assert_eq!((standing.state, standing.answers, standing.cost), (SessionState::Connecting, 0, None));
        presence.open();
        presence.answered();
        presence.served_by("p", Some("eu"));
        presence.costs(NanoDollars::new(7));
        let standing = sessions.find(&"sess_1".into()).unwrap();
        assert_eq!((standing.state, standing.answers), (SessionState::Open, 1));
        let served_by = standing.served_by.unwrap();
        assert_eq!((&*served_by.provider, served_by.region.as_deref()), ("p", Some("eu")));
        assert_eq!(standing.cost, Some(NanoDollars::new(7)));
        drop(presence);
        assert_eq!(sessions.find(&"sess_1".into()), None);
    }

    #[test]
    fn pages_follow_each_other_without_gaps_while_sessions_come_and_go() {
        let sessions = LiveSessions::default();
        let mut running: Vec<_> = (1..=5).map(|n| sessions.enter(facts(&format!("sess_{n}")))).collect();
        let first = sessions.list("", 2, |_| true);
        assert_eq!(names(&first), ["sess_1", "sess_2"]);
        running.remove(1);
        let second = sessions.list("sess_2", 2, |_| true);
        assert_eq!(names(&second), ["sess_3", "sess_4"]);
        let wanted = sessions.list("", 9, |facts| facts.session.as_str() > "sess_3");
        assert_eq!(names(&wanted), ["sess_4", "sess_5"]);
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
        assert_eq!(sessions.end(&"sess_other".into()), None);
    }
}
