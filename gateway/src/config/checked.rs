//! The configuration after every check.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::InterruptionRule;
use voxgate_media::turn::{Backchannels, ListeningRule};
use voxgate_policy::admission::SessionLimits;
use voxgate_policy::agent::Agents;
use voxgate_policy::decision::Authorizer;
use voxgate_policy::directory::KeyEntry;
use voxgate_policy::guardrail::{OnDemand, RuleSet};
use voxgate_policy::key::KeyHash;
use voxgate_policy::limits::rules::LimitRules;
use voxgate_policy::routing::{BreakerRule, RouteTable};
use voxgate_protocol::bridge::TurnOwner;
use voxgate_providers::Secret;

use super::ConfigError;
use super::bundle::ReadFile;
use super::relays::{self, Control};
use super::store::{self, RedisConfig, StoreConfig};
use super::written::{self, TurnSide, Written};
use super::{
    agents, guardrails, identity, latency, limits, organisations, policies, routes, spending, telemetry,
    webhooks,
};
use crate::end_of_turn::TurnModel;
use crate::latency::RouteBudgets;
use crate::money::MoneyConfig;
use crate::notices::Recipient;
use crate::otlp::Otlp;
use crate::published_keys::TrustedIssuer;
use crate::replay::Retention;
use crate::webhook::Judge;

/// Shortest and longest session anybody may configure.
const SESSION_DURATIONS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

/// How long a caller may take to connect, or be silent on the network: below, nobody gets through; above, a caller who
/// is gone keeps a place.
const CALL_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

/// Longest time a conversation may be kept for a client that was lost: longer, and nobody remembers what it was about.
const LONGEST_RESUME_WINDOW: Duration = Duration::from_secs(3600);

/// How old a connection to a provider may become: below, more time goes into connecting than into talking; above, no
/// vendor keeps one.
const CONNECTION_AGES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// How long logs may be kept.
const LOG_AGES: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);

/// Speech that interrupts: below, every click does; above, a caller has to shout the agent down.
const MINIMUM_SPEECH: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3);

/// Silence after a noise: below, no recogniser is quick enough; above, the call seems dead.
const RESUME_AFTER: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(10);

/// How long a pause may wait for a verdict: below, none is ready; above, it would be the longest pause of an eager client.
const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(2);

/// Backchannels anybody may list; they are compared with everything said over an answer.
const MOST_BACKCHANNELS: usize = 100;

/// What OpenAI's SDKs ask for.
const DEFAULT_TRANSCRIPTION_MODEL: &str = "gpt-4o-mini-transcribe";

/// A configuration that means something.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) data_dir: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) relay_listen: SocketAddr,
    pub(crate) relay_advertise: Option<SocketAddr>,
    pub(crate) relay_stream: Option<SocketAddr>,
    pub(crate) relay_stream_advertise: Option<SocketAddr>,
    pub(crate) relays: Vec<written::RelayPlace>,
    pub(crate) control: Option<Control>,
    pub(crate) transceiver: written::Transceiver,
    pub(crate) store: StoreConfig,
    pub(crate) redis: RedisConfig,
    /// Limits of organisations, teams, keys, agents and models.
    pub(crate) limit_rules: Arc<LimitRules>,
    pub(crate) sessions: SessionLimits,
    pub(crate) limits: written::Limits,
    pub(crate) encoder: EncoderConfig,
    pub(crate) interruption: Option<InterruptionRule>,
    pub(crate) end_of_turn: Option<EndOfTurn>,
    pub(crate) providers: BTreeMap<String, Provider>,
    pub(crate) routes: RouteTable,
    pub(crate) breaker: BreakerRule,
    /// What turns may take.
    pub(crate) latency: RouteBudgets,
    /// Whether sessions are measured.
    pub(crate) measuring: bool,
    /// What is told to an OpenTelemetry collector.
    pub(crate) otlp: Option<Otlp>,
    pub(crate) default_model: String,
    pub(crate) guardrails: Arc<RuleSet>,
    pub(crate) judges: Arc<[Arc<Judge>]>,
    pub(crate) on_demand: OnDemand,
    pub(crate) agents: Arc<Agents>,
    pub(crate) replay: Option<Retention>,
    /// Who is told of sessions.
    pub(crate) recipients: Vec<Arc<Recipient>>,
    pub(crate) money: MoneyConfig,
    pub(crate) key_hashes: Vec<KeyHash>,
    /// The keys of `organisations`.
    pub(crate) keys: Vec<KeyEntry>,
    /// Whose tokens are taken like keys.
    pub(crate) issuers: Vec<TrustedIssuer>,
    pub(crate) authorizer: Arc<Authorizer>,
}

/// A model of the end of turns, loaded, and what is made of it.
#[derive(Debug)]
pub(crate) struct EndOfTurn {
    pub(crate) model: TurnModel,
    pub(crate) rule: ListeningRule,
}

/// A provider and what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) kind: ProviderKind,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProviderKind {
    /// On this machine.
    Local {
        /// Recognisers in memory.
        decoders: usize,
    },
    /// The OpenAI Realtime WebSocket protocol.
    OpenAiRealtime {
        /// Beginning of the API's URLs.
        base_url: String,
        /// The vendor's key; a server on this machine may need none.
        api_key: Option<Secret>,
        /// Who ends the caller's turn.
        turn_owner: TurnOwner,
        /// Longest wait for the connection.
        connect_timeout: Duration,
        /// Longest silence inside an answer.
        stall_timeout: Duration,
        /// Age at which a connection is replaced at the next pause.
        max_connection: Duration,
        /// The recognition model where the client names none; `None`: the vendor's own, and no words unasked for.
        transcription_model: Option<String>,
    },
}

/// [`check_with`] the files on the disk.
///
/// # Errors
/// [`ConfigError::Problems`].
#[cfg(test)]
pub(crate) fn check(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Checked, ConfigError> {
    check_with(written, environment, &super::from_disk)
}

/// Checks everything and reports every problem together. Secrets are looked up by name in `environment`, files that are part
/// of the configuration with `read`.
///
/// # Errors
/// [`ConfigError::Problems`] with all of them.
pub(crate) fn check_with(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
    read: ReadFile<'_>,
) -> Result<Checked, ConfigError> {
    let mut problems = Vec::new();
    let providers = written
        .providers
        .iter()
        .filter_map(|(name, provider)| {
            let kind = check_provider(name, provider, environment, &mut problems)?;
            Some((name.clone(), Provider { kind }))
        })
        .collect();
    let (routes, breaker) = routes::check(written, &mut problems);
    let latency = latency::check(written, &routes, &mut problems);
    let otlp = telemetry::check(written, environment, &mut problems);
    let key_hashes = check_keys(written, &mut problems);
    let keys = organisations::check(&written.organisations, &mut problems);
    let issuers = identity::check(&written.identity, &mut problems);
    check_limits(written, &mut problems);
    check_interruption(written, &mut problems);
    let end_of_turn = check_end_of_turn(written, &mut problems);
    check_relay(written, &mut problems);
    let replay = check_replay(written, &mut problems);
    let guardrails = guardrails::check(&written.guardrails, &mut problems);
    let judges = guardrails::judges(&written.guardrails, environment, &mut problems);
    let recipients = webhooks::check(&written.webhooks, environment, &mut problems);
    let agents = agents::check(&written.agents, &mut problems);
    let control = relays::check(written, environment, &mut problems);
    let authorizer = policies::check(&written.policies, read, &mut problems);
    let on_demand = guardrails::on_demand(&written.guardrails, authorizer.as_ref(), &mut problems);
    let store = store::check(written, environment, &mut problems);
    let redis = store::check_redis(written, environment, &mut problems);
    let limit_rules = limits::check(&written.limits.rules, &mut problems);
    let money = spending::check(written, read, &mut problems);
    let parts = authorizer.zip(store).zip(money).filter(|_| problems.is_empty());
    let Some(((authorizer, store), money)) = parts else {
        return Err(ConfigError::Problems(problems));
    };
    Ok(Checked {
        data_dir: written.data_dir.clone(),
        http: written.http.listen,
        https: written.https.listen,
        relay_listen: written.relay.listen,
        relay_advertise: written.relay.advertise,
        relay_stream: written.relay.stream,
        relay_stream_advertise: written.relay.stream_advertise,
        relays: written.relays.clone(),
        control,
        transceiver: written.transceiver.clone(),
        store,
        redis,
        limit_rules: Arc::new(limit_rules),
        sessions: SessionLimits { total: written.limits.sessions, per_key: written.limits.sessions_per_key },
        limits: written.limits.clone(),
        encoder: encoder(&written.audio),
        interruption: written.conversation.interruption.as_ref().map(interruption),
        end_of_turn,
        providers,
        routes,
        breaker,
        latency,
        measuring: written.telemetry.measures(),
        otlp,
        default_model: written.default_model.clone(),
        guardrails,
        judges,
        on_demand,
        agents,
        replay,
        recipients,
        money,
        key_hashes,
        keys,
        issuers,
        authorizer: Arc::new(authorizer),
    })
}

fn check_provider(
    name: &str,
    provider: &written::Provider,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<ProviderKind> {
    match provider {
        written::Provider::Local { decoders } => {
            if !(1..=64).contains(decoders) {
                problems.push(format!("providers.{name}.decoders is {decoders}; it must be 1 to 64"));
            }
            Some(ProviderKind::Local { decoders: *decoders })
        }
        written::Provider::OpenaiRealtime {
            base_url,
            api_key_env,
            api_key_file,
            turn_detection,
            connect_timeout,
            stall_timeout,
            max_connection,
            transcription_model,
            region,
        } => {
            if region.as_ref().is_some_and(|region| region.trim().is_empty()) {
                problems.push(format!("providers.{name}.region is empty"));
            }
            if !CONNECTION_AGES.contains(max_connection) {
                problems.push(format!("providers.{name}.max_connection must be 1s to 24h"));
            }
            let schemes = ["http://", "https://", "ws://", "wss://"];
            if !schemes.iter().any(|scheme| base_url.starts_with(scheme)) {
                problems.push(format!(
                    "providers.{name}.base_url is {base_url:?}; it must begin with http://, https://, ws:// or wss://"
                ));
            }
            let api_key = match (api_key_env, api_key_file) {
                (Some(_), Some(_)) => {
                    problems
                        .push(format!("providers.{name} has both api_key_env and api_key_file; keep one"));
                    return None;
                }
                (Some(variable), None) => environment(variable).or_else(|| {
                    problems.push(format!(
                        "providers.{name}.api_key_env names {variable}, which is not set in the environment"
                    ));
                    None
                }),
                (None, Some(file)) => match std::fs::read_to_string(file) {
                    Ok(key) => Some(key.trim().to_owned()),
                    Err(error) => {
                        problems.push(format!(
                            "providers.{name}.api_key_file {} cannot be read: {error}",
                            file.display()
                        ));
                        None
                    }
                },
                (None, None) => None,
            };
            Some(ProviderKind::OpenAiRealtime {
                base_url: base_url.clone(),
                api_key: api_key.map(Secret::new),
                turn_owner: match turn_detection {
                    TurnSide::Provider => TurnOwner::Provider,
                    TurnSide::Gateway => TurnOwner::Gateway,
                },
                connect_timeout: *connect_timeout,
                stall_timeout: *stall_timeout,
                max_connection: *max_connection,
                transcription_model: transcription_model_of(transcription_model.as_deref(), base_url),
            })
        }
    }
}

/// Only OpenAI is known to have the default model.
fn transcription_model_of(written: Option<&str>, base_url: &str) -> Option<String> {
    let default = base_url.contains("://api.openai.com/").then_some(DEFAULT_TRANSCRIPTION_MODEL);
    written.or(default).filter(|model| !model.is_empty()).map(str::to_owned)
}

fn check_keys(written: &Written, problems: &mut Vec<String>) -> Vec<KeyHash> {
    let keys = written.key_hashes.iter().enumerate().filter_map(|(index, text)| {
        KeyHash::from_hex(text).map_err(|error| problems.push(format!("key_hashes[{index}]: {error}"))).ok()
    });
    keys.collect()
}

fn check_limits(written: &Written, problems: &mut Vec<String>) {
    let limits = &written.limits;
    if !SESSION_DURATIONS.contains(&limits.session_duration) {
        problems.push("limits.session_duration must be 10s to 24h".to_owned());
    }
    if limits.sessions == 0 || limits.sessions_per_key == 0 {
        problems.push("limits.sessions and limits.sessions_per_key must be at least 1".to_owned());
    }
    for (name, timeout) in
        [("setup_timeout", limits.setup_timeout), ("silence_timeout", limits.silence_timeout)]
    {
        if !CALL_TIMEOUTS.contains(&timeout) {
            problems.push(format!("limits.{name} must be 1s to 5m"));
        }
    }
    if limits.resume_window > LONGEST_RESUME_WINDOW {
        problems.push("limits.resume_window must be at most 1h".to_owned());
    }
    let audio = &written.audio;
    if !(6_000..=256_000).contains(&audio.bitrate) {
        problems.push(format!("audio.bitrate is {}; it must be 6000 to 256000", audio.bitrate));
    }
    if audio.complexity > 10 {
        problems.push(format!("audio.complexity is {}; it must be 0 to 10", audio.complexity));
    }
    if audio.expected_loss_percent > 100 {
        problems.push("audio.expected_loss_percent must be 0 to 100".to_owned());
    }
}

fn check_interruption(written: &Written, problems: &mut Vec<String>) {
    let Some(interruption) = &written.conversation.interruption else { return };
    if !MINIMUM_SPEECH.contains(&interruption.minimum_speech) {
        problems.push("conversation.interruption.minimum_speech must be 100ms to 3s".to_owned());
    }
    if !RESUME_AFTER.contains(&interruption.resume_after) {
        problems.push("conversation.interruption.resume_after must be 500ms to 10s".to_owned());
    }
    let backchannels = &interruption.backchannels;
    if backchannels.len() > MOST_BACKCHANNELS {
        problems.push(format!(
            "conversation.interruption.backchannels has more than {MOST_BACKCHANNELS} entries"
        ));
    }
    if !backchannels.iter().all(|words| words.chars().any(char::is_alphanumeric)) {
        problems.push("conversation.interruption.backchannels has an entry without a letter".to_owned());
    }
}

fn check_end_of_turn(written: &Written, problems: &mut Vec<String>) -> Option<EndOfTurn> {
    let written::EndOfTurn { model, threads, patience } = written.conversation.end_of_turn.as_ref()?;
    if !(1..=64).contains(threads) {
        problems.push(format!("conversation.end_of_turn.threads is {threads}; it must be 1 to 64"));
        return None;
    }
    if !PATIENCE.contains(patience) {
        problems.push("conversation.end_of_turn.patience must be 200ms to 2s".to_owned());
    }
    match TurnModel::load(model, *threads) {
        Ok(model) => {
            let rule = ListeningRule { window: model.window(), patience: *patience };
            Some(EndOfTurn { model, rule })
        }
        Err(error) => {
            problems.push(format!("conversation.end_of_turn.model: {error}"));
            None
        }
    }
}

fn interruption(written: &written::Interruption) -> InterruptionRule {
    InterruptionRule {
        minimum_speech: written.minimum_speech,
        resume_after: written.resume_after,
        backchannels: Backchannels::new(written.backchannels.iter().map(String::as_str)),
    }
}

fn check_relay(written: &Written, problems: &mut Vec<String>) {
    let relay = &written.relay;
    if relay.advertise.is_none() && relay.listen.ip().is_unspecified() {
        problems.push(
            "relay.listen is an unspecified address; set relay.advertise to the address clients reach it at"
                .to_owned(),
        );
    }
    if relay.advertise.is_some_and(|address| address.ip().is_unspecified() || address.port() == 0) {
        problems.push("relay.advertise must be an address and port clients can send to".to_owned());
    }
    if relay.stream_advertise.is_none() && relay.stream.is_some_and(|listen| listen.ip().is_unspecified()) {
        problems.push(
            "relay.stream is an unspecified address; set relay.stream_advertise to the address clients reach it at"
                .to_owned(),
        );
    }
    if relay.stream_advertise.is_some_and(|address| address.ip().is_unspecified() || address.port() == 0) {
        problems.push("relay.stream_advertise must be an address and port clients can connect to".to_owned());
    }
}

fn check_replay(written: &Written, problems: &mut Vec<String>) -> Option<Retention> {
    let written::Replay { dir, audio, keep } = written.replay.clone()?;
    if dir.as_os_str().is_empty() {
        problems.push("replay.dir must name a folder".to_owned());
    }
    if !LOG_AGES.contains(&keep) {
        problems.push("replay.keep must be 1m to 365d".to_owned());
    }
    Some(Retention { dir, audio, keep })
}

fn encoder(audio: &written::Audio) -> EncoderConfig {
    EncoderConfig {
        bitrate: audio.bitrate,
        complexity: audio.complexity,
        fec: audio.fec,
        expected_loss_percent: audio.expected_loss_percent,
    }
}
