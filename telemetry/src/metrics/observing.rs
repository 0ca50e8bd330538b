//! What happened, put under the right labels.

use std::time::Duration;

use prometheus::{Encoder as _, Histogram, TextEncoder};
use voxgate_protocol::bridge::FaultOwner;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::{Hop, HopOwner};

use super::Metrics;
use crate::catalogue::Described;
use crate::figures;
use crate::latency::account::TurnAccount;
use crate::latency::budget::Breach;
use crate::latency::watch::Advice;
use crate::process::{self, ReadProcess};
use crate::relay::{self, ReadFigures};

/// The owner of time that no hop explains.
const NOBODY: &str = "none";

impl Metrics {
    /// Every metric of a gateway but those of its process and its relay.
    #[must_use]
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Shows what the process takes of its machine, read at every scrape.
    ///
    /// # Errors
    /// If that is shown already.
    pub fn add_process(&self, read: ReadProcess) -> Result<(), prometheus::Error> {
        figures::register(&self.registry, process::FAMILIES, read)
    }

    /// Shows a relay inside this process too, read at every scrape.
    ///
    /// # Errors
    /// If there is one already.
    pub fn add_relay(&self, read: ReadFigures) -> Result<(), prometheus::Error> {
        relay::register(&self.registry, read)
    }

    /// A guardrail matched.
    pub fn guardrail_matched(&self, rule: &str, direction: &str, act: &str) {
        self.guardrail_matches.with_label_values(&[rule, direction, act]).inc();
    }

    /// Something failed on the way to or at a provider.
    pub fn provider_fault(&self, owner: FaultOwner) {
        let owner = match owner {
            FaultOwner::Client => "client",
            FaultOwner::Provider => "provider",
            FaultOwner::Gateway => "gateway",
        };
        self.provider_faults.with_label_values(&[owner]).inc();
    }

    /// A session ended.
    pub fn session_ended(&self, reason: EndReason) {
        self.sessions_ended.with_label_values(&[reason.as_str()]).inc();
    }

    /// A turn of a route was measured.
    pub fn turn_measured(&self, route: &str, account: &TurnAccount) {
        self.turn_seconds.with_label_values(&[route]).observe(account.whole.duration.as_secs_f64());
        let hops = account.hops.iter().map(|hop| (hop.hop, hop.hop.owner().as_str(), hop.duration));
        let rest = Some((Hop::Unattributed, NOBODY, account.unattributed));
        for (hop, owner, time) in hops.chain(rest.filter(|(.., time)| !time.is_zero())) {
            let labels = [hop.as_str(), owner, route];
            self.turn_hop_seconds.with_label_values(&labels).observe(time.as_secs_f64());
        }
    }

    /// What is to be done about the turns of a route, or of a target of it, begins or ends.
    pub fn latency_advised(&self, route: &str, target: Option<&str>, advice: Advice, begins: bool) {
        let owner = advice.owner.map_or(NOBODY, HopOwner::as_str);
        let (subject, action) = (advice.subject.as_str(), advice.action.as_str());
        let labels = [route, target.unwrap_or_default(), subject, owner, action];
        self.latency_advice.with_label_values(&labels).set(i64::from(begins));
    }

    /// A turn served by a target was measured, and breached this.
    pub fn target_turn_measured(&self, target: &str, account: &TurnAccount, breaches: &[Breach]) {
        let whole = account.whole.duration.as_secs_f64();
        self.target_turn_seconds.with_label_values(&[target]).observe(whole);
        for breach in breaches {
            let spender = breach.spender.map_or(NOBODY, Hop::as_str);
            let labels = [target, breach.subject.as_str(), spender];
            self.latency_target_breaches.with_label_values(&labels).inc();
        }
    }

    /// A turn of a route took more than a budget.
    pub fn latency_breached(&self, route: &str, breach: &Breach) {
        let spender = breach.spender.map_or(NOBODY, Hop::as_str);
        let owner = breach.owner().map_or(NOBODY, HopOwner::as_str);
        let labels = [route, breach.subject.as_str(), spender, owner];
        self.latency_breaches.with_label_values(&labels).inc();
    }

    /// Something inside the gateway took this long.
    pub fn observe(histogram: &Histogram, duration: Duration) {
        histogram.observe(duration.as_secs_f64());
    }

    /// Every metric as it stands, for other forms.
    #[must_use]
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// The Prometheus text form of every metric.
    ///
    /// # Errors
    /// If the text encoder fails, which needs a malformed catalogue.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
