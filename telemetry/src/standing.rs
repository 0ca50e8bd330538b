//! What the catalogue says of the process now, read back for a page: the same numbers a scrape gets.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::Metric;

use crate::metrics::Metrics;

/// A packet that leaves later than this leaves after the next one was due.
const PACKET_SECONDS: f64 = 0.02;

/// How late audio packets left, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pacing {
    /// Those that left more than 20 ms late.
    pub misses: u64,
    /// Ninety-nine of a hundred were not later: the upper end of a bucket. `None` without any, or beyond the last bucket.
    pub p99: Option<Duration>,
}

/// A relay as the node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayView {
    /// Which.
    pub relay: String,
    /// The state that holds.
    pub state: String,
    /// Round trip of the tunnel.
    pub round_trip: Option<Duration>,
}

/// A target as the choice of targets sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetView {
    /// The state that holds.
    pub state: String,
    /// How soon its answers begin to sound.
    pub first_audio: Option<Duration>,
}

impl Metrics {
    /// How late audio packets left.
    #[must_use]
    pub fn pacing(&self) -> Pacing {
        let families = self.pacing_late_seconds.collect();
        let Some(metric) = families.first().and_then(|family| family.get_metric().first()) else {
            return Pacing::default();
        };
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        let buckets = || histogram.get_bucket().iter();
        let on_time = buckets().filter(|bucket| bucket.upper_bound() <= PACKET_SECONDS);
        let on_time = on_time.map(prometheus::proto::Bucket::cumulative_count).max().unwrap_or(0);
        let holds = |bucket: &&prometheus::proto::Bucket| {
            count > 0 && u128::from(bucket.cumulative_count()) * 100 >= u128::from(count) * 99
        };
        let p99 = buckets().find(holds).map(prometheus::proto::Bucket::upper_bound);
        Pacing { misses: count.saturating_sub(on_time), p99: p99.and_then(seconds) }
    }

    /// The relays, in the order of their names.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayView> {
        let mut round_trips = real_by(&self.tunnel_round_trip_seconds, "relay");
        let states = state_by(&self.relay_state, "relay").into_iter();
        states
            .map(|(relay, state)| RelayView {
                round_trip: round_trips.remove(&relay).and_then(seconds),
                relay,
                state,
            })
            .collect()
    }

    /// Every target that was ever shown, by its name.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<String, TargetView> {
        let mut heard = real_by(&self.routing_first_audio_seconds, "target");
        let states = state_by(&self.routing_target_state, "target").into_iter();
        states
            .map(|(target, state)| {
                let first_audio = heard.remove(&target).and_then(seconds);
                (target, TargetView { state, first_audio })
            })
            .collect()
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn metrics_of(collector: &impl Collector) -> Vec<Metric> {
    collector.collect().into_iter().flat_map(|family| family.get_metric().to_vec()).collect()
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let labels = metric.get_label().iter();
    labels.filter(|label| label.name() == name).map(|label| label.value()).next().unwrap_or_default()
}

/// Of gauges that are one for the state that holds: that state, by another label.
fn state_by(gauges: &impl Collector, name: &str) -> BTreeMap<String, String> {
    let holding = metrics_of(gauges).into_iter().filter(|metric| metric.get_gauge().get_value() > 0.0);
    holding.map(|metric| (label(&metric, name).to_owned(), label(&metric, "state").to_owned())).collect()
}

fn real_by(gauges: &impl Collector, name: &str) -> BTreeMap<String, f64> {
    let metrics = metrics_of(gauges).into_iter();
    metrics.map(|metric| (label(&metric, name).to_owned(), metric.get_gauge().get_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_left_after_the_next_was_due_are_misses_and_the_tail_is_told() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(metrics.pacing(), Pacing::default());
        (0..99).for_each(|_| metrics.pacing_late_seconds.observe(0.000_1));
        metrics.pacing_late_seconds.observe(0.03);
        assert_eq!(metrics.pacing(), Pacing { misses: 1, p99: Some(Duration::from_micros(100)) });
        metrics.pacing_late_seconds.observe(7.0);
        assert_eq!(metrics.pacing(), Pacing { misses: 2, p99: Some(Duration::from_millis(50)) });
    }

    #[test]
    fn relays_and_targets_stand_as_their_gauges_say() {
        let metrics = Metrics::new().unwrap();
        for (relay, state, holds) in
            [("1", "alive", 1), ("1", "silent", 0), ("2", "alive", 0), ("2", "silent", 1)]
        {
            metrics.relay_state.with_label_values(&[relay, state]).set(holds);
        }
        metrics.tunnel_round_trip_seconds.with_label_values(&["1"]).set(0.002);
        let relay = |relay: &str, state: &str, round_trip| RelayView {
            relay: relay.to_owned(),
            state: state.to_owned(),
            round_trip,
        };
        let [first, second] =
            [relay("1", "alive", Some(Duration::from_millis(2))), relay("2", "silent", None)];
        assert_eq!(metrics.relays(), [first, second]);
        metrics.routing_target_state.with_label_values(&["p/m", "open"]).set(1);
        metrics.routing_first_audio_seconds.with_label_values(&["p/m"]).set(0.5);
        let target = TargetView { state: "open".to_owned(), first_audio: Some(Duration::from_millis(500)) };
        assert_eq!(metrics.targets(), BTreeMap::from([("p/m".to_owned(), target)]));
    }
}
