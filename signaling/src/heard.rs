//! The turns of this process that were heard, for whoever compares them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use voxgate_protocol::id::SessionId;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::latency::budget::Subject;

use voxgate_telemetry::overview::question::{Dimension, Question, Span};
use voxgate_telemetry::overview::report::Report;
use voxgate_telemetry::overview::turn::{HeardTurn, TurnOrigin};
use voxgate_telemetry::overview::{MOST_TURNS, Overview};
use voxgate_telemetry::session::facts::SessionFacts;
use voxgate_telemetry::session::view::TurnView;
use voxgate_telemetry::session::{SessionRecord, SessionSink};

use crate::api::unix_now_ms;

/// Turns that are handed over together: some ten microseconds' work for the session whose turn makes them full.
const HANDED_OVER: usize = 64;

/// The turns that were heard. Clones share them.
///
/// Noting one costs its session a lock of nanoseconds, even while somebody has all turns compared, which takes tens of
/// milliseconds: it goes into an inbox of its own.
#[derive(Clone)]
pub struct HeardTurns(Arc<Kept>);

struct Kept {
    /// The clock of the turns: `started_at` and what has passed since, so that it never runs backwards.
    began: Instant,
    started_at: Duration,
    inbox: Mutex<Inbox>,
    overview: Mutex<Overview>,
}

/// What waits to be kept.
#[derive(Default)]
struct Inbox {
    news: Vec<News>,
    /// Turns that were told so far: the number of the next one.
    told: u64,
    /// The number of the newest turn of each session that runs, whose cost is not known yet.
    newest: BTreeMap<SessionId, u64>,
}

enum News {
    Turn(HeardTurn),
    Cost(u64, NanoDollars),
}

impl Inbox {
    /// False if there is no room. There is, unless a comparison never ends.
    fn turn(&mut self, turn: HeardTurn) -> bool {
        let has_room = self.news.len() < MOST_TURNS;
        if has_room {
            self.told += 1;
            self.news.push(News::Turn(turn));
        }
        has_room
    }

    /// What the turn of a session cost that was its newest one.
    fn cost(&mut self, session: &SessionId, cost: Option<i64>) {
        let number = self.newest.remove(session);
        if let (Some(number), Some(cost)) = (number, cost) {
            self.news.push(News::Cost(number, NanoDollars::new(cost)));
        }
    }
}

impl fmt::Debug for HeardTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeardTurns").finish_non_exhaustive()
    }
}

impl Default for HeardTurns {
    fn default() -> Self {
        Self(Arc::new(Kept {
            began: Instant::now(),
            started_at: Duration::from_millis(unix_now_ms()),
            inbox: Mutex::default(),
            overview: Mutex::default(),
        }))
    }
}

impl HeardTurns {
    /// The time since 1970, by a clock that never runs backwards.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.started_at + self.0.began.elapsed()
    }

    /// A turn was heard.
    pub fn note(&self, turn: HeardTurn) {
        self.tell(|inbox| {
            inbox.turn(turn);
        });
    }

    /// Compares what was heard so far. It may take tens of milliseconds.
    #[must_use]
    pub fn report(
        &self,
        (span, by, heat): (Span, Dimension, Subject),
        is_seen: impl FnMut(&TurnOrigin) -> bool,
    ) -> Report {
        let mut overview = self.0.overview.lock().unwrap_or_else(PoisonError::into_inner);
        self.hand_over(&mut overview);
        overview.report(&Question { now: self.now(), span, by, heat }, is_seen)
    }

    fn tell(&self, say: impl FnOnce(&mut Inbox)) {
        let waiting = {
            let mut inbox = self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            say(&mut inbox);
            inbox.news.len()
        };
        if waiting < HANDED_OVER {
            return;
        }
        match self.0.overview.try_lock() {
            Ok(mut overview) => self.hand_over(&mut overview),
            Err(TryLockError::Poisoned(poisoned)) => self.hand_over(&mut poisoned.into_inner()),
            // Whoever compares them takes these along next time.
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn hand_over(&self, overview: &mut Overview) {
        let news = std::mem::take(&mut self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner).news);
        for news in &news {
            match news {
                News::Turn(turn) => overview.turn(turn),
                News::Cost(number, cost) => overview.cost(*number, *cost),
            }
        }
    }
}

impl SessionSink for HeardTurns {
    fn turn(&self, record: &SessionRecord, _: u32) {
        let mut turns = record.newest_turns(2).into_iter();
        let Some(turn) = turns.next() else { return };
        let session = &record.facts().session;
        let heard = heard(self.now(), record.facts(), &turn);
        self.tell(|inbox| {
            // With the next turn it is known what the one before cost.
            inbox.cost(session, turns.next().and_then(|before| before.cost_nano_dollars));
            let number = inbox.told;
            if inbox.turn(heard) {
                inbox.newest.insert(session.clone(), number);
            }
        });
    }

    fn ended(&self, record: &SessionRecord) {
        let last = record.newest_turns(1).pop();
        self.tell(|inbox| inbox.cost(&record.facts().session, last.and_then(|turn| turn.cost_nano_dollars)));
    }
}

/// A turn of a record as it is compared.
fn heard(at: Duration, facts: &SessionFacts, turn: &TurnView) -> HeardTurn {
    let shared = |name: &Option<String>| name.as_deref().map(Arc::from);
    let origin = TurnOrigin {
        organisation: facts.tenancy.organisation.as_str().into(),
        team: facts.tenancy.team.as_str().into(),
        route: turn.route.as_deref().unwrap_or_default().into(),
        provider: shared(&turn.provider),
        region: shared(&turn.region),
        model: facts.model.as_str().into(),
        revision: facts.revision.number,
    };
    let hops = turn.hops.iter().map(|hop| (hop.hop, duration(hop.duration_ms)));
    let rest = (turn.unattributed_ms > 0.0).then(|| (Hop::Unattributed, duration(turn.unattributed_ms)));
    let slow = turn.breaches.iter().find(|breach| breach.subject == Subject::Whole.as_str());
    HeardTurn {
        at,
        origin: Arc::new(origin),
        whole: duration(turn.mouth_to_ear_ms),
        hops: hops.chain(rest).collect(),
        cost: None,
        spender: slow.map(|breach| breach.spender.unwrap_or(Hop::Unattributed)),
    }
}

/// Exact to the nanosecond: a turn has fewer than 2^53 of them.
fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1_000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::trace_context::TraceContext;
    use voxgate_telemetry::latency::account::TurnAccount;
    use voxgate_telemetry::latency::budget::LatencyBudget;
    use voxgate_telemetry::latency::stamp::{Claim, Stamp};
    use voxgate_telemetry::session::facts::{Serving, TurnNote};

    use super::*;
    use crate::live::LiveSessions;

    fn facts(session: &str) -> SessionFacts {
        SessionFacts {
            model: "m".to_owned(),
            ..SessionFacts::new(SessionId::from(session), TraceContext::begin(None, (1, 1)))
        }
    }

    fn heard(turns: &HeardTurns) -> HeardTurn {
        HeardTurn {
            at: turns.now(),
            origin: Arc::default(),
            whole: Duration::from_millis(700),
            hops: Vec::new(),
            cost: None,
            spender: None,
        }
    }

    fn counted(turns: &HeardTurns) -> u64 {
        turns.report((Span::Hour, Dimension::Nothing, Subject::Whole), |_| true).turns
    }

    #[test]
    fn every_turn_is_found_however_many_wait_to_be_handed_over() {
        let turns = HeardTurns::default();
        for number in 1..=3 * HANDED_OVER as u64 + 5 {
            turns.note(heard(&turns));
            if number % 50 == 0 {
                assert_eq!(counted(&turns), number);
            }
        }
        assert_eq!(counted(&turns), 3 * HANDED_OVER as u64 + 5);
    }

    fn turn(record: &SessionRecord, number: u32, model_ms: u32) {
        let at = |ms: u32| Stamp::gateway(Duration::from_millis(ms.into()));
        let claim = Claim::new(Hop::Model, at(0), at(model_ms));
        let account = TurnAccount::from_claims(number, &at(0), &at(model_ms + 3), &[claim]).unwrap();
        let budget = LatencyBudget { whole: Some(Duration::from_millis(500)), hops: BTreeMap::new() };
        let breaches = budget.breaches(&account);
        record
            .turn(Duration::ZERO, TurnNote { account: &account, budget: Some(&budget), breaches: &breaches });
    }

    #[test]
    fn the_turns_of_a_record_are_compared_with_what_they_cost_once_that_is_known() {
        let turns = HeardTurns::default();
        let live = LiveSessions::default();
        live.add_sink(Arc::new(turns.clone()));
        let presence = live.enter(facts("sess_1"));
        let record = presence.record();
        let serving = Serving { provider: "p".to_owned(), route: Some("*".to_owned()), ..Serving::default() };
        record.served_by(Duration::ZERO, serving);
        record.cost(Duration::ZERO, NanoDollars::ZERO);
        turn(record, 1, 400);
        record.cost(Duration::ZERO, NanoDollars::new(30));
        let group = || {
            let report = turns.report((Span::Hour, Dimension::Provider, Subject::Whole), |_| true);
            report.groups.into_iter().next().unwrap()
        };
        assert_eq!((group().name.as_deref(), group().mean_cost), (Some("p"), None));
        turn(record, 2, 600);
        record.cost(Duration::ZERO, NanoDollars::new(40));
        drop(presence);
        let told = group();
        assert_eq!((told.whole.count, told.breaches), (2, 1));
        assert_eq!(told.mean_cost, Some(NanoDollars::new(20)));
        let hops: Vec<_> = told.hops.iter().map(|(hop, took)| (*hop, took.max.as_millis())).collect();
        assert_eq!(hops, [(Hop::Model, 600), (Hop::Unattributed, 3)]);
        assert!(
            turns.0.inbox.lock().unwrap().newest.is_empty(),
            "nothing is remembered of a session that is over"
        );
    }

    #[test]
    fn a_turn_is_noted_while_the_others_are_compared() {
        let turns = HeardTurns::default();
        (0..HANDED_OVER - 1).for_each(|_| turns.note(heard(&turns)));
        let question = (Span::Hour, Dimension::Nothing, Subject::Whole);
        // Were a session to wait for the comparison, this would not come to an end.
        let _ = turns.report(question, |_| {
            (0..HANDED_OVER).for_each(|_| turns.note(heard(&turns)));
            true
        });
        assert_eq!(counted(&turns), 2 * HANDED_OVER as u64 - 1);
    }
}
