//! The tool calls of this process that wait for a person.
//!
//! Sessions put them here and administrators decide about them. What stands here is what counts: a verdict before the
//! deadline holds even if its session learns of it later, and one after it changes nothing even if nobody watched the clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use voxgate_policy::approval::{Approval, ApprovalError, ApprovalState, Verdict};
use voxgate_policy::decision::{Decision, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::permission::HeldCall;
use voxgate_protocol::id::{ApprovalId, IdSource, SessionId};
use voxgate_protocol::tenant::TenantPath;
use voxgate_signaling::admin::approvals::{Approvals, PendingApproval};
use voxgate_signaling::admin::reach::Reach;
use voxgate_signaling::audit_queue::AuditQueue;
use voxgate_telemetry::metrics::Metrics;

use crate::audit;
use crate::host::since_unix_epoch;

/// Settled calls that are remembered, so that who comes second learns who was first.
const MOST_SETTLED: usize = 256;

/// Wakes a session.
pub(crate) type Ring = Arc<dyn Fn() + Send + Sync>;

/// Every held call of the process. Clones share it.
#[derive(Clone)]
pub(crate) struct HeldCalls {
    book: Arc<Mutex<Book>>,
    metrics: Arc<Metrics>,
    /// Where decisions of the policies about tool calls are written down; only tests do without.
    audit: Option<AuditQueue>,
}

struct Book {
    ids: IdSource,
    entries: BTreeMap<ApprovalId, Entry>,
    /// Oldest first.
    settled: VecDeque<(ApprovalId, TenantPath, ApprovalState)>,
}

struct Entry {
    shown: PendingApproval,
    approval: Approval,
    asked_at: Instant,
    ring: Ring,
}

impl HeldCalls {
    /// Nothing is held. Names follow from the seed.
    pub(crate) fn new(metrics: Arc<Metrics>, seed: u64) -> Self {
        let book = Book { ids: IdSource::new(seed), entries: BTreeMap::new(), settled: VecDeque::new() };
        Self { book: Arc::new(Mutex::new(book)), metrics, audit: None }
    }

    /// The same, with the audit log told of every decision.
    pub(crate) fn told_to(self, audit: AuditQueue) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The policies decided about a tool call. Never waits.
    pub(crate) fn decided(&self, caller: &Caller, question: &Question<'_>, decision: &Decision) {
        let note = audit::note_of(caller, question, decision);
        if let (Some(audit), Some(note)) = (&self.audit, note) {
            audit.note(note);
        }
    }

    /// Holds a call until a person decides, the window has passed or the ticket is dropped. `ring` is called when there is a
    /// verdict.
    pub(crate) fn ask(
        &self,
        now: Instant,
        (session, tenancy): (&SessionId, &TenantPath),
        held: &HeldCall,
        window: Duration,
        ring: Ring,
    ) -> Ticket {
        let asked = since_unix_epoch();
        self.with(|book| {
            let id = ApprovalId::from_random(book.ids.next_bits());
            let shown = PendingApproval {
                id: id.as_str().to_owned(),
                session: session.clone(),
                call: held.call_id.clone(),
                tenancy: tenancy.clone(),
                tool: held.tool.clone(),
                risk: held.risk,
                arguments: held.arguments.clone(),
                asked_at_unix_ms: asked.as_millis() as u64,
                deadline_unix_ms: (asked + window).as_millis() as u64,
            };
            let entry = Entry { shown, approval: Approval::ask(now, window), asked_at: now, ring };
            book.entries.insert(id.clone(), entry);
            Ticket { id, deadline: now + window, calls: self.clone() }
        })
    }

    /// The calls inside `within` that wait at `now`.
    pub(crate) fn pending_at(&self, now: Instant, within: &Reach) -> Vec<PendingApproval> {
        self.with(|book| {
            let waiting = book.entries.values().filter(|entry| {
                let deadline = entry.approval.poll_timeout();
                deadline.is_some_and(|deadline| now < deadline) && within.covers_path(&entry.shown.tenancy)
            });
            waiting.map(|entry| entry.shown.clone()).collect()
        })
    }

    /// A person decides at `now`.
    pub(crate) fn decide_at(
        &self,
        now: Instant,
        id: &str,
        within: &Reach,
        verdict: Verdict,
    ) -> Result<ApprovalState, ApprovalError> {
        let id = ApprovalId::from(id);
        let (state, ring) = self.with(|book| {
            let Some(entry) =
                book.entries.get_mut(&id).filter(|entry| within.covers_path(&entry.shown.tenancy))
            else {
                return Err(book.settled_before(&id, within));
            };
            let before = entry.approval.state();
            let decided = entry.approval.decide(now, verdict);
            self.count(before, entry, now);
            Ok((decided?, Arc::clone(&entry.ring)))
        })?;
        ring();
        Ok(state)
    }

    /// Counts a call that has just ceased to wait.
    fn count(&self, before: ApprovalState, entry: &Entry, now: Instant) {
        let state = entry.approval.state();
        if before == ApprovalState::Pending && state != before {
            self.metrics.tool_calls.with_label_values(&[state.as_str()]).inc();
            let waited = now.saturating_duration_since(entry.asked_at);
            Metrics::observe(&self.metrics.tool_approval_wait_seconds, waited);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        // Each change of the book is one step, so it is whole whatever a panicking thread did.
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Book {
    fn settled_before(&self, id: &ApprovalId, within: &Reach) -> ApprovalError {
        let known =
            self.settled.iter().find(|(settled, tenancy, _)| settled == id && within.covers_path(tenancy));
        known.map_or(ApprovalError::Unknown, |(_, _, state)| ApprovalError::AlreadyDecided(*state))
    }
}

impl Approvals for HeldCalls {
    fn pending(&self, within: &Reach) -> Vec<PendingApproval> {
        self.pending_at(Instant::now(), within)
    }

    fn decide<'a>(
        &'a self,
        id: &'a str,
        within: &'a Reach,
        verdict: Verdict,
    ) -> BoxFuture<'a, Result<ApprovalState, ApprovalError>> {
        // What stands in the book is final, so nobody has to wait for the session.
        Box::pin(async move { self.decide_at(Instant::now(), id, within, verdict) })
    }
}

/// One held call. Dropping it takes the call out of the book: the session has acted on the verdict, or is over.
pub(crate) struct Ticket {
    id: ApprovalId,
    deadline: Instant,
    calls: HeldCalls,
}

impl Ticket {
    /// How the call stands at `now`.
    pub(crate) fn state(&self, now: Instant) -> ApprovalState {
        self.calls.with(|book| {
            let Some(entry) = book.entries.get_mut(&self.id) else { return ApprovalState::Expired };
            let before = entry.approval.state();
            entry.approval.handle_timeout(now);
            self.calls.count(before, entry, now);
            entry.approval.state()
        })
    }

    /// When the call expires.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.calls.with(|book| {
            let Some(entry) = book.entries.remove(&self.id) else { return };
            match entry.approval.state() {
                ApprovalState::Pending => {
                    self.calls.metrics.tool_calls.with_label_values(&["withdrawn"]).inc();
                }
                state => {
                    if book.settled.len() == MOST_SETTLED {
                        book.settled.pop_front();
                    }
                    book.settled.push_back((self.id.clone(), entry.shown.tenancy, state));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
