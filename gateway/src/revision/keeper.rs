//! Puts configurations in force while the gateway runs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use voxgate_policy::admission::SessionLimits;
use voxgate_policy::bundle::Bundle;
use voxgate_policy::directory::{DirectoryError, KeyEntry};
use voxgate_policy::key::KeyHash;
use voxgate_policy::routing::Target;
use voxgate_protocol::revision::{BundleHash, RevisionName};
use voxgate_signaling::admin::revisions::{
    Configuration, ConfigurationError, Origin, Plan, RevisionFacts, RunningRevision, SessionsOf, TakesEffect,
};
use voxgate_signaling::audit_queue::Note;
use voxgate_signaling::live::LiveSessions;
use voxgate_signaling::permit::Places;
use voxgate_signaling::resume::Resumptions;
use voxgate_signaling::roster::KeyBook;
use voxgate_signaling::store::Store;
use voxgate_signaling::store::audit::Deed;
use voxgate_signaling::store::revisions::Added;
use voxgate_signaling::terms::TermsInForce;
use voxgate_telemetry::metrics::Metrics;

use super::effect::{Compared, Ground, Touchable, differences, lost_keys, takes_effect};
use super::last_good::LastGood;
use super::{Revision, Shared};
use crate::bridges::Bridges;
use crate::cli::say;
use crate::config::{self, Checked, ConfigError, Loaded, Source};
use crate::control::state::ControlState;
use crate::data_dir::DataDir;
use crate::host::{LocalHost, since_unix_epoch};

/// The parts of the process that a configuration reaches.
pub(crate) struct Reached {
    pub(crate) terms: TermsInForce,
    /// Begins sessions; another revision gets one of its own.
    pub(crate) host: LocalHost,
    /// What sessions have in common, whatever their revision.
    pub(crate) shared: Shared,
    pub(crate) keys: KeyBook,
    /// The key in the data folder, which stands in no configuration.
    pub(crate) first_key: KeyHash,
    pub(crate) places: Places,
    pub(crate) resumptions: Resumptions,
    pub(crate) control: Arc<ControlState>,
    pub(crate) store: Store,
    pub(crate) data: DataDir,
    pub(crate) metrics: Arc<Metrics>,
    /// The sessions that run now.
    pub(crate) live: LiveSessions,
}

/// What is in force.
pub(crate) struct InForce {
    pub(crate) facts: RevisionFacts,
    pub(crate) bundle: Bundle,
    /// With every default.
    pub(crate) meaning: serde_json::Value,
    /// The keys of `organisations` and `key_hashes`.
    pub(crate) keys: Vec<KeyEntry>,
    pub(crate) bridges: Bridges,
    pub(crate) drain_deadline: Duration,
    /// What the file held when it was last read and could be used.
    pub(crate) file: Option<BundleHash>,
    /// Why it could not be used when it was last read, if so.
    pub(crate) refused_file: Option<String>,
}

impl Reached {
    /// Shows how many sessions may run.
    pub(crate) fn show_limit(&self, limits: SessionLimits) {
        self.metrics.sessions_limit.set(i64::from(limits.total));
    }
}

impl InForce {
    fn compared(&self) -> Compared<'_> {
        Compared { bundle: &self.bundle, meaning: &self.meaning }
    }
}

/// The revision a gateway starts with: the one that ran before, or a new one of the store.
pub(crate) async fn at_start(store: &Store, bundle: &Bundle, before: Option<RevisionFacts>) -> RevisionFacts {
    if let Some(before) = before.filter(|before| before.number > 0) {
        return before;
    }
    let by = of_gateway();
    match store.add_revision(bundle, Origin::Start, &by, |_| Ok::<(), Infallible>(())).await {
        Ok(Added::Recorded(facts) | Added::Unrecorded(facts, _)) => facts,
        Ok(Added::Refused(never)) => match never {},
        Err(error) => {
            tracing::error!(%error, "the store does not know what this gateway starts with");
            unnumbered(bundle, Origin::Start, &by)
        }
    }
}

fn of_gateway() -> Deed {
    let now = i64::try_from(since_unix_epoch().as_millis()).unwrap_or(i64::MAX);
    Deed { actor: "gateway".to_owned(), at_unix_ms: now, request: None }
}

/// A revision the store does not know of.
fn unnumbered(bundle: &Bundle, origin: Origin, by: &Deed) -> RevisionFacts {
    RevisionFacts {
        number: 0,
        hash: bundle.hash(),
        made_at_unix_ms: u64::try_from(by.at_unix_ms).unwrap_or(0),
        made_by: by.actor.clone(),
        origin,
    }
}

/// Why something is put in force.
struct Cause {
    origin: Origin,
    by: Deed,
    /// What should run, as far as anybody says.
    follows: Option<BundleHash>,
}

/// Keeps what is in force, and changes it.
pub(crate) struct Keeper {
    source: Arc<dyn Source>,
    reached: Reached,
    /// What the process was started with: listeners and folders stay as they were then.
    started: (Bundle, serde_json::Value),
    in_force: Mutex<InForce>,
    /// Applying takes turns.
    turn: tokio::sync::Mutex<()>,
}

impl Keeper {
    /// Keeps what the process has started with, for the next start too.
    pub(crate) fn new(source: Arc<dyn Source>, reached: Reached, in_force: InForce) -> Self {
        let started = (in_force.bundle.clone(), in_force.meaning.clone());
        let in_force = Mutex::new(in_force);
        let keeper = Self { source, reached, started, in_force, turn: tokio::sync::Mutex::default() };
        keeper.settle();
        keeper
    }

    /// Says what the gateway has started with, loudly if that is not what its file says.
    pub(crate) fn greet(&self) {
        self.with(|now| {
            let name = now.facts.name();
            say(&format!("Revision    {name}"));
            if let Some(reason) = &now.refused_file {
                say("WARNING     the configuration file is broken; the last good configuration runs instead");
                tracing::error!(revision = %name, error = reason, "started with the last good configuration: the file is broken");
            } else if now.file.is_some_and(|file| file != name.hash) {
                say("            applied since the configuration file was written; SIGHUP goes back to the file");
                tracing::warn!(revision = %name, "started with what was applied since the configuration file was written");
            }
        });
    }

    /// How long running sessions may go on once the process is told to stop.
    pub(crate) fn drain_deadline(&self) -> Duration {
        self.with(|now| now.drain_deadline)
    }

    /// Reads the file again and puts it in force. One that is broken changes nothing.
    pub(crate) async fn reload(&self) {
        let _turn = self.turn.lock().await;
        let loaded = match self.load(|source| source.read()).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(error = reason, "the configuration was read again and is not used");
                self.with(|now| now.refused_file = Some(reason));
                self.settle();
                return;
            }
        };
        let file = loaded.bundle.hash();
        let cause = Cause { origin: Origin::Reload, by: of_gateway(), follows: None };
        match self.put_in_force(loaded, cause).await {
            Ok(()) => {
                self.with(|now| (now.file, now.refused_file) = (Some(file), None));
                self.settle();
            }
            Err(error) => tracing::error!(%error, "the configuration was read again and is not used"),
        }
    }

    /// The parts of the process.
    pub(crate) const fn reached(&self) -> &Reached {
        &self.reached
    }

    fn sessions(&self) -> Vec<Touchable> {
        self.reached.live.running().iter().map(|record| Touchable::of(record.facts())).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut InForce) -> T) -> T {
        // Every field is whole whatever a panicking thread did between two of them.
        act(&mut self.in_force.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads and checks on a thread that may wait for files.
    async fn load(
        &self,
        read: impl FnOnce(&dyn Source) -> Result<Loaded, ConfigError> + Send + 'static,
    ) -> Result<Loaded, ConfigurationError> {
        let source = Arc::clone(&self.source);
        let loaded = tokio::task::spawn_blocking(move || read(&*source)).await.map_err(failed)?;
        let loaded = loaded.map_err(|error| ConfigurationError::Problems(error.into_problems()));
        if loaded.is_err() {
            self.count("refused");
        }
        loaded
    }

    async fn put_in_force(&self, loaded: Loaded, cause: Cause) -> Result<(), ConfigurationError> {
        let outcome = self.try_to_put_in_force(loaded, cause).await;
        self.count(match &outcome {
            Ok(outcome) => outcome,
            Err(ConfigurationError::Stale(_)) => "stale",
            Err(_) => "failed",
        });
        if outcome.is_ok() {
            let now = since_unix_epoch().as_secs();
            self.reached.metrics.config_applied_at.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
        outcome.map(drop)
    }

    async fn try_to_put_in_force(
        &self,
        loaded: Loaded,
        cause: Cause,
    ) -> Result<&'static str, ConfigurationError> {
        let (running, bridges) = self.with(|now| (now.facts.clone(), now.bridges.clone()));
        let hash = loaded.bundle.hash();
        let is_same = running.hash == hash;
        if cause.follows.is_some_and(|follows| follows != running.hash) && !is_same {
            return Err(ConfigurationError::Stale(running.name()));
        }
        let providers = loaded.checked.providers.clone();
        let bridges =
            tokio::task::spawn_blocking(move || bridges.renewed(&providers)).await.map_err(failed)?;
        let bridges = bridges.map_err(failed)?;
        let swap = |facts: &RevisionFacts| self.swap(facts, &loaded, &bridges);
        if is_same {
            // Not another revision; but what it names, such as a file with a key, may hold something else.
            swap(&running).map_err(failed)?;
            self.with(|now| now.bridges = bridges);
            return Ok("unchanged");
        }
        let facts = self.record(&loaded.bundle, &cause, swap).await?;
        tracing::info!(revision = %facts.name(), before = %running.name(), "another configuration is in force");
        self.with(|now| {
            let keys = self.keys_of(&loaded.checked);
            let Loaded { bundle, meaning, checked } = loaded;
            let drain_deadline = checked.limits.drain_deadline;
            let (file, refused_file) = (now.file, now.refused_file.take());
            *now = InForce { facts, bundle, meaning, keys, bridges, drain_deadline, file, refused_file };
        });
        self.settle();
        Ok("applied")
    }

    /// Puts a revision in force with a number of the store. A file that is read again while the store is away takes effect
    /// without one: it may take back a key.
    async fn record(
        &self,
        bundle: &Bundle,
        cause: &Cause,
        swap: impl Fn(&RevisionFacts) -> Result<(), DirectoryError>,
    ) -> Result<RevisionFacts, ConfigurationError> {
        match self.reached.store.add_revision(bundle, cause.origin, &cause.by, &swap).await {
            Ok(Added::Recorded(facts)) => Ok(facts),
            Ok(Added::Unrecorded(facts, error)) => {
                tracing::error!(%error, "the configuration is in force and the store does not know of it");
                Ok(facts)
            }
            Ok(Added::Refused(error)) => Err(failed(error)),
            Err(error) if cause.origin == Origin::Reload => {
                tracing::error!(%error, "the configuration is in force and the store does not know of it");
                let facts = unnumbered(bundle, cause.origin, &cause.by);
                swap(&facts).map_err(failed)?;
                let detail = serde_json::json!({ "hash": facts.hash, "origin": facts.origin.as_str() });
                self.reached.host.audit.note(Note::now("gateway", "configuration.apply", "0", detail));
                Ok(facts)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn keys_of(&self, config: &Checked) -> Vec<KeyEntry> {
        config::first_and(self.reached.first_key, &config.key_hashes, &config.keys)
    }

    /// The one moment in which everything changes: keys, policies, routes and what sessions keep. Nothing in it waits.
    fn swap(&self, facts: &RevisionFacts, loaded: &Loaded, bridges: &Bridges) -> Result<(), DirectoryError> {
        let Reached { terms, host, shared, keys, places, resumptions, control, .. } = &self.reached;
        let config = &loaded.checked;
        let revision = Revision::new(facts.name(), config, bridges.clone(), shared.clone());
        control.allow_sessions_of(revision.max_session);
        let known = terms.now();
        let is_new = |target: &&Target| !known.routes.targets().any(|other| other == *target);
        shared.latency.configure(config.latency.clone());
        shared.latency.measure(config.measuring);
        host.routing.show(config.routes.targets().filter(is_new));
        let next = super::terms(config, host.with(revision));
        terms.replace(next, || keys.set_configured(self.keys_of(config)).map(drop))?;
        host.money.change(since_unix_epoch(), &config.money);
        places.set_limits(config.sessions);
        self.reached.show_limit(config.sessions);
        resumptions.set_limits(config.limits.resume_window, config.limits.resumable_sessions);
        Ok(())
    }

    /// Shows what is in force, and keeps it for the next start.
    fn settle(&self) {
        let metrics = &self.reached.metrics;
        let waiting = self.awaiting_restart().len();
        let last_good = self.with(|now| {
            let RevisionName { number, hash } = now.facts.name();
            metrics.config_revision_info.reset();
            let labels = [hash.short(), number.to_string()];
            metrics.config_revision_info.with_label_values(&labels).set(1);
            metrics.config_file_refused.set(i64::from(now.refused_file.is_some()));
            metrics.config_awaiting_restart.set(i64::try_from(waiting).unwrap_or(i64::MAX));
            LastGood { revision: now.facts.clone(), file: now.file, bundle: now.bundle.clone() }
        });
        if let Err(error) = last_good.write(&self.reached.data) {
            tracing::error!(%error, "the configuration could not be kept for the next start");
        }
    }

    /// Settings that stand in what is in force and take effect with a restart.
    fn awaiting_restart(&self) -> Vec<String> {
        let (bundle, meaning) = &self.started;
        let changes = self.with(|now| differences(Compared { bundle, meaning }, now.compared()));
        let waiting = changes.into_iter().filter(|change| takes_effect(change) == TakesEffect::Restart);
        waiting.map(|change| change.path).collect()
    }

    fn count(&self, outcome: &str) {
        self.reached.metrics.config_applies.with_label_values(&[outcome]).inc();
    }

    fn show(&self) -> RunningRevision {
        let mut sessions: BTreeMap<(u64, BundleHash), usize> = BTreeMap::new();
        for session in self.sessions() {
            *sessions.entry((session.revision.number, session.revision.hash)).or_default() += 1;
        }
        let of = |((number, hash), sessions)| SessionsOf { number, hash, sessions };
        let awaiting_restart = self.awaiting_restart();
        self.with(|now| RunningRevision {
            revision: now.facts.clone(),
            awaiting_restart,
            refused_file: now.refused_file.clone(),
            sessions: sessions.into_iter().map(of).collect(),
        })
    }

    fn compare(&self, loaded: &Loaded) -> Plan {
        let sessions = self.sessions();
        let terms = self.reached.terms.now();
        let keys = self.keys_of(&loaded.checked);
        self.with(|now| {
            let lost = lost_keys(&now.keys, &keys);
            let meanings = [&now.meaning, &loaded.meaning];
            let ground = Ground { sessions: &sessions, routes: &terms.routes, lost: &lost, meanings };
            let after = Compared { bundle: &loaded.bundle, meaning: &loaded.meaning };
            let changes = differences(now.compared(), after);
            Plan {
                running: now.facts.clone(),
                hash: loaded.bundle.hash(),
                changes: changes.into_iter().map(|change| ground.plan(change)).collect(),
                sessions_running: sessions.len(),
                sessions_ending: ground.ending(),
            }
        })
    }

    async fn take(&self, bundle: Bundle, cause: Cause) -> Result<RunningRevision, ConfigurationError> {
        let _turn = self.turn.lock().await;
        let loaded = self.load(|source| source.take(bundle)).await?;
        self.put_in_force(loaded, cause).await?;
        Ok(self.show())
    }
}

impl Configuration for Keeper {
    fn running(&self) -> RunningRevision {
        self.show()
    }

    fn plan(&self, bundle: Bundle) -> BoxFuture<'_, Result<Plan, ConfigurationError>> {
        Box::pin(async move {
            let source = Arc::clone(&self.source);
            let loaded = tokio::task::spawn_blocking(move || source.take(bundle)).await.map_err(failed)?;
            let loaded = loaded.map_err(|error| ConfigurationError::Problems(error.into_problems()))?;
            Ok(self.compare(&loaded))
        })
    }

    fn apply(
        &self,
        bundle: Bundle,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>> {
        Box::pin(self.take(bundle, Cause { origin: Origin::Apply, by, follows }))
    }

    fn roll_back(
        &self,
        to: Option<u64>,
        follows: Option<BundleHash>,
        by: Deed,
    ) -> BoxFuture<'_, Result<RunningRevision, ConfigurationError>> {
        Box::pin(async move {
            let running = self.with(|now| now.facts.name());
            let store = &self.reached.store;
            let to = match to {
                Some(number) => Some(number),
                None => store.revision_before(running).await?,
            };
            let found = store.revision(to.ok_or(ConfigurationError::NoSuchRevision)?).await?;
            let (_, bundle) = found.ok_or(ConfigurationError::NoSuchRevision)?;
            self.take(bundle, Cause { origin: Origin::Rollback, by, follows: follows.or(Some(running.hash)) })
                .await
        })
    }
}

fn failed(error: impl std::fmt::Display) -> ConfigurationError {
    ConfigurationError::Failed(error.to_string())
}
