//! What a relay counts, in the words of the metric catalogue.

use std::time::Duration;

use voxgate_relay::core::RelayStats;
use voxgate_relay::shell::{RESIDENCE_BOUNDS, RelayHandle};
use voxgate_relay::stream::StreamStats;
use voxgate_telemetry::relay::{RelayFigures, Residence};

/// Reads a relay. `allow_list_age` is `None` where the list comes from the same process.
pub(crate) fn read(relay: &RelayHandle, allow_list_age: Option<Duration>) -> RelayFigures {
    let report = relay.report();
    let stats = &report.stats;
    RelayFigures {
        packets: vec![("up", stats.up_datagrams), ("down", stats.down_datagrams)],
        bytes: vec![("up", stats.up_bytes), ("down", stats.down_bytes)],
        drops: drops(stats).into_iter().chain(stream_drops(report.streams.as_ref())).collect(),
        flow_events: flow_events(stats),
        socket_errors: vec![
            ("overflow", stats.socket_overflows),
            ("receive", stats.receive_errors),
            ("send", stats.send_errors),
        ],
        flows: vec![("half_open", report.flows.half_open as u64), ("assured", report.flows.assured as u64)],
        streams: report.streams.map(|streams| streams.open),
        stream_events: report.streams.iter().flat_map(StreamStats::events).collect(),
        hellos: stats.hellos_sent,
        residence: Residence {
            buckets: RESIDENCE_BOUNDS.into_iter().zip(report.residence.counts).collect(),
            count: report.residence.count(),
            sum: report.residence.sum,
        },
        round_trips: report.round_trips.iter().map(|(node, time)| (node.0, *time)).collect(),
        threads: report.threads,
        is_draining: relay.is_draining(),
        allow_list_age,
    }
}

fn stream_drops(streams: Option<&StreamStats>) -> Vec<(&'static str, &'static str, u64)> {
    let drops = streams.map(StreamStats::drops).into_iter().flatten();
    drops.map(|(reason, count)| ("down", reason, count)).collect()
}

/// Every counter of something that happened to a flow.
fn flow_events(stats: &RelayStats) -> Vec<(&'static str, u64)> {
    let is_event = |name: &str| {
        matches!(name, "confirmed" | "moved" | "released")
            || ["expired_", "refused_", "replaced_"].iter().any(|beginning| name.starts_with(beginning))
    };
    stats.named().into_iter().filter(|(name, _)| is_event(name)).collect()
}

/// Every counter of a drop, with its direction as seen from the client. A counter that is added later shows up by itself.
fn drops(stats: &RelayStats) -> Vec<(&'static str, &'static str, u64)> {
    let drops = stats.named().into_iter().filter_map(|(name, count)| {
        let reason = name.strip_prefix("drop_")?;
        let is_down = reason.starts_with("tunnel_") || reason.starts_with("down_");
        let reason =
            reason.strip_prefix("client_").or_else(|| reason.strip_prefix("down_")).unwrap_or(reason);
        Some((if is_down { "down" } else { "up" }, reason, count))
    });
    drops.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_drop_has_a_direction_and_a_reason_of_its_own() {
        let stats = RelayStats { drop_forged_ufrag: 3, drop_down_budget: 4, ..RelayStats::default() };
        let drops = drops(&stats);
        assert!(drops.contains(&("up", "forged_ufrag", 3)));
        assert!(drops.contains(&("down", "budget", 4)));
        assert!(drops.contains(&("down", "tunnel_forged", 0)));
        let mut labels: Vec<_> = drops.iter().map(|(direction, reason, _)| (direction, reason)).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), drops.len());
    }
}
