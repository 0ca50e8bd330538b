use std::sync::atomic::{AtomicU32, Ordering};

use voxgate_policy::decision::Risk;
use voxgate_protocol::tenant::{OrganisationId, TeamId};

use super::*;

const WINDOW: Duration = Duration::from_secs(60);

struct World {
    calls: HeldCalls,
    metrics: Arc<Metrics>,
    rung: Arc<AtomicU32>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let calls = HeldCalls::new(Arc::clone(&metrics), 3);
        Self { calls, metrics, rung: Arc::default(), now: Instant::now() }
    }

    fn ask(&self, team: &str) -> Ticket {
        let held = HeldCall {
            call_id: "call_1".into(),
            tool: "refund".to_owned(),
            risk: Risk::Dangerous,
            arguments: "{}".to_owned(),
        };
        let rung = Arc::clone(&self.rung);
        let ring: Ring = Arc::new(move || {
            rung.fetch_add(1, Ordering::Relaxed);
        });
        self.calls.ask(self.now, (&"sess_1".into(), &tenancy(team)), &held, WINDOW, ring)
    }

    fn decide(
        &self,
        ticket: &Ticket,
        within: &Reach,
        verdict: Verdict,
    ) -> Result<ApprovalState, ApprovalError> {
        self.calls.decide_at(self.now, ticket.id.as_str(), within, verdict)
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.metrics.tool_calls.with_label_values(&[outcome]).get()
    }
}

fn tenancy(team: &str) -> TenantPath {
    TenantPath { team: TeamId::new(team).unwrap(), ..TenantPath::default() }
}

fn team(team: &str) -> Reach {
    Reach::Team(OrganisationId::default(), TeamId::new(team).unwrap())
}

#[test]
fn a_verdict_wakes_the_session_and_stands() {
    for (verdict, state) in
        [(Verdict::Approve, ApprovalState::Approved), (Verdict::Deny, ApprovalState::Denied)]
    {
        let mut world = World::new();
        let ticket = world.ask("red");
        assert_eq!(ticket.state(world.now), ApprovalState::Pending);
        assert_eq!(world.calls.pending(&team("red")).len(), 1);
        assert_eq!(world.decide(&ticket, &team("red"), verdict), Ok(state));
        assert_eq!(world.rung.load(Ordering::Relaxed), 1);
        assert!(world.calls.pending(&team("red")).is_empty());
        world.now += WINDOW * 2;
        assert_eq!(ticket.state(world.now), state, "the session learns of it late");
        let again = ApprovalError::AlreadyDecided(state);
        assert_eq!(world.decide(&ticket, &team("red"), Verdict::Approve), Err(again));
        let id = ticket.id.clone();
        drop(ticket);
        let second = world.calls.decide_at(world.now, id.as_str(), &team("red"), Verdict::Deny);
        assert_eq!(second, Err(again), "who comes second learns who was first");
        let other = world.calls.decide_at(world.now, id.as_str(), &team("blue"), Verdict::Deny);
        assert_eq!(other, Err(ApprovalError::Unknown));
        assert_eq!((world.counted(state.as_str()), world.counted("withdrawn")), (1, 0));
        assert_eq!(world.metrics.tool_approval_wait_seconds.get_sample_count(), 1);
    }
}

#[test]
fn nobody_decides_about_what_is_not_theirs() {
    let world = World::new();
    let ticket = world.ask("red");
    assert!(world.calls.pending(&team("blue")).is_empty());
    let refused = world.decide(&ticket, &team("blue"), Verdict::Approve);
    assert_eq!(refused, Err(ApprovalError::Unknown));
    assert_eq!(ticket.state(world.now), ApprovalState::Pending);
    assert_eq!(world.rung.load(Ordering::Relaxed), 0);
    assert_eq!(world.calls.pending(&Reach::Installation).len(), 1);
}

#[test]
fn at_the_deadline_it_is_too_late_and_it_is_counted_once() {
    let mut world = World::new();
    let ticket = world.ask("red");
    world.now = ticket.deadline();
    let late = world.decide(&ticket, &team("red"), Verdict::Approve);
    assert_eq!(late, Err(ApprovalError::AlreadyDecided(ApprovalState::Expired)));
    assert_eq!(ticket.state(world.now), ApprovalState::Expired);
    drop(ticket);
    assert_eq!((world.counted("expired"), world.counted("withdrawn")), (1, 0));
}

#[test]
fn a_session_that_ends_takes_its_calls_with_it() {
    let world = World::new();
    let (first, second) = (world.ask("red"), world.ask("red"));
    assert_ne!(first.id, second.id, "one call of a provider's may be held in two sessions");
    let id = first.id.clone();
    drop(first);
    let gone = world.calls.decide_at(world.now, id.as_str(), &team("red"), Verdict::Approve);
    assert_eq!(gone, Err(ApprovalError::Unknown));
    assert_eq!(world.counted("withdrawn"), 1);
    assert_eq!(world.calls.pending(&team("red")).len(), 1);
}
