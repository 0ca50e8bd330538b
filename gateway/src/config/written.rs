//! The configuration as it is written. Unknown keys are errors.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxgate_policy::money::day::Window;
use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId};

use super::identity::Identity;
use super::latency::Latency;
use super::organisations::Organisation;
use super::routes::{Route, Routing};
use super::telemetry::Telemetry;
use super::webhooks::SessionWebhook;

use super::agents::Agent;
use super::guardrails::Guardrail;

/// The whole file. Every part may be left out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    /// Where keys, certificates and stores live. Default `data`, below the folder voxgate was started in, so
    /// that a first run leaves nothing elsewhere.
    pub(crate) data_dir: PathBuf,
    /// Plain HTTP.
    pub(crate) http: Listener,
    /// HTTPS with a certificate of voxgate's own CA (`tls/ca.pem` in the data folder).
    pub(crate) https: Listener,
    /// The relay that runs inside this process, unless `relays` names others.
    pub(crate) relay: Relay,
    /// Relays in processes of their own (`voxgate relay`); with any of them none runs inside. Default: none.
    pub(crate) relays: Vec<RelayPlace>,
    /// Where relays fetch their allow-lists. Needed with `relays`. Default: nowhere.
    pub(crate) control: Option<Control>,
    /// The end of this process that `relays` send to.
    pub(crate) transceiver: Transceiver,
    /// Where keys, tenants and the audit log are kept. Default: a SQLite file in the data folder.
    pub(crate) store: Store,
    /// Where gateways share the counters of `limits.rules`. Default: nowhere.
    pub(crate) redis: Redis,
    /// What a session may take.
    pub(crate) limits: Limits,
    /// How answers are coded.
    pub(crate) audio: Audio,
    /// How conversations behave where the Realtime API has no setting for it.
    pub(crate) conversation: Conversation,
    /// Where speech comes from, by name. Default: one provider `local`.
    pub(crate) providers: BTreeMap<String, Provider>,
    /// Which model name leads to which provider; the narrowest pattern wins. Default: every name to `local`.
    pub(crate) routes: Vec<Route>,
    /// When targets that fail are left alone. For routes with several `targets`.
    pub(crate) routing: Routing,
    /// What turns may take before they count as slow. Nothing is slowed down or cut off by it.
    pub(crate) latency: Latency,
    /// What is told to an OpenTelemetry collector. Default: nothing.
    pub(crate) telemetry: Telemetry,
    /// The model of a client that names none. Default `gpt-realtime`, what SDKs ask for.
    pub(crate) default_model: String,
    /// Rules over the words of calls, in both directions and in the arguments of tool calls. Default: none.
    pub(crate) guardrails: Vec<Guardrail>,
    /// What agents may do, by the name a key gives its agent; `*` holds for everybody else. Default: none, every tool may be
    /// called with anything, as far as `policies` let it.
    pub(crate) agents: BTreeMap<String, Agent>,
    /// Logs of sessions for `voxgate replay`. Default: none are written.
    pub(crate) replay: Option<Replay>,
    /// Servers that are told when a session is over or a turn took too long, by name. Figures only, nothing of what was said.
    /// Default: none.
    pub(crate) webhooks: BTreeMap<String, SessionWebhook>,
    /// Prices and budgets.
    pub(crate) money: Money,
    /// SHA-256 hashes (64 hexadecimal digits) of further API keys. The key in the data folder always works.
    pub(crate) key_hashes: Vec<String>,
    /// Organisations, their teams and keys, by id. Default: none; the key in the data folder is the owner key of team
    /// `default` of organisation `default`. Keys that are gone when another configuration is put in force end their sessions.
    pub(crate) organisations: BTreeMap<String, Organisation>,
    /// Identity providers whose tokens are taken like keys. Default: none.
    pub(crate) identity: Identity,
    /// Files with policies in Cedar's language. Default: none, and a built-in set holds: whoever has a key may call, roles
    /// administer their own organisation. With files only what they permit is allowed.
    pub(crate) policies: Vec<PathBuf>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            http: Listener { listen: loopback(8080) },
            https: Listener { listen: loopback(8443) },
            relay: Relay::default(),
            relays: Vec::new(),
            control: None,
            transceiver: Transceiver::default(),
            store: Store::default(),
            redis: Redis::default(),
            limits: Limits::default(),
            audio: Audio::default(),
            conversation: Conversation::default(),
            providers: BTreeMap::from([(
                "local".to_owned(),
                Provider::Local { decoders: default_decoders() },
            )]),
            routes: vec![Route::to("*", "local")],
            routing: Routing::default(),
            latency: Latency::default(),
            telemetry: Telemetry::default(),
            default_model: "gpt-realtime".to_owned(),
            guardrails: Vec::new(),
            agents: BTreeMap::new(),
            replay: None,
            webhooks: BTreeMap::new(),
            money: Money::default(),
            key_hashes: Vec::new(),
            organisations: BTreeMap::new(),
            identity: Identity::default(),
            policies: Vec::new(),
        }
    }
}

/// A TCP listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// Address and port. The default is on loopback: a gateway opens itself to a network only when told to.
    pub(crate) listen: SocketAddr,
}

/// The relay inside the process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Relay {
    /// Address and port of the one public UDP socket. Default 127.0.0.1:3478, the port of STUN (RFC 8489
    /// section 18.6), which firewalls know.
    pub(crate) listen: SocketAddr,
    /// Address clients reach the relay at, where it differs from `listen` (NAT, 0.0.0.0). Default: `listen`.
    pub(crate) advertise: Option<SocketAddr>,
    /// Address and port of a TCP listener for callers whose network has no UDP, plain or inside TLS with a certificate
    /// of voxgate's own CA. 443 is the port that most networks let pass. Default: none.
    pub(crate) stream: Option<SocketAddr>,
    /// Address clients reach that listener at, where it differs from `stream`. Default: `stream`.
    pub(crate) stream_advertise: Option<SocketAddr>,
}

impl Default for Relay {
    fn default() -> Self {
        Self { listen: loopback(3478), advertise: None, stream: None, stream_advertise: None }
    }
}

/// A relay in a process of its own, as clients and this gateway know it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayPlace {
    /// The relay's id, as in its own configuration: 1 or more, unique.
    pub(crate) id: u32,
    /// Address and port clients reach its UDP port at. The first two relays that live stand in every SDP answer.
    pub(crate) advertise: SocketAddr,
    /// The IP address its tunnel frames come from, one port for each of its threads.
    pub(crate) tunnel_ip: IpAddr,
    /// Address and port clients without UDP reach its TCP or TLS listener at. Default: it has none.
    pub(crate) stream: Option<SocketAddr>,
}

/// The control listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// Address and port. Keys go over it: keep it on a network of your own, or behind a proxy that speaks TLS.
    pub(crate) listen: SocketAddr,
    /// Name of the environment variable with the token relays present. Default `VOXGATE_RELAY_TOKEN`.
    pub(crate) token_env: Option<String>,
    /// File with the token, instead.
    pub(crate) token_file: Option<PathBuf>,
}

/// The end of this process that relays in processes of their own send to; the relay inside needs none of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Transceiver {
    /// Address and port of the one UDP socket towards relays. Default 127.0.0.1:0: relays on this machine, any port.
    pub(crate) tunnel: SocketAddr,
    /// The address relays are told, where it differs from `tunnel` (0.0.0.0). Default: `tunnel`.
    pub(crate) advertise: Option<SocketAddr>,
}

impl Default for Transceiver {
    fn default() -> Self {
        Self { tunnel: loopback(0), advertise: None }
    }
}

/// Where keys, tenants and the audit log are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// Name of the environment variable with the `postgres://` URL of a PostgreSQL database, which several gateways may
    /// share. The URL holds a password, so it never stands here itself. Default: none, SQLite.
    pub(crate) url_env: Option<String>,
    /// File with that URL, instead.
    pub(crate) url_file: Option<PathBuf>,
    /// What becomes of sessions that want to begin while the store is away: `refuse`, or `allow`: they are judged by the keys
    /// that were last known. Default `refuse`: a revoked key could not be told. Running sessions go on either way.
    pub(crate) when_away: WhenAway,
    /// How long the store may not answer before it counts as away, 1 s to 1 h. Default 30 s: a restart of PostgreSQL or a
    /// failover to its standby.
    #[serde(with = "humantime_serde")]
    pub(crate) tolerance: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url_env: None,
            url_file: None,
            when_away: WhenAway::default(),
            tolerance: Duration::from_secs(30),
        }
    }
}

/// What becomes of sessions that want to begin while something they should be judged by is away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenAway {
    /// They are refused.
    #[default]
    Refuse,
    /// They begin.
    Allow,
}

/// What a session may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Sessions at once. Default 100: what two cores transcode with room to spare.
    pub(crate) sessions: u32,
    /// Sessions of one key at once. Default 100: no smaller than the whole, since a first installation has one key.
    pub(crate) sessions_per_key: u32,
    /// Longest session. Default 60 min, the limit of the OpenAI Realtime API.
    #[serde(with = "humantime_serde")]
    pub(crate) session_duration: Duration,
    /// Time a caller has to complete ICE and DTLS after the SDP answer. Default 15 s.
    #[serde(with = "humantime_serde")]
    pub(crate) setup_timeout: Duration,
    /// Silence on the network after which a caller counts as gone. Default 15 s: longer than a change of
    /// network, shorter than anyone keeps talking to nobody.
    #[serde(with = "humantime_serde")]
    pub(crate) silence_timeout: Duration,
    /// How long a client that was lost may come back and go on with its conversation; 0s: not at all. Default 2 min: a
    /// tunnel, a lift, a restarted application.
    #[serde(with = "humantime_serde")]
    pub(crate) resume_window: Duration,
    /// Conversations kept for clients that were lost; beyond it the oldest are forgotten. Default 100, as many as
    /// sessions.
    pub(crate) resumable_sessions: usize,
    /// After SIGTERM, how long running sessions may go on. Default 30 s, the grace period of Kubernetes.
    #[serde(with = "humantime_serde")]
    pub(crate) drain_deadline: Duration,
    /// Limits of organisations, teams, keys, agents and models; every one that a session is under holds. Default: none.
    pub(crate) rules: Vec<LimitRule>,
}

/// Limits of some sessions. Those the rule is for share its counters, on all gateways that have the same `redis`; without
/// it each gateway counts by itself. Names left out stand for all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitRule {
    /// The organisation.
    pub(crate) organisation: Option<OrganisationId>,
    /// A team of it.
    pub(crate) team: Option<TeamId>,
    /// A key of the team.
    pub(crate) key: Option<KeyId>,
    /// An agent of the key.
    pub(crate) agent: Option<AgentId>,
    /// A model as clients name it, or a beginning followed by `*`.
    pub(crate) model: Option<String>,
    /// `organisation`, `team`, `key` or `agent`: each has counters of its own. Default: one count for all of them together.
    pub(crate) each: Option<Level>,
    /// Sessions at once. Default: as many as the gateway runs.
    pub(crate) sessions: Option<u64>,
    /// Sessions that begin in a second, up to 40 million, as are the following. Default: any number.
    pub(crate) session_starts_per_second: Option<u64>,
    /// Seconds of callers' audio in a minute; somebody who calls takes 60, spoken or silent. A call whose audio is over
    /// the limit ends. Default: any number.
    pub(crate) audio_seconds_per_minute: Option<u64>,
    /// Answers that begin in a minute. What is over the limit is refused with an `error` event, and the call goes on.
    /// Default: any number.
    pub(crate) responses_per_minute: Option<u64>,
    /// Calls of tools in a minute. An answer that goes over it is cancelled. Default: any number.
    pub(crate) tool_calls_per_minute: Option<u64>,
    /// Tokens read and written in a minute, as providers report them; known only when an answer is over, they hold up the
    /// next one. Default: any number.
    pub(crate) tokens_per_minute: Option<u64>,
}

/// Who has counters of its own.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Every organisation.
    Organisation,
    /// Every team.
    Team,
    /// Every key.
    Key,
    /// Every agent.
    Agent,
}

/// Where gateways share the counters of limits.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Redis {
    /// Name of the environment variable with the `redis://` or `redis+unix://` URL. It may hold a password, so it never
    /// stands here itself. Default: none, each gateway counts by itself.
    pub(crate) url_env: Option<String>,
    /// File with that URL, instead.
    pub(crate) url_file: Option<PathBuf>,
    /// What becomes of sessions that want to begin while Redis is away: `refuse`, or `allow`: each gateway counts by itself.
    /// Default `refuse`. Running sessions go on either way, counted by their gateway.
    pub(crate) when_away: WhenAway,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 100,
            sessions_per_key: 100,
            session_duration: Duration::from_secs(60 * 60),
            setup_timeout: Duration::from_secs(15),
            silence_timeout: Duration::from_secs(15),
            resume_window: Duration::from_secs(2 * 60),
            resumable_sessions: 100,
            drain_deadline: Duration::from_secs(30),
            rules: Vec::new(),
        }
    }
}

/// How answers are coded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audio {
    /// Opus bits per second. Default 32000: transparent for one voice (RFC 7587 section 3.1.1).
    pub(crate) bitrate: u32,
    /// Opus complexity, 0 to 10. Default 5: half the CPU of 10 for a difference few hear in speech.
    pub(crate) complexity: u8,
    /// In-band forward error correction, for callers that lose packets. Default true; costs a third more CPU.
    pub(crate) fec: bool,
    /// Loss the error correction is laid out for, in percent. Default 10.
    pub(crate) expected_loss_percent: u8,
}

impl Default for Audio {
    fn default() -> Self {
        Self { bitrate: 32_000, complexity: 5, fec: true, expected_loss_percent: 10 }
    }
}

/// How conversations behave where the Realtime API has no setting for it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Conversation {
    /// Whether the gateway first judges what it hears over an answer. For callers over WebRTC whose turns the gateway
    /// finds; elsewhere the provider or the client stops the answer. Default: no, every sound of a voice stops the
    /// answer for good, as the Realtime API documents it.
    pub(crate) interruption: Option<Interruption>,
    /// A model that hears whether a turn is over, for `semantic_vad` where the gateway finds the turns. Default: none, the
    /// words decide if they are known in time, and else the pause.
    pub(crate) end_of_turn: Option<EndOfTurn>,
}

/// An ONNX model of the end of turns. docs/end-of-turn.md says what it must take and give.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndOfTurn {
    /// The file. It is the operator's own: as trusted as this configuration.
    pub(crate) model: PathBuf,
    /// Threads a run may use, 1 to 64. Turns are judged one after the other. Default 1: a model must not take the
    /// processors from the audio.
    #[serde(default = "default_model_threads")]
    pub(crate) threads: usize,
    /// The pause up to which a turn waits for the model's verdict, 200 ms to 2 s, the shortest of the Realtime API's maxima.
    /// Default 600 ms: the usual pause without a verdict, so that waiting costs nothing at the default eagerness.
    #[serde(with = "humantime_serde", default = "default_patience")]
    pub(crate) patience: Duration,
}

const fn default_model_threads() -> usize {
    1
}

const fn default_patience() -> Duration {
    Duration::from_millis(600)
}

/// What interrupts an answer. Until it is known whether a sound does, the answer is silent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Interruption {
    /// Speech of this length interrupts even if no words are known. Default 500 ms: longer than a cough, shorter than
    /// most commands. A provider that is slower with its words needs more for `backchannels` to work.
    #[serde(with = "humantime_serde")]
    pub(crate) minimum_speech: Duration,
    /// After a sound without words the answer goes on once this much silence has passed. Default 2 s: time for the
    /// words of slow recognisers. One that says that there were none shortens it.
    #[serde(with = "humantime_serde")]
    pub(crate) resume_after: Duration,
    /// Words that do not interrupt and make no turn, in any spelling. Default: none, every word interrupts. They need a
    /// provider that tells words while they are spoken, as `local` does.
    pub(crate) backchannels: Vec<String>,
}

impl Default for Interruption {
    fn default() -> Self {
        Self {
            minimum_speech: Duration::from_millis(500),
            resume_after: Duration::from_secs(2),
            backchannels: Vec::new(),
        }
    }
}

/// Prices and budgets.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Money {
    /// File with prices that count before those that come with voxgate, in the form of `policy/prices.yaml`. Default: none.
    pub(crate) prices: Option<PathBuf>,
    /// What becomes of a session whose model has no price: `refuse`, or `flag`: its usage stands in the ledger without
    /// an amount, and no budget holds it. Default `flag`, since a first run has no budget.
    pub(crate) unknown_price: UnknownPrice,
    /// Whose prices apply to a provider, by the provider's name. Default: those of `local` or `openai`, by its kind.
    pub(crate) vendors: BTreeMap<String, String>,
    /// US dollars a session draws ahead from its budgets. Each session can overspend a budget by about this much. Default
    /// 0.05: half a minute of a large model, and more than it costs to read a long conversation from the cache.
    pub(crate) lease: String,
    /// Limits of spending. What is applied binds running sessions too. Others are set over the administration; of two for the
    /// same place and window the lower limits hold. Default: none.
    pub(crate) budgets: Vec<Budget>,
}

impl Default for Money {
    fn default() -> Self {
        Self {
            prices: None,
            unknown_price: UnknownPrice::Flag,
            vendors: BTreeMap::new(),
            lease: "0.05".to_owned(),
            budgets: Vec::new(),
        }
    }
}

/// What becomes of a session whose model has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnknownPrice {
    /// It is refused.
    Refuse,
    /// It runs, and its usage is flagged.
    Flag,
}

/// A limit of spending, of an organisation or of a part of one, by the names `organisations` gives them. Without organisations
/// everything is `default` but the keys of `key_hashes`, which are `key-1`, `key-2` and so on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// The organisation.
    #[serde(default)]
    pub(crate) organisation: OrganisationId,
    /// The team, for a budget of one. Default: the whole organisation.
    pub(crate) team: Option<TeamId>,
    /// The key, for a budget of one. Default: the whole team.
    pub(crate) key: Option<KeyId>,
    /// The agent, for a budget of one. Default: the whole key.
    pub(crate) agent: Option<AgentId>,
    /// `hour`, `day`, `month` (from their beginning in UTC) or `total`.
    pub(crate) window: Window,
    /// US dollars beyond which a warning is logged and counted, once in each window. Default: none.
    pub(crate) soft: Option<String>,
    /// US dollars beyond which sessions end with `insufficient_quota`. Default: none.
    pub(crate) hard: Option<String>,
}

/// Where speech comes from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Provider {
    /// Key-free recognition, script and voice on this machine.
    Local {
        /// Recognisers held in memory, about 100 MB each. One serves one caller at a time, for the length of a
        /// turn. Default 2.
        #[serde(default = "default_decoders")]
        decoders: usize,
    },
    /// OpenAI and everything that speaks its Realtime WebSocket protocol.
    OpenaiRealtime {
        /// Beginning of the API's URLs. Default `https://api.openai.com/v1`.
        #[serde(default = "default_openai_url")]
        base_url: String,
        /// Name of the environment variable that holds the key.
        api_key_env: Option<String>,
        /// File that holds the key.
        api_key_file: Option<PathBuf>,
        /// Who finds the end of the caller's turn. Default `provider`.
        #[serde(default)]
        turn_detection: TurnSide,
        /// Longest wait for the connection. Default 10 s.
        #[serde(with = "humantime_serde", default = "default_connect_timeout")]
        connect_timeout: Duration,
        /// Longest silence of the provider inside an answer before it counts as stalled. Default 15 s.
        #[serde(with = "humantime_serde", default = "default_stall_timeout")]
        stall_timeout: Duration,
        /// Age from which on a connection is replaced by a new one at the next pause of the conversation, which goes on
        /// in it. Default 55 min: OpenAI ends a connection after 60 min, and no turn should take the rest.
        #[serde(with = "humantime_serde", default = "default_max_connection")]
        max_connection: Duration,
        /// The model that writes down what the caller says, where the client names none. Words are also written down for
        /// clients that do not ask to see them, because a turn without words cannot be told to the next connection; they
        /// cost what the vendor takes for them. An empty name: the vendor's own model, and only for clients that ask.
        /// Default `gpt-4o-mini-transcribe` for OpenAI, its cheapest and what its SDKs ask for; for other servers, of
        /// whose models nothing is known, the empty name.
        transcription_model: Option<String>,
        /// Where the provider keeps and works on what is said, as policies name it (`Region::"eu"`). Default: not said.
        #[serde(default)]
        region: Option<String>,
    },
}

/// Who finds the end of the caller's turn.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnSide {
    /// The provider, from the audio it hears.
    #[default]
    Provider,
    /// voxgate's own voice activity.
    Gateway,
}

/// Logs of sessions. They hold every word of a call, so whoever may read the folder may read the calls; the files are
/// for this user only. Of a session only what the policies let be recorded is kept: `record.transcript`, `record.audio`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// Folder of the logs, one file a session.
    pub(crate) dir: PathBuf,
    /// Whether voices are kept too, without which turns that voxgate found itself cannot be replayed. Default false:
    /// voices are the most personal part of a call, and 30 to 60 kB a second.
    #[serde(default)]
    pub(crate) audio: bool,
    /// Age at which a log is removed. Default 24 h: long enough to hear of a bad call.
    #[serde(with = "humantime_serde", default = "default_keep")]
    pub(crate) keep: Duration,
}

const fn default_keep() -> Duration {
    Duration::from_hours(24)
}

const fn default_decoders() -> usize {
    2
}

fn default_openai_url() -> String {
    "https://api.openai.com/v1".to_owned()
}

const fn default_connect_timeout() -> Duration {
    Duration::from_secs(10)
}

const fn default_stall_timeout() -> Duration {
    Duration::from_secs(15)
}

const fn default_max_connection() -> Duration {
    Duration::from_mins(55)
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
