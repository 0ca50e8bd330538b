//! Opens a bridge to the provider a target names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use voxgate_policy::routing::Target;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_providers::Secret;
use voxgate_providers::bridge::{Bridge, Wake};
use voxgate_providers::local::{self, LastTimeline, LocalCall, LocalConfig, LocalEngine, LocalError};
use voxgate_providers::openai_realtime::{self, OpenAiTarget, TargetError};
use voxgate_realtime::ApiError;

use crate::approvals::Ring;
use crate::config::{Provider, ProviderKind};
use crate::end_of_turn::{Ear, Listener};
use crate::routing::Way;

/// Every configured provider, ready to be called. Clones share them.
#[derive(Clone)]
pub(crate) struct Bridges {
    providers: Arc<BTreeMap<String, (ProviderKind, Arc<Ready>)>>,
    listener: Option<Listener>,
}

enum Ready {
    Local(LocalEngine),
    OpenAi { target: Box<OpenAiTarget>, max_connection: Duration },
}

/// Why a provider cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BridgesError {
    /// The local provider lacks something.
    #[error("the provider {name:?} cannot start: {source}")]
    Local {
        /// Its name in the configuration.
        name: String,
        /// What and where.
        source: LocalError,
    },
    /// The target of a cloud provider makes no sense.
    #[error("the provider {name:?} cannot be reached: {source}")]
    Target {
        /// Its name in the configuration.
        name: String,
        /// What and where.
        source: TargetError,
    },
}

impl Bridges {
    /// Sets every provider up. Local models load in the background.
    pub(crate) fn start(providers: &BTreeMap<String, Provider>) -> Result<Self, BridgesError> {
        Self { providers: Arc::default(), listener: None }.renewed(providers)
    }

    /// The providers of another configuration. Those that are the same go on as they are, their models in memory; sessions that
    /// run keep the ones they have.
    pub(crate) fn renewed(&self, providers: &BTreeMap<String, Provider>) -> Result<Self, BridgesError> {
        let ready = providers.iter().map(|(name, Provider { kind })| {
            let same = self.providers.get(name).filter(|(known, _)| known == kind);
            let ready = match same {
                Some((_, ready)) => Arc::clone(ready),
                None => Arc::new(start(name, kind)?),
            };
            Ok((name.clone(), (kind.clone(), ready)))
        });
        let providers = Arc::new(ready.collect::<Result<_, BridgesError>>()?);
        Ok(Self { providers, listener: self.listener.clone() })
    }

    fn ready(&self, provider: &str) -> Option<&Ready> {
        self.providers.get(provider).map(|(_, ready)| &**ready)
    }

    /// With a listener every session may ask about its turns.
    pub(crate) fn heard_by(self, listener: Option<Listener>) -> Self {
        Self { listener, ..self }
    }

    /// Opens a bridge that calls `ring` when it has something to say. Returns at once; connecting happens behind it.
    pub(crate) fn open(
        &self,
        way: Way,
        settings: &SessionSettings,
        seed: u64,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> Result<Connected, ApiError> {
        let target = way.current().ok_or_else(|| ApiError::model_not_found(&settings.model))?;
        let ring: Ring = Arc::new(ring);
        let last_turn = LastTurn::default();
        let line = self.open_line(target, settings, seed, &ring, last_turn.clone())?;
        let ear = self.listener.as_ref().map(|listener| listener.ear(Arc::clone(&ring)));
        let needs_successors = self.max_connection(target).is_some() || way.switching().is_some();
        let successors = needs_successors.then(|| Successors {
            bridges: self.clone(),
            ring: Arc::clone(&ring),
            runtime: Handle::current(),
        });
        Ok(Connected { line, way, last_turn, successors, ear, ring })
    }

    fn open_line(
        &self,
        target: &Target,
        settings: &SessionSettings,
        seed: u64,
        ring: &Ring,
        last_turn: LastTurn,
    ) -> Result<Line, ApiError> {
        let ring = Arc::clone(ring);
        let (ringer, wake) = Ringer::new(move || ring());
        let bridge = self.connect(target, settings, seed, wake, last_turn)?;
        Ok(Line { bridge, ringer })
    }

    /// How old a connection to this target may become; `None` if it lasts as long as any session.
    fn max_connection(&self, target: &Target) -> Option<Duration> {
        match self.ready(&target.provider)? {
            Ready::Local(_) => None,
            Ready::OpenAi { max_connection, .. } => Some(*max_connection),
        }
    }

    fn connect(
        &self,
        target: &Target,
        settings: &SessionSettings,
        seed: u64,
        wake: Wake,
        last_turn: LastTurn,
    ) -> Result<Bridge, ApiError> {
        let unknown = || ApiError::model_not_found(&settings.model);
        let mut settings = settings.clone();
        if let Some(model) = &target.provider_model {
            settings.model.clone_from(model);
        }
        match self.ready(&target.provider).ok_or_else(unknown)? {
            Ready::Local(engine) => {
                let last_timeline: LastTimeline = Arc::new(move || last_turn.get());
                let call = LocalCall { settings, seed, wake, last_timeline: Some(last_timeline) };
                Ok(local::connect(engine, call))
            }
            Ready::OpenAi { target, .. } => {
                let target = OpenAiTarget { model: settings.model.clone(), ..(**target).clone() };
                Ok(openai_realtime::connect(target, settings, wake))
            }
        }
    }
}

fn start(name: &str, kind: &ProviderKind) -> Result<Ready, BridgesError> {
    match kind {
        ProviderKind::Local { decoders } => {
            let config = LocalConfig { decoders: *decoders, ..LocalConfig::default() };
            let engine = LocalEngine::start(&config)
                .map_err(|source| BridgesError::Local { name: name.to_owned(), source })?;
            Ok(Ready::Local(engine))
        }
        ProviderKind::OpenAiRealtime {
            base_url,
            api_key,
            turn_owner,
            connect_timeout,
            stall_timeout,
            max_connection,
            transcription_model,
        } => {
            let target = OpenAiTarget {
                base_url: base_url.clone(),
                api_key: api_key.clone().unwrap_or_else(|| Secret::new("")),
                model: String::new(),
                turn_owner: *turn_owner,
                connect_timeout: *connect_timeout,
                stall_timeout: *stall_timeout,
                headers: Vec::new(),
                transcription_model: transcription_model.clone(),
            };
            target.url().map_err(|source| BridgesError::Target { name: name.to_owned(), source })?;
            Ok(Ready::OpenAi { target: Box::new(target), max_connection: *max_connection })
        }
    }
}

/// A bridge and its bell.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) bridge: Bridge,
    pub(crate) ringer: Ringer,
}

/// A bridge with what its session needs around it.
pub(crate) struct Connected {
    pub(crate) line: Line,
    /// Whom it leads to, and who else could serve.
    pub(crate) way: Way,
    pub(crate) last_turn: LastTurn,
    /// Where the next one comes from; `None` for a provider whose connections last.
    pub(crate) successors: Option<Successors>,
    /// Who judges the sound of the session's turns, if anybody does.
    pub(crate) ear: Option<Ear>,
    /// The bell of the session itself, for whoever else has news for it.
    pub(crate) ring: Ring,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Opens further bridges for a session.
pub(crate) struct Successors {
    bridges: Bridges,
    ring: Ring,
    /// The session may live on a thread without one.
    runtime: Handle,
}

/// A connection that lasts as long as any session.
const FOR_EVER: Duration = Duration::from_hours(10 * 365 * 24);

impl Successors {
    /// The age at which a bridge to the present target should be replaced.
    pub(crate) fn max_age(&self, way: &Way) -> Duration {
        way.current().and_then(|target| self.bridges.max_connection(target)).unwrap_or(FOR_EVER)
    }

    /// Opens a bridge with the same bell as the first. Returns at once.
    pub(crate) fn open(
        &self,
        target: &Target,
        settings: &SessionSettings,
        seed: u64,
    ) -> Result<Line, ApiError> {
        let _entered = self.runtime.enter();
        self.bridges.open_line(target, settings, seed, &self.ring, LastTurn::default())
    }
}

impl std::fmt::Debug for Successors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Successors").finish_non_exhaustive()
    }
}

/// A wake-up that calls `act` once until [`Ringer::answered`], however often it is rung.
///
/// A provider that sends faster than real time would otherwise fill the loop's queue with one command per event.
#[derive(Clone, Debug)]
pub(crate) struct Ringer {
    is_ringing: Arc<AtomicBool>,
}

impl Ringer {
    /// Wakes through `act`.
    pub(crate) fn new(act: impl Fn() + Send + Sync + 'static) -> (Self, Wake) {
        let is_ringing = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_ringing);
        let wake: Wake = Arc::new(move || {
            if !shared.swap(true, Ordering::AcqRel) {
                act();
            }
        });
        (Self { is_ringing }, wake)
    }

    /// From now on the next ring counts. Call before reading the queue, or an event may be missed.
    pub(crate) fn answered(&self) {
        // A plain store could be overtaken by the read of the queue that follows it, and an event put there meanwhile,
        // whose ring found the bell ringing, would wait for the next one.
        self.is_ringing.swap(false, Ordering::AcqRel);
    }
}

/// The waterfall of a session's last turn, for a provider that is asked about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastTurn {
    timeline: Arc<Mutex<Option<TurnTimeline>>>,
}

impl LastTurn {
    pub(crate) fn set(&self, timeline: TurnTimeline) {
        *self.timeline.lock().unwrap_or_else(PoisonError::into_inner) = Some(timeline);
    }

    fn get(&self) -> Option<TurnTimeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
