//! Which limits hold for a session, and who counts for it.
//!
//! Before a session begins the counters are asked and waited for. Once it runs it waits for nobody: what it asks for is
//! answered later, and while the shared counters are away each node counts its own sessions by the same rules.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use voxgate_policy::limits::credit::{Answer, Ask};
use voxgate_policy::limits::rules::{LimitRules, Resource, SessionLimits, sentence};
use voxgate_policy::limits::{Demand, LONGEST_WINDOW, Limiter, Place, Reached};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::tenant::TenantPath;
use voxgate_realtime::ApiError;

use super::{LimitRefusal, SharedLimits, lock};
use crate::gate::{Closed, TRY_AGAIN, WhenAway};
use crate::resume::Bell;

/// How long a place is held without being renewed: what a node that died keeps from the others.
const LEASE: Duration = Duration::from_secs(60);

/// Between two renewals: two may fail before a lease ends.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// An answer, and what it is about.
pub type Answered = (Resource, Answer);

/// Judges which sessions may begin, and answers those that run.
pub struct LimitDesk {
    counters: SharedLimits,
    /// Counts while the shared counters are away.
    alone: Mutex<Limiter>,
    when_away: WhenAway,
    runtime: Handle,
    /// The places of running sessions, to be renewed.
    running: Mutex<BTreeMap<SessionId, Vec<Place>>>,
}

impl fmt::Debug for LimitDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitDesk").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl LimitDesk {
    /// Counts with these counters. To be called inside a runtime, which then also carries what is asked later.
    #[must_use]
    pub fn new(counters: SharedLimits, when_away: WhenAway) -> Arc<Self> {
        Arc::new(Self {
            counters,
            alone: Mutex::default(),
            when_away,
            runtime: Handle::current(),
            running: Mutex::default(),
        })
    }

    /// Takes a place for a session and counts its start.
    ///
    /// # Errors
    /// [`Closed`] if a limit is reached, or nobody can say so and the setting refuses then.
    pub async fn admit(
        self: &Arc<Self>,
        rules: &LimitRules,
        session: &SessionId,
        tenant: &TenantPath,
        model: &str,
    ) -> Result<LimitLease, Closed> {
        let lease = LimitLease {
            desk: Some(Arc::clone(self)),
            session: session.clone(),
            limits: rules.of(tenant, model),
            bell: Arc::default(),
        };
        let places = &lease.limits.places;
        if !places.is_empty() {
            let held = self.counters.hold(now_us(), session.as_str(), places, LEASE).await;
            self.judge(held, |limiter| limiter.hold(now_us(), session.as_str(), places, LEASE))?;
            lock(&self.running).insert(session.clone(), places.clone());
        }
        let start = lease.demands(Resource::Starts, 1);
        if !start.is_empty() {
            let taken = self.counters.take(now_us(), &start).await;
            self.judge(taken, |limiter| limiter.take(now_us(), &start))?;
        }
        Ok(lease)
    }

    fn judge(
        &self,
        result: Result<(), LimitRefusal>,
        alone: impl FnOnce(&mut Limiter) -> Result<(), Reached>,
    ) -> Result<(), Closed> {
        let result = match result {
            Ok(()) => return Ok(()),
            Err(LimitRefusal::Reached(reached)) => Err(reached),
            Err(LimitRefusal::Away(error)) => {
                tracing::warn!(%error, "the shared counters of limits are away");
                if self.when_away == WhenAway::Refuse {
                    let message =
                        "The gateway cannot count sessions now and begins none until it can; try again soon.";
                    let error = ApiError::service_unavailable(message);
                    return Err(Closed { error, retry_after: TRY_AGAIN });
                }
                alone(&mut lock(&self.alone))
            }
        };
        result.map_err(|Reached { counter, retry_after }| Closed {
            error: ApiError::rate_limit_exceeded(sentence(&counter, retry_after)),
            retry_after: retry_after.unwrap_or(TRY_AGAIN),
        })
    }

    /// Renews the places of running sessions and forgets counters nobody uses, until the task is aborted.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            self.renew().await;
            self.with_limiters(|limiter| limiter.forget_idle(now_us()));
        }
    }

    async fn renew(&self) {
        let running = lock(&self.running).clone();
        for (session, places) in running {
            let renewed = self.counters.renew(now_us(), session.as_str(), &places, LEASE).await;
            if let Err(error) = renewed {
                // The others would not be renewed either, and are again next time.
                return tracing::warn!(%error, "the places of running sessions could not be renewed");
            }
            if !lock(&self.running).contains_key(&session) {
                // It ended while its place was renewed.
                let _ = self.counters.release(session.as_str(), &places).await;
            }
        }
    }

    fn with_limiters(&self, act: impl Fn(&mut Limiter)) {
        act(&mut lock(&self.alone));
        if let SharedLimits::Here(limiter) = &self.counters {
            act(&mut lock(limiter));
        }
    }

    /// What the counters elsewhere say; while they are away, those of this node.
    async fn answer(&self, used: &[Demand], wanted: &[Demand]) -> Answer {
        let now_us = now_us();
        if !used.is_empty() && self.counters.charge(now_us, used).await.is_err() {
            lock(&self.alone).charge(now_us, used);
        }
        let taken = match self.counters.take(now_us, wanted).await {
            Err(LimitRefusal::Away(_)) => lock(&self.alone).take(now_us, wanted),
            Err(LimitRefusal::Reached(reached)) => Err(reached),
            Ok(()) => Ok(()),
        };
        answer(now_us, taken)
    }

    fn leave(self: &Arc<Self>, session: &SessionId, places: Vec<Place>) {
        lock(&self.running).remove(session);
        self.with_limiters(|limiter| limiter.release(session.as_str(), &places));
        if let SharedLimits::Redis(_) = &self.counters {
            let (desk, session) = (Arc::clone(self), session.clone());
            self.runtime.spawn(async move {
                // If nobody answers, the lease ends by itself.
                let _ = desk.counters.release(session.as_str(), &places).await;
            });
        }
    }
}

fn answer(now_us: u64, taken: Result<(), Reached>) -> Answer {
    match taken {
        Ok(()) => Answer::Granted,
        Err(Reached { retry_after, .. }) => {
            let wait = retry_after.unwrap_or(LONGEST_WINDOW);
            Answer::Refused { until_us: now_us.saturating_add(wait.as_micros() as u64) }
        }
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// The limits of one session and its places among the concurrent ones, given back when dropped.
pub struct LimitLease {
    desk: Option<Arc<LimitDesk>>,
    session: SessionId,
    limits: SessionLimits,
    bell: Arc<Mutex<Option<Bell>>>,
}

impl fmt::Debug for LimitLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLease").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl LimitLease {
    /// Nothing limits the session.
    #[must_use]
    pub fn unlimited(session: SessionId) -> Self {
        Self { desk: None, session, limits: SessionLimits::default(), bell: Arc::default() }
    }

    /// What holds for the session.
    #[must_use]
    pub const fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// Says how the session is told to look for answers.
    pub fn hang(&self, bell: Bell) {
        *lock(&self.bell) = Some(bell);
    }

    /// Whether the counters are in this process.
    #[must_use]
    pub fn is_counted_here(&self) -> bool {
        self.desk.as_ref().is_none_or(|desk| matches!(desk.counters, SharedLimits::Here(_)))
    }

    /// The answer of counters in this process; `None` if they are elsewhere.
    #[must_use]
    pub fn ask_here(&self, resource: Resource, ask: Ask) -> Option<Answer> {
        let SharedLimits::Here(limiter) = &self.desk.as_ref()?.counters else { return None };
        let now_us = now_us();
        let mut limiter = lock(limiter);
        limiter.charge(now_us, &self.demands(resource, ask.used));
        Some(answer(now_us, limiter.take(now_us, &self.demands(resource, ask.wanted))))
    }

    /// Asks counters elsewhere, and rings once the answer is in the queue.
    pub fn ask_elsewhere(&self, resource: Resource, ask: Ask, answers: UnboundedSender<Answered>) {
        let Some(desk) = self.desk.clone() else { return };
        let used = if ask.used == 0 { Vec::new() } else { self.demands(resource, ask.used) };
        let wanted = self.demands(resource, ask.wanted);
        let bell = Arc::clone(&self.bell);
        let runtime = desk.runtime.clone();
        runtime.spawn(async move {
            let answer = desk.answer(&used, &wanted).await;
            // A session that has ended hears nothing more.
            let _ = answers.send((resource, answer));
            let bell = lock(&bell).clone();
            if let Some(ring) = bell {
                ring();
            }
        });
    }

    fn demands(&self, resource: Resource, amount: u64) -> Vec<Demand> {
        let rates = self.limits.rates.get(&resource).into_iter().flatten();
        rates.map(|(counter, rate)| Demand { counter: counter.clone(), rate: *rate, amount }).collect()
    }
}

impl Drop for LimitLease {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.as_ref().filter(|_| !self.limits.places.is_empty()) {
            desk.leave(&self.session, std::mem::take(&mut self.limits.places));
        }
    }
}

#[cfg(test)]
mod tests;
