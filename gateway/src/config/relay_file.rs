//! The configuration of `voxgate relay`: as written, then checked.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use voxgate_protocol::id::RelayId;
use voxgate_relay::tunnel::MOST_LANES;

use super::ConfigError;
use super::relays::TokenSource;
use super::telemetry::Telemetry;
use crate::otlp::Otlp;

/// Threads one relay may have; one lane is kept for streams.
const MOST_THREADS: u8 = MOST_LANES - 1;
/// Below, heartbeats cost more than they tell; above, a dead relay is found out too late.
const HEARTBEATS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(60);
/// Nobody waits longer for a process to stop.
const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RelayFile {
    /// Where the last allow-list and the hand-over socket live. Default `relay-data`, below the folder the relay was
    /// started in. Two relays on one machine need two folders.
    pub(crate) data_dir: PathBuf,
    /// The relay.
    pub(crate) relay: RelaySection,
    /// Where its metrics are pushed to, besides `/metrics`: as in a gateway's configuration. A relay has no traces, so what is
    /// said about them counts for nothing. It is called `voxgate-relay` unless told otherwise.
    pub(crate) telemetry: Telemetry,
}

impl Default for RelayFile {
    fn default() -> Self {
        let (relay, telemetry) = (RelaySection::default(), Telemetry::default());
        Self { data_dir: PathBuf::from("relay-data"), relay, telemetry }
    }
}

/// The relay.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RelaySection {
    /// Its name in tunnel frames and in the gateway's `relays`: 1 or more, unique in the group. Must be given.
    pub(crate) id: Option<u32>,
    /// Address and port of the one public UDP socket. Default 127.0.0.1:3478, the port of STUN.
    pub(crate) listen: SocketAddr,
    /// Address of the sockets towards nodes. Default 127.0.0.1:0, any ports. With a port given, each thread takes the
    /// next one.
    pub(crate) tunnel: SocketAddr,
    /// Address and port of TCP and TLS for clients without UDP, best 443. Default: none.
    pub(crate) stream: Option<SocketAddr>,
    /// PEM file with the certificate chain of the stream listener. Default: a certificate of the relay's own CA
    /// (`tls/ca.pem` in the data folder). Browsers do not use TLS here; DTLS inside authenticates both ends.
    pub(crate) stream_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub(crate) stream_key: Option<PathBuf>,
    /// Address and port of `/healthz`, `/readyz` and `/metrics`. Default 127.0.0.1:9478.
    pub(crate) operations: SocketAddr,
    /// The gateway's control listener, `http://` or `https://`. Must be given.
    pub(crate) control: Option<String>,
    /// PEM file with a CA to trust for an `https://` control listener, beside the public ones.
    pub(crate) control_ca: Option<PathBuf>,
    /// Name of the environment variable with the token the gateway knows. Default `VOXGATE_RELAY_TOKEN`.
    pub(crate) token_env: Option<String>,
    /// File with the token, instead.
    pub(crate) token_file: Option<PathBuf>,
    /// Threads that forward, each with a socket on the public port: `auto` (one for each core the process may use, at
    /// most 16) or a number. Default `auto`.
    pub(crate) threads: ThreadCount,
    /// Keeps each thread on a core of its own. Default true: a moved thread loses its caches.
    pub(crate) pin: bool,
    /// How threads wait for datagrams. Default `block`.
    pub(crate) wait: Wait,
    /// After SIGTERM, how long calls may stay before the process ends. Default 30 s, the grace period of Kubernetes.
    #[serde(with = "humantime_serde")]
    pub(crate) drain_deadline: Duration,
    /// Interval of the heartbeats to every node. Default 50 ms: a node takes a relay for dead after 200 ms.
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
}

impl Default for RelaySection {
    fn default() -> Self {
        Self {
            id: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 3478)),
            tunnel: SocketAddr::from(([127, 0, 0, 1], 0)),
            stream: None,
            stream_certificate: None,
            stream_key: None,
            operations: SocketAddr::from(([127, 0, 0, 1], 9478)),
            control: None,
            control_ca: None,
            token_env: None,
            token_file: None,
            threads: ThreadCount::Auto,
            pin: true,
            wait: Wait::Block,
            drain_deadline: Duration::from_secs(30),
            heartbeat: Duration::from_millis(50),
        }
    }
}

/// How many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadCount {
    /// As many as the process may use cores.
    Auto,
    /// This many.
    Fixed(usize),
}

impl<'de> Deserialize<'de> for ThreadCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ThreadCount;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`auto` or a number of threads")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ThreadCount, E> {
                Ok(ThreadCount::Fixed(usize::try_from(number).unwrap_or(usize::MAX)))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ThreadCount, E> {
                Err(E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ThreadCount, E> {
                match text.parse() {
                    _ if text == "auto" => Ok(ThreadCount::Auto),
                    Ok(number) => Ok(ThreadCount::Fixed(number)),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl std::str::FromStr for ThreadCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Fixed).map_err(|_| "it must be `auto` or a number of threads".to_owned())
    }
}

/// How threads wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Wait {
    /// Asleep until a datagram comes: no CPU when idle.
    Block,
    /// Always looking: every thread uses a whole core, and no datagram waits for a thread to wake.
    BusyPoll,
}

/// A configuration that means something.
#[derive(Clone)]
pub(crate) struct CheckedRelay {
    pub(crate) data_dir: PathBuf,
    pub(crate) id: RelayId,
    pub(crate) listen: SocketAddr,
    pub(crate) tunnel: SocketAddr,
    pub(crate) stream: Option<Stream>,
    pub(crate) operations: SocketAddr,
    pub(crate) control: Url,
    pub(crate) control_ca: Option<PathBuf>,
    pub(crate) token: String,
    /// `None`: as many as there are cores.
    pub(crate) threads: Option<NonZero<u8>>,
    pub(crate) pin: bool,
    pub(crate) wait: Wait,
    pub(crate) drain_deadline: Duration,
    pub(crate) heartbeat: Duration,
    /// What is pushed where; `None` for nothing.
    pub(crate) otlp: Option<Otlp>,
}

impl fmt::Debug for CheckedRelay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CheckedRelay").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The listener for clients without UDP.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) listen: SocketAddr,
    /// Certificate chain and key, PEM files; `None`: made at start.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// Understands the text of a relay's configuration.
pub(crate) fn parse_relay(text: &str) -> Result<RelayFile, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RelayFile::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// Whether a text is the configuration of a relay: only there the relay has an id or a control plane.
pub(crate) fn is_relay_file(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        relay: Option<Section>,
    }
    #[derive(Deserialize)]
    struct Section {
        id: Option<de::IgnoredAny>,
        control: Option<de::IgnoredAny>,
    }
    let section = serde_saphyr::from_str::<Probe>(text).ok().and_then(|probe| probe.relay);
    section.is_some_and(|section| section.id.is_some() || section.control.is_some())
}

/// Checks everything and reports every problem together. The token is looked up in `environment`.
///
/// # Errors
/// [`ConfigError::Problems`] with all of them.
pub(crate) fn check_relay(
    file: &RelayFile,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<CheckedRelay, ConfigError> {
    let mut problems = Vec::new();
    let relay = &file.relay;
    let id = relay.id.filter(|id| *id > 0);
    if id.is_none() {
        problems.push("relay.id must be given: 1 or more, as in the gateway's list of relays".to_owned());
    }
    check_addresses(relay, &mut problems);
    let control = check_control(relay, &mut problems);
    let source = TokenSource { section: "relay", variable: &relay.token_env, file: &relay.token_file };
    let token = source.read(environment, &mut problems);
    let threads = check_threads(relay, &mut problems);
    check_times(relay, &mut problems);
    let stream = check_stream(relay, &mut problems);
    let otlp = file.telemetry.check("voxgate-relay", environment, &mut problems);
    match (id, control, token) {
        (Some(id), Some(control), Some(token)) if problems.is_empty() => Ok(CheckedRelay {
            data_dir: file.data_dir.clone(),
            id: RelayId(id),
            listen: relay.listen,
            tunnel: relay.tunnel,
            stream,
            operations: relay.operations,
            control,
            control_ca: relay.control_ca.clone(),
            token,
            threads,
            pin: relay.pin,
            wait: relay.wait,
            drain_deadline: relay.drain_deadline,
            heartbeat: relay.heartbeat,
            otlp,
        }),
        _ => Err(ConfigError::Problems(problems)),
    }
}

fn check_addresses(relay: &RelaySection, problems: &mut Vec<String>) {
    if relay.tunnel.ip().is_multicast() || relay.listen.ip().is_multicast() {
        problems.push("relay.listen and relay.tunnel must be addresses of this machine".to_owned());
    }
    if relay.tunnel.port() != 0 && relay.tunnel.port() == relay.listen.port() {
        problems.push(format!(
            "relay.tunnel and relay.listen both have port {}; clients and nodes need sockets of their own",
            relay.listen.port()
        ));
    }
}

fn check_control(relay: &RelaySection, problems: &mut Vec<String>) -> Option<Url> {
    let Some(control) = &relay.control else {
        problems.push("relay.control must be given: the URL of the gateway's control listener".to_owned());
        return None;
    };
    let url = Url::parse(control).ok();
    let url = url.filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        problems.push(format!("relay.control is {control:?}; it must begin with http:// or https://"));
    }
    if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.query().is_some()) {
        problems.push(
            "relay.control must be a plain URL; the token goes into token_env or token_file".to_owned(),
        );
    }
    url
}

fn check_threads(relay: &RelaySection, problems: &mut Vec<String>) -> Option<NonZero<u8>> {
    match relay.threads {
        ThreadCount::Auto => None,
        ThreadCount::Fixed(number) => {
            let count =
                u8::try_from(number).ok().filter(|count| *count <= MOST_THREADS).and_then(NonZero::new);
            if count.is_none() {
                problems.push(format!("relay.threads is {number}; it must be auto or 1 to {MOST_THREADS}"));
            }
            count
        }
    }
}

fn check_times(relay: &RelaySection, problems: &mut Vec<String>) {
    if !HEARTBEATS.contains(&relay.heartbeat) {
        problems.push("relay.heartbeat must be 10ms to 60ms".to_owned());
    }
    if relay.drain_deadline > LONGEST_DRAIN {
        problems.push("relay.drain_deadline must be at most 24h".to_owned());
    }
}

fn check_stream(relay: &RelaySection, problems: &mut Vec<String>) -> Option<Stream> {
    let certificate = match (&relay.stream_certificate, &relay.stream_key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        _ => {
            problems.push("relay.stream_certificate and relay.stream_key belong together".to_owned());
            None
        }
    };
    for (name, file) in [("stream_certificate", &relay.stream_certificate), ("stream_key", &relay.stream_key)]
    {
        if let Some(Err(error)) = file.as_ref().map(std::fs::metadata) {
            problems.push(format!("relay.{name} cannot be read: {error}"));
        }
    }
    if certificate.is_some() && relay.stream.is_none() {
        problems.push("relay.stream_certificate needs relay.stream, the listener it is for".to_owned());
    }
    relay.stream.map(|listen| Stream { listen, certificate })
}
