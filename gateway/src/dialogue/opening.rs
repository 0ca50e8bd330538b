//! How a session begins: what a request asks for becomes its parts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{InterruptionRule, Leg, SessionError, SessionStats};
use voxgate_policy::guardrail::RuleSet;
use voxgate_protocol::id::IdSource;
use voxgate_realtime::ApiError;
use voxgate_signaling::host::SessionRequest;
use voxgate_signaling::resume::Resumed;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::view::RecordingView;

use crate::bridges::Connected;
use crate::end_of_turn::Ear;
use crate::host::since_unix_epoch;
use crate::latency::{LatencyDesk, Optional, Relief};
use crate::limits::Allowance;
use crate::money::{Account, Billing};
use crate::permissions::Permissions;
use crate::replay::{Kept, ReplayLog};
use crate::webhook::{Judge, Webhooks};

use super::Dialogue;
use super::answers::AnswerClock;
use super::chronicle::{Chronicle, Pen, sentences};
use super::client::ClientSide;
use super::consultant::Consultant;
use super::core::{CoreConfig, DialogueCore};
use super::gate::Gate;
use super::guard::Guard;
use super::provider::Provider;
use super::sight::SeenWords;
use super::telling::{masked, serving};

/// What a dialogue is started with.
pub(crate) struct DialogueConfig {
    pub(crate) leg: Leg,
    pub(crate) encoder: EncoderConfig,
    pub(crate) interruption: Option<InterruptionRule>,
    pub(crate) expires_at_unix: u64,
    pub(crate) max_session: Duration,
    pub(crate) seed: u64,
    pub(crate) metrics: Arc<Metrics>,
    /// What may be said.
    pub(crate) guardrails: Arc<RuleSet>,
    /// Who else is asked about it.
    pub(crate) judges: Arc<[Arc<Judge>]>,
    /// How they are asked.
    pub(crate) webhooks: Webhooks,
    /// Which tools may be called.
    pub(crate) permissions: Permissions,
    /// Who watches how long turns take.
    pub(crate) latency: Arc<LatencyDesk>,
    /// Where what happens is written down, if the request lets it.
    pub(crate) replay: Option<Arc<ReplayLog>>,
    /// Who is told what it costs; only tests do without.
    pub(crate) money: Option<Billing>,
}

impl Dialogue {
    pub(crate) fn new(
        request: SessionRequest,
        mut connected: Connected,
        config: DialogueConfig,
    ) -> Result<Self, SessionError> {
        let SessionRequest {
            session_id,
            settings,
            permit,
            presence,
            limits,
            ticket,
            resumed,
            allowed_events,
            caller,
            recording,
            ..
        } = request;
        let target = connected.way.current().cloned();
        let route = connected.way.route().to_string();
        if let Some(target) = &target {
            presence.served_by(Instant::now(), serving(target, &route));
        }
        let account = config.money.zip(target.as_ref()).map(|(money, target)| {
            let now = (Instant::now(), since_unix_epoch());
            Account::open(money, now, caller.tenancy.clone(), session_id.clone(), target, &settings)
        });
        if let Some(target) = &target {
            tracing::info!(served_by = target.name(), "a session begins");
        }
        let allowance = Allowance::open(limits, Instant::now(), Arc::clone(&config.metrics));
        let mut seeds = IdSource::new(config.seed);
        let core_seed = seeds.next_seed();
        let metrics = Arc::clone(&config.metrics);
        let ear = connected.ear.take();
        let ring = Arc::clone(&connected.ring);
        let mut provider =
            Provider::new(Instant::now(), connected, settings.clone(), seeds.next_seed(), metrics);
        let bell = Arc::clone(&ring);
        let relief = Relief::new(Arc::clone(&config.latency), route.clone());
        let judges = Arc::clone(&config.judges);
        let consultant = Consultant::new(judges, config.webhooks, session_id.clone(), relief.clone(), bell);
        let owner = (session_id.clone(), caller);
        let gate_metrics = Arc::clone(&config.metrics);
        let pen = Pen::of(&presence);
        let gate =
            Gate::new(&config.permissions, owner, ring, (gate_metrics, pen.clone()), seeds.next_seed());
        let leg_name = match config.leg {
            Leg::Rtp => "webrtc",
            Leg::Pcm => "websocket",
        };
        let core_config = CoreConfig {
            session_id: session_id.clone(),
            settings,
            traits: provider.traits(),
            leg: config.leg,
            encoder: config.encoder,
            interruption: config.interruption,
            listening: ear.as_ref().map(Ear::rule),
            expires_at_unix: config.expires_at_unix,
            max_session: config.max_session,
            allowed_events,
            seed: core_seed,
        };
        let core = DialogueCore::new(core_config.clone());
        let mut core = core.inspect_err(|error| {
            let error = ApiError::server_error(error.to_string());
            pen.event(Instant::now(), sentences::not_begun(&error));
        })?;
        let (parked, used_token) = resumed.and_then(Resumed::go_on).unzip();
        let judges_mask = config.judges.iter().any(|judge| judge.masks);
        let hides = config.guardrails.masks() || judges_mask;
        let measures = config.latency.measures();
        let words = match recording.filter(|_| measures) {
            // What a judge wants hidden it says when the words are out; then they are better not written down at all.
            Some(_) if judges_mask => SeenWords::None,
            Some(_) if hides => SeenWords::Complete,
            Some(_) => SeenWords::All,
            None => SeenWords::None,
        };
        let kept = config.replay.as_ref().zip(recording).map(|(_, recording)| Kept {
            audio: recording.audio && !leaves_out_voices(&relief, &pen),
            words: !hides,
        });
        let voices = kept.is_some_and(|kept| kept.audio);
        presence.record().keeps(RecordingView { words: words != SeenWords::None, voices });
        if measures {
            core.observe(presence.began(), words);
        } else {
            presence.record().leaves_out_measures();
        }
        let began = presence.began();
        let recorder = config.replay.zip(kept);
        let recorder = recorder.map(|(log, kept)| log.record(&core_config, parked.as_ref(), kept, began));
        let guard = Guard::new(config.guardrails);
        if let Some(parked) = parked {
            pen.event(Instant::now(), sentences::goes_on_from_another());
            core = core.resume(parked);
            provider.restore(masked(&guard, core.context()));
        }
        config.metrics.sessions.inc();
        config.metrics.sessions_started.with_label_values(&[leg_name]).inc();
        Ok(Self {
            core,
            guard,
            consultant,
            gate,
            waiting: VecDeque::new(),
            recorder,
            account,
            allowance,
            route,
            latency: config.latency,
            leg: config.leg,
            provider,
            ear,
            metrics: config.metrics,
            has_more_events: false,
            counted: SessionStats::default(),
            permit,
            presence,
            chronicle: Chronicle::new(pen, measures),
            answers: AnswerClock::default(),
            ticket,
            used_token,
            client_heard_at: Instant::now(),
            client: ClientSide::new(Instant::now()),
            has_failed: false,
        })
    }
}

/// Whether the voices of a log that begins are left out since turns are slow; it is written down.
fn leaves_out_voices(relief: &Relief, pen: &Pen) -> bool {
    let is_left_out = relief.leaves_out(Optional::Voices);
    if is_left_out {
        let note = sentences::left_out(Optional::Voices, None, relief.grounds().as_ref());
        pen.event(Instant::now(), note);
    }
    is_left_out
}
