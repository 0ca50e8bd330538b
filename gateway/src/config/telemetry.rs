//! Whether sessions are measured, and what leaves the gateway for an OpenTelemetry collector.
//!
//! The configuration wins over the standard variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>), which count where it says nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use voxgate_telemetry::spans::conventions::{Conventions, GenAi, Voice};

use super::written::Written;
use crate::otlp::{Compression, Otlp};
use crate::webhook;

/// How long a span waits for others: below, every turn is a request; above, nobody would call it live.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
/// Time between two pushes of metrics.
const METRICS_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(1);
/// How long a request may take.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
/// How long the same spans are sent again.
const RETRIES: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(15);
/// Spans that wait: a turn has about ten.
const QUEUES: std::ops::RangeInclusive<usize> = 64..=1_000_000;

/// What the gateway measures of sessions, and what it tells others of itself, besides `/metrics`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Whether sessions are measured: turns hop by hop with the client's clock and their budgets, the network second by second,
    /// levels, who spoke when, the transcript of the record. Without it sessions are listed with cost, events and
    /// how they ended, and `latency` says nothing. Default true: no call waits for it, and without it nobody knows what callers
    /// wait for (`make bench-measuring` tells what it costs).
    measuring: bool,
    /// OpenTelemetry, by OTLP over HTTP (protobuf).
    otlp: WrittenOtlp,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { measuring: true, otlp: WrittenOtlp::default() }
    }
}

impl Telemetry {
    /// Whether sessions are measured.
    pub(super) const fn measures(&self) -> bool {
        self.measuring
    }
}

/// To which collector, and what. Without an endpoint nothing is sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenOtlp {
    /// The collector's URL, to which `/v1/traces` and `/v1/metrics` are added, such as `http://127.0.0.1:4318`. Default:
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`; without it nothing is sent.
    endpoint: Option<String>,
    /// Where traces go, as it stands. Default: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or below `endpoint`.
    traces_endpoint: Option<String>,
    /// Where metrics go, as it stands. Default: `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, or below `endpoint`.
    metrics_endpoint: Option<String>,
    /// Name of the environment variable with headers for every request, as `name=value,name=value`, values
    /// percent-encoded. They hold keys, so they never stand here themselves. Default: `OTEL_EXPORTER_OTLP_HEADERS`.
    headers_env: Option<String>,
    /// File with those headers, instead.
    headers_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust besides the public ones. Default: none.
    ca_file: Option<PathBuf>,
    /// Whether traces are sent: a session with its turns. Default true, unless `OTEL_TRACES_EXPORTER` is `none`.
    traces: Option<bool>,
    /// Whether metrics are sent: what `/metrics` shows, under the same names. Default true, unless `OTEL_METRICS_EXPORTER`
    /// is `none`.
    metrics: Option<bool>,
    /// Longest time a span waits for others, 100 ms to 1 min. Default 5 s, OpenTelemetry's own.
    #[serde(with = "humantime_serde")]
    interval: Duration,
    /// Time between two pushes of metrics, 1 s to 1 h. Default 1 min, OpenTelemetry's own.
    #[serde(with = "humantime_serde")]
    metrics_interval: Duration,
    /// Longest wait for the collector to take a request, 100 ms to 1 min. Default: `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10 s.
    #[serde(with = "humantime_serde")]
    timeout: Option<Duration>,
    /// How long spans that the collector does not take are sent again before they are given up, at most 15 min. Default
    /// 1 min: a restart of the collector.
    #[serde(with = "humantime_serde")]
    retry: Duration,
    /// Spans that may wait to be sent; what comes beyond is dropped and counted. Default 8192: a minute of some hundred
    /// calls, about 8 MB.
    queue: usize,
    /// `gzip` or `none`. Default: `OTEL_EXPORTER_OTLP_COMPRESSION`, or `gzip`, which every collector must take.
    compression: Option<Compression>,
    /// What the process is called there. Default: `OTEL_SERVICE_NAME`, or `voxgate`; of a relay `voxgate-relay`.
    service_name: Option<String>,
    /// Which names attributes have.
    conventions: WrittenConventions,
}

impl Default for WrittenOtlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            traces_endpoint: None,
            metrics_endpoint: None,
            headers_env: None,
            headers_file: None,
            ca_file: None,
            traces: None,
            metrics: None,
            interval: Duration::from_secs(5),
            metrics_interval: Duration::from_mins(1),
            timeout: None,
            retry: Duration::from_mins(1),
            queue: 8_192,
            compression: None,
            service_name: None,
            conventions: WrittenConventions::default(),
        }
    }
}

/// Which names attributes have.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenConventions {
    /// The state of OpenTelemetry's conventions for generative AI: `latest`, or `"1.36"`, what older instrumentations write.
    /// None of it is stable yet. Default: `latest`.
    gen_ai: WrittenGenAi,
    /// What is written where those have no settled word for voice: `settled`, nothing of theirs; `proposed`, the words of
    /// their open proposal for voice agents. Default: `settled`.
    voice: WrittenVoice,
    /// Whether OpenInference's attributes are written too, which Phoenix and others read. Default true.
    openinference: bool,
}

impl Default for WrittenConventions {
    fn default() -> Self {
        Self { gen_ai: WrittenGenAi::Latest, voice: WrittenVoice::Settled, openinference: true }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum WrittenGenAi {
    #[serde(rename = "latest")]
    Latest,
    #[serde(rename = "1.36")]
    V1_36,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenVoice {
    Settled,
    Proposed,
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a gateway sends where; `None` for nothing.
pub(super) fn check(
    written: &Written,
    environment: Environment<'_>,
    problems: &mut Vec<String>,
) -> Option<Otlp> {
    written.telemetry.check("voxgate", environment, problems)
}

impl Telemetry {
    /// What a process, which is called `name` unless told otherwise, sends where; `None` for nothing.
    pub(super) fn check(
        &self,
        name: &str,
        environment: Environment<'_>,
        problems: &mut Vec<String>,
    ) -> Option<Otlp> {
        let otlp = &self.otlp;
        check_ranges(otlp, problems);
        // Tests and shells set variables to nothing to take them away.
        let environment = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        if environment("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let made = otlp.make(name, &environment);
        made.map_err(|problem| problems.push(format!("telemetry.otlp: {problem}"))).ok().flatten()
    }
}

fn check_ranges(otlp: &WrittenOtlp, problems: &mut Vec<String>) {
    let timeout = otlp.timeout.unwrap_or(Duration::from_secs(10));
    for (name, value, range, says) in [
        ("interval", otlp.interval, INTERVALS, "100ms to 1m"),
        ("metrics_interval", otlp.metrics_interval, METRICS_INTERVALS, "1s to 1h"),
        ("timeout", timeout, TIMEOUTS, "100ms to 1m"),
        ("retry", otlp.retry, RETRIES, "0s to 15m"),
    ] {
        if !range.contains(&value) {
            problems.push(format!("telemetry.otlp.{name} must be {says}"));
        }
    }
    if !QUEUES.contains(&otlp.queue) {
        problems.push(format!("telemetry.otlp.queue is {}; it must be 64 to 1000000", otlp.queue));
    }
}

impl WrittenOtlp {
    fn make(&self, name: &str, environment: Environment<'_>) -> Result<Option<Otlp>, String> {
        let traces =
            self.place(environment, &Signal::TRACES, (self.traces, self.traces_endpoint.as_deref()))?;
        let metrics =
            self.place(environment, &Signal::METRICS, (self.metrics, self.metrics_endpoint.as_deref()))?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        Ok(Some(Otlp {
            traces,
            metrics,
            headers: self.headers(environment)?,
            http: self.client()?,
            interval: self.interval,
            metrics_interval: self.metrics_interval,
            timeout: self.timeout(environment)?,
            retry: self.retry,
            queue: self.queue,
            compression: self.compression(environment)?,
            resource: self.resource(name, environment)?,
            conventions: self.conventions.meaning(),
        }))
    }

    fn place(
        &self,
        environment: Environment<'_>,
        signal: &Signal,
        (wanted, own): (Option<bool>, Option<&str>),
    ) -> Result<Option<Url>, String> {
        let none = environment(signal.exporter).is_some_and(|value| value.trim() == "none");
        if !wanted.unwrap_or(!none) {
            return Ok(None);
        }
        let below = |base: &str| format!("{}/{}", base.trim_end_matches('/'), signal.path);
        let written = own.map(str::to_owned).or_else(|| self.endpoint.as_deref().map(below));
        let text = written
            .or_else(|| environment(signal.variable))
            .or_else(|| environment("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)));
        text.map(|text| address(&text)).transpose()
    }

    fn headers(&self, environment: Environment<'_>) -> Result<HeaderMap, String> {
        let text = match (&self.headers_env, &self.headers_file) {
            (Some(_), Some(_)) => return Err("has both headers_env and headers_file; keep one".to_owned()),
            (Some(variable), None) => environment(variable).ok_or_else(|| {
                format!("headers_env names {variable}, which is not set in the environment")
            })?,
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| format!("headers_file {} cannot be read: {error}", file.display()))?,
            (None, None) => environment("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default(),
        };
        let pairs = text.trim().split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs.map(header).collect::<Option<_>>().ok_or_else(|| {
            // What was wrong with them is not told: they hold keys.
            "the headers must be name=value, several of them separated by commas".to_owned()
        })
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        let authorities = self.ca_file.as_deref().map_or_else(|| Ok(Vec::new()), authorities)?;
        webhook::client(authorities).map_err(|error| format!("TLS cannot be set up: {error}"))
    }

    fn timeout(&self, environment: Environment<'_>) -> Result<Duration, String> {
        let of_variable = || match environment("OTEL_EXPORTER_OTLP_TIMEOUT") {
            None => Ok(Duration::from_secs(10)),
            Some(text) => match text.trim().parse().map(Duration::from_millis) {
                Ok(timeout) if TIMEOUTS.contains(&timeout) => Ok(timeout),
                _ => Err("OTEL_EXPORTER_OTLP_TIMEOUT must be 100 to 60000 (milliseconds)".to_owned()),
            },
        };
        self.timeout.map_or_else(of_variable, Ok)
    }

    fn compression(&self, environment: Environment<'_>) -> Result<Compression, String> {
        let of_variable = || match environment("OTEL_EXPORTER_OTLP_COMPRESSION").as_deref() {
            None | Some("gzip") => Ok(Compression::Gzip),
            Some("none") => Ok(Compression::None),
            Some(_) => Err("OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none".to_owned()),
        };
        self.compression.map_or_else(of_variable, Ok)
    }

    /// Who sends: its name, and what `OTEL_RESOURCE_ATTRIBUTES` adds.
    fn resource(
        &self,
        of_process: &str,
        environment: Environment<'_>,
    ) -> Result<Vec<(String, String)>, String> {
        let text = environment("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let mut resource: Vec<_> = pairs
            .map(name_and_value)
            .collect::<Option<_>>()
            .ok_or("OTEL_RESOURCE_ATTRIBUTES must be name=value, several of them separated by commas")?;
        let name = self.service_name.clone().or_else(|| environment("OTEL_SERVICE_NAME"));
        if name.is_some() || !resource.iter().any(|(known, _)| known == "service.name") {
            resource.retain(|(known, _)| known != "service.name");
            resource.push(("service.name".to_owned(), name.unwrap_or_else(|| of_process.to_owned())));
        }
        Ok(resource)
    }
}

/// What is told apart of the two.
struct Signal {
    path: &'static str,
    variable: &'static str,
    exporter: &'static str,
}

impl Signal {
    const TRACES: Self = Self {
        path: "v1/traces",
        variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        exporter: "OTEL_TRACES_EXPORTER",
    };
    const METRICS: Self = Self {
        path: "v1/metrics",
        variable: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        exporter: "OTEL_METRICS_EXPORTER",
    };
}

impl WrittenConventions {
    const fn meaning(&self) -> Conventions {
        Conventions {
            gen_ai: match self.gen_ai {
                WrittenGenAi::Latest => GenAi::Latest,
                WrittenGenAi::V1_36 => GenAi::V1_36,
            },
            voice: match self.voice {
                WrittenVoice::Settled => Voice::Settled,
                WrittenVoice::Proposed => Voice::Proposed,
            },
            open_inference: self.openinference,
        }
    }
}

/// A password in a URL would be shown where URLs are; it belongs into a header.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("an endpoint cannot be used: {error}"))?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    match url.scheme() {
        "http" | "https" if is_plain && url.has_host() => Ok(url),
        _ => Err(
            "an endpoint must begin with http:// or https:// and hold no password; keys go into headers_env \
                  or headers_file (gRPC is not spoken: the port is 4318 for most)"
                .to_owned(),
        ),
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("ca_file {} cannot be read: {error}", path.display()))?;
    match reqwest::Certificate::from_pem_bundle(&text) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err(format!("ca_file {} holds no certificate in PEM", path.display())),
    }
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = name_and_value(pair)?;
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok()?, value))
}

fn name_and_value(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), decoded(value.trim())?))
}

/// Without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
