//! One session's way through the targets of its route.

use std::time::Duration;

use super::choice::{Ask, Router};
use super::target::{Needs, Target};
use super::{CircuitState, Outcome, Route, RoutingError};

/// The targets a session may be served by, the one that serves it, and those that have failed it since an answer last
/// came. Not shared: every session has its own.
#[derive(Clone, Debug)]
pub struct Itinerary {
    route: Route,
    current: usize,
    failed: Vec<usize>,
    /// Whom the session is to move to, chosen and not yet proven.
    next: Option<usize>,
}

impl Itinerary {
    /// The first choice.
    ///
    /// # Errors
    /// As [`Router::choose`].
    pub fn begin(
        router: &mut Router,
        now: Duration,
        route: Route,
        needs: &Needs,
        draw: u64,
    ) -> Result<Self, RoutingError> {
        let current = router.choose(now, Ask { route: &route, needs, avoid: &[], draw })?;
        Ok(Self { route, current, failed: Vec::new(), next: None })
    }

    /// The route.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// Who serves the session. `None` cannot be: a route has a target.
    #[must_use]
    pub fn current(&self) -> Option<&Target> {
        self.route.targets.get(self.current)
    }

    /// Whom the session is to move to: the one that was chosen, or else the one it has.
    #[must_use]
    pub fn next(&self) -> Option<&Target> {
        self.route.targets.get(self.next.unwrap_or(self.current))
    }

    /// Whether another target could serve, besides the present and the next one, that has not failed this session.
    #[must_use]
    pub fn has_other(&self, router: &Router, now: Duration, needs: &Needs) -> bool {
        let is_other = |(index, target): (usize, &Target)| {
            index != self.current
                && Some(index) != self.next
                && !self.failed.contains(&index)
                && target.weight > 0
                && needs.met_by(target).is_ok()
                && router.is_free(now, target)
        };
        self.route.targets.iter().enumerate().any(is_other)
    }

    /// Chooses for a connection that replaces the one in use. One that the target has lived up to stays with it; after a
    /// failure another target is asked, and those that have failed before only when nobody else is left.
    ///
    /// # Errors
    /// As [`Router::choose`]: nobody is left, not even among those that have failed.
    pub fn choose(
        &mut self,
        router: &mut Router,
        now: Duration,
        needs: &Needs,
        draw: u64,
    ) -> Result<(), RoutingError> {
        if self.next.is_some() {
            return Ok(());
        }
        if !self.failed.contains(&self.current) {
            self.next = Some(self.current);
            return Ok(());
        }
        let asked = |avoid| Ask { route: &self.route, needs, avoid, draw };
        let chosen = router.choose(now, asked(&self.failed)).or_else(|_| {
            // Better one that has failed than none.
            router.choose(now, asked(&[]))
        })?;
        self.next = Some(chosen);
        Ok(())
    }

    /// Whether a better target than the present one is there, which is then the next one.
    pub fn prefer(&mut self, router: &Router, now: Duration, needs: &Needs, draw: u64) -> bool {
        let ask = Ask { route: &self.route, needs, avoid: &self.failed, draw };
        let better = router.better(now, ask, self.current);
        self.next = self.next.or(better);
        better.is_some()
    }

    /// The one that serves the session gave this news of itself.
    pub fn report(&mut self, router: &mut Router, now: Duration, outcome: Outcome) -> Option<CircuitState> {
        match outcome {
            Outcome::Failed(_) => self.fail(self.current),
            Outcome::Answered(_) => self.failed.clear(),
            Outcome::Ready => {}
        }
        router.report(now, self.current()?, outcome)
    }

    /// The one the session is to move to gave this news. A failure gives it up.
    pub fn report_next(
        &mut self,
        router: &mut Router,
        now: Duration,
        outcome: Outcome,
    ) -> Option<CircuitState> {
        let next = self.next?;
        if matches!(outcome, Outcome::Failed(_)) {
            self.fail(next);
            self.next = None;
        }
        router.report(now, self.route.targets.get(next)?, outcome)
    }

    /// The one that serves the session cannot serve it, through no fault of its own: what the client asks for does not go
    /// there. Others are not affected.
    pub fn leave(&mut self) {
        self.fail(self.current);
    }

    /// The same of the one it is to move to.
    pub fn leave_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.fail(next);
        }
    }

    /// The session has moved. Gives whether to another target.
    pub fn moved(&mut self) -> bool {
        let before = self.current;
        self.current = self.next.take().unwrap_or(before);
        self.current != before
    }

    fn fail(&mut self, index: usize) {
        if !self.failed.contains(&index) {
            self.failed.push(index);
        }
    }
}
