//! Traces and metrics for an OpenTelemetry collector, by OTLP over HTTP.
//!
//! No call waits for any of it. A session tells by a word in a bounded queue that a turn was measured or that it is over;
//! a task reads its record then and makes spans ([`voxgate_telemetry::spans`]), another sends them in batches. A collector
//! that is slow or away costs spans, which are counted, and nothing else.
//!
//! Source of the protocol: <https://opentelemetry.io/docs/specs/otlp/>, sections OTLP/HTTP request, response and throttling.

mod delivery;
mod figures;
mod sessions;
mod traces;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounterVec;
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::relay::RelayMetrics;
use voxgate_telemetry::session::SessionSink;
use voxgate_telemetry::spans::conventions::Conventions;

use self::delivery::{Delivery, Outcome};
use self::sessions::{Notices, Sessions};
use self::traces::ship;
use self::wire::{KeyValue, Metric, Resource};
use crate::host::since_unix_epoch;

/// How long the process waits at its end for the collector to take what is left.
const FAREWELL: Duration = Duration::from_secs(5);

/// How requests are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    /// About a tenth of the size.
    Gzip,
    /// Not at all.
    None,
}

/// What is sent where.
#[derive(Clone, Debug)]
pub(crate) struct Otlp {
    /// Where traces go; `None`: none are sent.
    pub(crate) traces: Option<Url>,
    /// Where metrics go; `None`: none are sent.
    pub(crate) metrics: Option<Url>,
    /// Of every request.
    pub(crate) headers: HeaderMap,
    pub(crate) http: Client,
    /// Longest time a span waits for others.
    pub(crate) interval: Duration,
    pub(crate) metrics_interval: Duration,
    /// Of one request.
    pub(crate) timeout: Duration,
    /// How long the same spans are sent again.
    pub(crate) retry: Duration,
    /// Spans that may wait.
    pub(crate) queue: usize,
    pub(crate) compression: Compression,
    /// Who sends, by name and value.
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) conventions: Conventions,
}

/// Sends until it is told to finish.
pub(crate) struct Exporter {
    notices: Option<Notices>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Gives what a process shows at present, in a push that is under way: totals since the first time, both since 1970.
type Gather = Box<dyn Fn(Duration, Duration) -> Vec<Metric> + Send + Sync>;

impl Exporter {
    /// Starts the tasks that send what a gateway has to tell, on the runtime this is called in.
    pub(crate) fn start(otlp: Otlp, metrics: &Arc<Metrics>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let resource = resource(&otlp);
        let mut exporter = Self { notices: None, stop, tasks: Vec::new() };
        let requests = &metrics.otlp_requests;
        if let Some(place) = otlp.traces.clone() {
            let (spans, waiting) = mpsc::channel(otlp.queue);
            let (sessions, notices) = Sessions::new(otlp.conventions, spans, Arc::clone(metrics));
            exporter.notices = Some(notices);
            exporter.tasks.push(tokio::spawn(sessions.run()));
            let traces = (delivery(&otlp, "traces", place, requests), metrics.otlp_spans.clone());
            let shipping = ship(waiting, traces, resource.clone(), otlp.interval, stopped.clone());
            exporter.tasks.push(tokio::spawn(shipping));
        }
        if let Some(place) = otlp.metrics.clone() {
            let (metrics, conventions) = (Arc::clone(metrics), otlp.conventions);
            let delivery = delivery(&otlp, "metrics", place, &metrics.otlp_requests);
            let gather: Gather = Box::new(move |began, now| {
                let mut all = figures::metrics(&metrics.gather(), began, now);
                all.extend(figures::gen_ai(&metrics.gen_ai.gather(), conventions, began, now));
                all
            });
            let pushing = push(delivery, gather, resource, otlp.metrics_interval, stopped);
            exporter.tasks.push(tokio::spawn(pushing));
        }
        exporter
    }

    /// Starts the task that pushes what a relay shows, if it is wanted.
    pub(crate) fn of_relay(otlp: &Otlp, metrics: RelayMetrics) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut exporter = Self { notices: None, stop, tasks: Vec::new() };
        if let Some(place) = otlp.metrics.clone() {
            let delivery = delivery(otlp, "metrics", place, &metrics.otlp_requests);
            let gather: Gather = Box::new(move |began, now| figures::metrics(&metrics.gather(), began, now));
            let pushing = push(delivery, gather, resource(otlp), otlp.metrics_interval, stopped);
            exporter.tasks.push(tokio::spawn(pushing));
        }
        exporter
    }

    /// Who has to hear of sessions; `None` if no traces are sent.
    pub(crate) fn sink(&self) -> Option<Arc<dyn SessionSink>> {
        self.notices.clone().map(|notices| Arc::new(notices) as Arc<dyn SessionSink>)
    }

    /// Sends what is left, if the collector takes it in time.
    pub(crate) async fn finish(self) {
        if let Some(notices) = self.notices {
            notices.finish().await;
        }
        // Nobody listens if nothing is sent.
        let _ = self.stop.send(true);
        let until = Instant::now() + FAREWELL;
        for task in self.tasks {
            let rest = until.saturating_duration_since(Instant::now());
            if timeout(rest, task).await.is_err() {
                tracing::warn!("the OpenTelemetry collector did not take everything in time");
                return;
            }
        }
    }
}

fn delivery(otlp: &Otlp, signal: &'static str, place: Url, requests: &IntCounterVec) -> Delivery {
    Delivery {
        signal,
        place,
        http: otlp.http.clone(),
        headers: otlp.headers.clone(),
        timeout: otlp.timeout,
        retry: otlp.retry,
        compression: otlp.compression,
        requests: requests.clone(),
    }
}

fn resource(otlp: &Otlp) -> Resource {
    let mut attributes: Vec<_> =
        otlp.resource.iter().map(|(name, value)| KeyValue::text(name, value)).collect();
    attributes.push(KeyValue::text("service.version", env!("CARGO_PKG_VERSION")));
    // Tells the processes of one service apart; without random numbers they stay one.
    if let Ok(instance) = getrandom::u64()
        && !otlp.resource.iter().any(|(name, _)| name == "service.instance.id")
    {
        attributes.push(KeyValue::text("service.instance.id", format!("{instance:016x}")));
    }
    let name = otlp.resource.iter().find(|(name, _)| name == "service.name").map(|(_, value)| value);
    if let Some(name) = name.filter(|_| otlp.conventions.open_inference) {
        attributes.push(KeyValue::text("openinference.project.name", name));
    }
    Resource { attributes }
}

/// Pushes the metrics again and again, and once more at the end. A push that fails is made good by the next one: totals
/// count since the process began.
async fn push(
    delivery: Delivery,
    gather: Gather,
    resource: Resource,
    every: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let began = since_unix_epoch();
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            // The sender goes only with the exporter.
            _ = stopped.changed() => true,
        };
        let body = figures::request(&resource, gather(began, since_unix_epoch()));
        if let Err(outcome) = delivery.once(&body).await {
            delivery.count(outcome.outcome);
        } else {
            delivery.count(Outcome::Sent);
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
