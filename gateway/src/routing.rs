//! The health of targets in this process, and each session's way through them.

mod evidence;
#[cfg(test)]
mod slow_tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use voxgate_policy::routing::{
    BreakerRule, CircuitState, Itinerary, ModelPattern, Needs, Outcome, Route, Router, RoutingError,
    Switching, Target,
};
use voxgate_protocol::id::IdSource;
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::{ApiError, ErrorKind};
use voxgate_telemetry::metrics::Metrics;

use crate::latency::LatencyDesk;

pub(crate) use evidence::Evidence;

/// What every session of this process knows of the targets together.
pub(crate) struct Routing {
    router: Mutex<Router>,
    /// The router's clock counts from here.
    began: Instant,
    /// Who knows which targets are slow.
    latency: Arc<LatencyDesk>,
    metrics: Arc<Metrics>,
}

impl Routing {
    pub(crate) fn new(rule: BreakerRule, latency: Arc<LatencyDesk>, metrics: Arc<Metrics>) -> Self {
        Self { router: Mutex::new(Router::new(rule)), began: Instant::now(), latency, metrics }
    }

    /// Shows these targets, of which nothing may be known yet.
    pub(crate) fn show<'a>(&self, targets: impl Iterator<Item = &'a Target>) {
        for target in targets {
            self.show_state(target, self.with(|router, _| router.state(target)));
        }
    }

    /// Chooses who serves a new session. `seed` decides every chance of its way.
    pub(crate) fn begin(
        self: &Arc<Self>,
        route: Route,
        settings: &SessionSettings,
        seed: u64,
    ) -> Result<Way, ApiError> {
        let mut chance = IdSource::new(seed);
        let (needs, draw) = (Needs::of(settings), chance.next_seed());
        self.heed(&route);
        let began = self.with(|router, now| Itinerary::begin(router, now, route, &needs, draw));
        let itinerary = began.map_err(|error| refusal(&error, &settings.model))?;
        let mut way = Way { routing: Arc::clone(self), itinerary, chance, counted: None };
        way.served();
        Ok(way)
    }

    /// Passes over from now on what is too slow at the moment.
    fn heed(&self, route: &Route) {
        if route.has_choice() {
            let slow = self.latency.passed_over(&route.pattern.to_string());
            self.with(|router, _| router.pass_over(route, slow));
        }
    }

    /// Numbers only, no store: held for microseconds.
    fn with<T>(&self, act: impl FnOnce(&mut Router, Duration) -> T) -> T {
        let now = self.began.elapsed();
        act(&mut self.router.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    fn changed(&self, target: &Target, state: Option<CircuitState>) {
        let Some(state) = state else { return };
        let name = target.name();
        match state {
            CircuitState::Open => {
                tracing::warn!(served_by = name, "a target has failed and gets no more sessions for now")
            }
            CircuitState::Closed => tracing::info!(served_by = name, "a target is well again"),
            CircuitState::HalfOpen => {}
        }
        self.show_state(target, state);
    }

    fn show_state(&self, target: &Target, state: CircuitState) {
        for other in CircuitState::ALL {
            let labels = [target.name(), other.as_str().to_owned()];
            self.metrics.routing_target_state.with_label_values(&labels).set(i64::from(other == state));
        }
    }
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routing").finish_non_exhaustive()
    }
}

fn refusal(error: &RoutingError, model: &str) -> ApiError {
    match error {
        RoutingError::AllCoolingDown { retry_after } => {
            let seconds = retry_after.as_secs() + 1;
            let message =
                format!("No provider can serve this model at the moment: {error}. Try again in {seconds} s.");
            ApiError::new(503, ErrorKind::Server, "no_target_available", message)
        }
        RoutingError::NothingFits { .. } => ApiError::invalid_value("model", format!("{error}.")),
        _ => ApiError::model_not_found(model),
    }
}

/// One session's way through the targets of its route.
#[derive(Debug)]
pub(crate) struct Way {
    routing: Arc<Routing>,
    itinerary: Itinerary,
    chance: IdSource,
    /// Under which target and region the session counts as served now.
    counted: Option<[String; 2]>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.count(None);
    }
}

impl Way {
    /// For which model names the route is.
    pub(crate) const fn route(&self) -> &ModelPattern {
        &self.itinerary.route().pattern
    }

    /// Who serves the session.
    pub(crate) fn current(&self) -> Option<&Target> {
        self.itinerary.current()
    }

    /// Who is to serve it next.
    pub(crate) fn next(&self) -> Option<&Target> {
        self.itinerary.next()
    }

    /// When the session changes its target; `None` if it has but one.
    pub(crate) fn switching(&self) -> Option<Switching> {
        let route = self.itinerary.route();
        route.has_choice().then_some(route.switching)
    }

    /// Whether another target could serve that has not failed this session.
    pub(crate) fn has_other(&self, settings: &SessionSettings) -> bool {
        let needs = Needs::of(settings);
        self.routing.with(|router, now| self.itinerary.has_other(router, now, &needs))
    }

    /// Chooses for the next connection.
    pub(crate) fn choose(&mut self, settings: &SessionSettings) -> Result<(), ApiError> {
        let (needs, draw) = (Needs::of(settings), self.chance.next_seed());
        let Self { routing, itinerary, .. } = self;
        routing.heed(itinerary.route());
        routing
            .with(|router, now| itinerary.choose(router, now, &needs, draw))
            .map_err(|error| refusal(&error, &settings.model))?;
        self.show_next();
        Ok(())
    }

    /// Whether somebody better than the present one is there, who is then the next.
    pub(crate) fn prefer(&mut self, settings: &SessionSettings) -> bool {
        let (needs, draw) = (Needs::of(settings), self.chance.next_seed());
        let Self { routing, itinerary, .. } = self;
        routing.heed(itinerary.route());
        routing.with(|router, now| itinerary.prefer(router, now, &needs, draw))
    }

    /// Whether the one that serves the session is passed over because its turns are too slow.
    pub(crate) fn is_passed_over(&self) -> bool {
        let route = self.itinerary.route();
        let Some(target) = self.itinerary.current().filter(|_| route.has_choice()) else { return false };
        self.routing.heed(route);
        self.routing.with(|router, _| router.is_passed_over(route, target))
    }

    /// Whether sessions that run leave such a target, whatever their route says about better ones.
    pub(crate) fn leaves_slow(&self) -> bool {
        self.routing.latency.moves_running()
    }

    /// The one that serves the session gave this news of itself.
    pub(crate) fn report(&mut self, outcome: Outcome) {
        let Self { routing, itinerary, .. } = self;
        let state = routing.with(|router, now| itinerary.report(router, now, outcome));
        if let Some(target) = self.itinerary.current() {
            self.routing.changed(target, state);
            if matches!(outcome, Outcome::Answered(Some(_))) {
                self.routing.show_first_audio(target);
            }
        }
    }

    /// The one that is to serve it next gave this news.
    pub(crate) fn report_next(&mut self, outcome: Outcome) {
        let Some(target) = self.itinerary.next().cloned() else { return };
        let Self { routing, itinerary, .. } = self;
        let state = routing.with(|router, now| itinerary.report_next(router, now, outcome));
        self.routing.changed(&target, state);
    }

    /// What the client asks for does not go at the present target, which is no fault of it.
    pub(crate) fn leave(&mut self) {
        self.itinerary.leave();
    }

    /// The same of the one that is to serve it next.
    pub(crate) fn leave_next(&mut self) {
        self.itinerary.leave_next();
    }

    /// The session has moved. Gives the target if it is another one.
    pub(crate) fn moved(&mut self) -> Option<&Target> {
        let has_changed = self.itinerary.moved();
        if has_changed {
            self.served();
        }
        self.itinerary.current().filter(|_| has_changed)
    }

    fn count(&mut self, target: Option<[String; 2]>) {
        let gauge = &self.routing.metrics.routing_target_sessions;
        if let Some(labels) = &self.counted {
            gauge.with_label_values(labels).dec();
        }
        if let Some(labels) = &target {
            gauge.with_label_values(labels).inc();
        }
        self.counted = target;
    }

    fn served(&mut self) {
        let Some(target) = self.itinerary.current() else { return };
        let labels = [target.name(), target.region.clone().unwrap_or_default()];
        self.count(Some(labels));
        let Some(target) = self.itinerary.current() else { return };
        self.routing.metrics.routing_sessions.with_label_values(&[target.name()]).inc();
        let state = self.routing.with(|router, _| router.state(target));
        self.routing.show_state(target, state);
    }

    fn show_next(&self) {
        let Some(target) = self.itinerary.next() else { return };
        let state = self.routing.with(|router, _| router.state(target));
        self.routing.show_state(target, state);
    }
}

impl Routing {
    fn show_first_audio(&self, target: &Target) {
        if let Some(time) = self.with(|router, now| router.first_audio(now, target)) {
            let gauge = &self.metrics.routing_first_audio_seconds;
            gauge.with_label_values(&[target.name()]).set(time.as_secs_f64());
        }
    }
}

#[cfg(test)]
impl Way {
    /// The way of a session with one target.
    pub(crate) fn alone(target: Target) -> Self {
        Self::among(vec![target], Switching::default())
    }

    /// The way of a session with these targets, of which nothing is known.
    pub(crate) fn among(targets: Vec<Target>, switching: Switching) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let routing = Arc::new(Routing::new(BreakerRule::default(), LatencyDesk::idle(), metrics));
        let pattern = ModelPattern::parse("*").unwrap();
        let preference = voxgate_policy::routing::Preference::default();
        let route = Route { pattern, targets, preference, switching };
        routing.begin(route, &SessionSettings::default(), 5).unwrap()
    }
}
