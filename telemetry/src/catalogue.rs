//! The catalogue as a list: every metric any process of voxgate shows, whether or not it has moved yet.

use std::fmt::Write as _;

use crate::metrics::Metrics;
use crate::{figures, process, relay};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which value came.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, unit included.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it counts or measures.
    pub help: String,
}

/// Every metric, in the order of their names.
///
/// # Errors
/// If two metrics of a gateway carry one name.
pub fn all() -> Result<Vec<Described>, prometheus::Error> {
    let mut all = Metrics::new()?.described().to_vec();
    all.extend(figures::describe(relay::FAMILIES));
    all.extend(figures::describe(process::FAMILIES));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// The catalogue as a page, `docs/metrics.md`.
///
/// # Errors
/// As [`all`].
pub fn page() -> Result<String, prometheus::Error> {
    let mut page = String::from(HEAD);
    for Described { name, kind, labels, help } in all()? {
        let labels = if labels.is_empty() { "–".to_owned() } else { format!("`{}`", labels.join("`, `")) };
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{name}` | {} | {labels} | {} |", kind.as_str(), help.replace('|', "\\|"));
    }
    Ok(page)
}

const HEAD: &str = "# Metrics

Every metric a gateway (`GET /metrics` of `http.listen`) or a relay (`GET /metrics` of its `http`) shows, in base units. Labels hold no
session, user or key: their values are from fixed sets or from the configuration. A metric without a sample yet is not shown.
[alerts.md](alerts.md) says what to do about them, [deploy/grafana](../deploy/grafana/) draws them.

This page is made by `cargo run -p voxgate-telemetry --example metric_catalogue > docs/metrics.md`; a test compares.

| name | kind | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_metrics_is_up_to_date() {
        let kept = include_str!("../../docs/metrics.md");
        let made = page().unwrap();
        let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
        assert!(made == kept, "run the command on the page; it differs at {differs:?}");
    }

    #[test]
    fn names_say_what_they_are_and_labels_and_sentences_are_there() {
        let mut before = String::new();
        for Described { name, kind, labels, help } in all().unwrap() {
            assert!(name > before, "{name} is there twice");
            assert!(name.starts_with("voxgate_") || name.starts_with("process_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                kind == Kind::Counter,
                "{name}: only counters end in _total"
            );
            let is_timed = ["seconds", "bytes", "ratio", "score"].iter().any(|unit| name.ends_with(unit));
            assert!(kind != Kind::Histogram || is_timed, "{name} has no base unit");
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
            for forbidden in ["session", "user", "key", "call", "le", "quantile", "instance", "job"] {
                assert!(!labels.iter().any(|label| label == forbidden), "{name} has the label {forbidden}");
            }
            before = name;
        }
    }
}
