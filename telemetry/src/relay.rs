//! What a relay shows. Its threads count without Prometheus on the way of a packet; the figures are read when scraped.

use std::time::Duration;

use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder as _, IntCounterVec, Registry, TextEncoder};

use crate::figures::{self, Family, Value, by_label, number};
use crate::metrics::Shelf;
use crate::process::{self, ReadProcess};

/// What a relay has counted since its start, and what it is at present.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayFigures {
    /// Datagrams forwarded, by direction (`up`: client to node, `down`: node to client).
    pub packets: Vec<(&'static str, u64)>,
    /// Bytes of those datagrams, by direction, without UDP and tunnel headers.
    pub bytes: Vec<(&'static str, u64)>,
    /// Datagrams dropped, by direction and reason.
    pub drops: Vec<(&'static str, &'static str, u64)>,
    /// What happened to flows, by event.
    pub flow_events: Vec<(&'static str, u64)>,
    /// Failures of the operating system's sockets, by kind.
    pub socket_errors: Vec<(&'static str, u64)>,
    /// Flows at present, by state.
    pub flows: Vec<(&'static str, u64)>,
    /// Connections of clients without UDP at present, where there is a port for them.
    pub streams: Option<u64>,
    /// What happened to such connections, by event.
    pub stream_events: Vec<(&'static str, u64)>,
    /// Hellos sent to nodes.
    pub hellos: u64,
    /// How long datagrams stayed inside.
    pub residence: Residence,
    /// Round trip between the relay and a node, by node index.
    pub round_trips: Vec<(u32, Duration)>,
    /// Threads that forward.
    pub threads: usize,
    /// Whether the relay is about to stop.
    pub is_draining: bool,
    /// Time since the control plane last said that the allow-list in use is the present one.
    pub allow_list_age: Option<Duration>,
}

/// A histogram of the time from the kernel's receive to the hand-over to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    /// Upper bounds, ascending, and how many datagrams took at most that long and longer than the bound before.
    pub buckets: Vec<(Duration, u64)>,
    /// All of them, including those above the last bound.
    pub count: u64,
    /// The sum of their times.
    pub sum: Duration,
}

/// Reads the figures of a relay when somebody wants to see them.
pub type ReadFigures = Box<dyn Fn() -> RelayFigures + Send + Sync>;

/// The catalogue of a process that is a relay and nothing else.
#[derive(Clone, Debug)]
pub struct RelayMetrics {
    registry: Registry,
    /// Requests to an OpenTelemetry collector, by signal and outcome.
    pub otlp_requests: IntCounterVec,
}

impl RelayMetrics {
    /// Declares the catalogue.
    ///
    /// # Errors
    /// If two metrics carry one name, which a test rules out.
    pub fn new(read: ReadFigures, process: ReadProcess) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        register(&registry, read)?;
        figures::register(&registry, process::FAMILIES, process)?;
        let otlp_requests = Shelf::new(&registry).otlp_requests()?;
        Ok(Self { registry, otlp_requests })
    }

    /// Every metric as it stands.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
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

/// Adds a relay to the metrics of a process.
pub(crate) fn register(registry: &Registry, read: ReadFigures) -> Result<(), prometheus::Error> {
    figures::register(registry, FAMILIES, read)
}

/// What relays show.
pub(crate) const FAMILIES: &[Family<RelayFigures>] = &[
    Family {
        name: "voxgate_relay_packets_total",
        help: "Datagrams forwarded, by direction: up from client to node, down from node to client.",
        kind: MetricType::COUNTER,
        labels: &["direction"],
        samples: |figures| by_label(&figures.packets),
    },
    Family {
        name: "voxgate_relay_bytes_total",
        help: "Bytes of the datagrams forwarded, without UDP and tunnel headers, by direction.",
        kind: MetricType::COUNTER,
        labels: &["direction"],
        samples: |figures| by_label(&figures.bytes),
    },
    Family {
        name: "voxgate_relay_drops_total",
        help: "Datagrams dropped, by direction and reason.",
        kind: MetricType::COUNTER,
        labels: &["direction", "reason"],
        samples: |figures| {
            let drops = figures.drops.iter();
            drops
                .map(|(direction, reason, count)| {
                    (vec![(*direction).to_owned(), (*reason).to_owned()], number(*count))
                })
                .collect()
        },
    },
    Family {
        name: "voxgate_relay_flow_events_total",
        help: "What happened to flows between client addresses and sessions, by event.",
        kind: MetricType::COUNTER,
        labels: &["event"],
        samples: |figures| by_label(&figures.flow_events),
    },
    Family {
        name: "voxgate_relay_socket_errors_total",
        help: "Datagrams lost or refused at the operating system's sockets, by kind.",
        kind: MetricType::COUNTER,
        labels: &["kind"],
        samples: |figures| by_label(&figures.socket_errors),
    },
    Family {
        name: "voxgate_relay_flows",
        help: "Flows between client addresses and sessions now, by state.",
        kind: MetricType::GAUGE,
        labels: &["state"],
        samples: |figures| by_label(&figures.flows),
    },
    Family {
        name: "voxgate_relay_streams",
        help: "TCP and TLS connections of clients now, where there is a port for them.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| figures.streams.iter().map(|open| (Vec::new(), number(*open))).collect(),
    },
    Family {
        name: "voxgate_relay_stream_events_total",
        help: "What happened to TCP and TLS connections of clients, by event.",
        kind: MetricType::COUNTER,
        labels: &["event"],
        samples: |figures| by_label(&figures.stream_events),
    },
    Family {
        name: "voxgate_relay_hellos_total",
        help: "Hellos sent to nodes.",
        kind: MetricType::COUNTER,
        labels: &[],
        samples: |figures| vec![(Vec::new(), number(figures.hellos))],
    },
    Family {
        name: "voxgate_relay_residence_seconds",
        help: "Time from the kernel's receive of a datagram to its hand-over to the kernel.",
        kind: MetricType::HISTOGRAM,
        labels: &[],
        samples: |figures| vec![(Vec::new(), Value::Times(figures.residence.clone()))],
    },
    Family {
        name: "voxgate_relay_node_round_trip_seconds",
        help: "Smoothed time from the relay to a node and back, by node index.",
        kind: MetricType::GAUGE,
        labels: &["node"],
        samples: |figures| {
            let nodes = figures.round_trips.iter();
            nodes.map(|(node, time)| (vec![node.to_string()], Value::Number(time.as_secs_f64()))).collect()
        },
    },
    Family {
        name: "voxgate_relay_threads",
        help: "Threads that forward.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| vec![(Vec::new(), number(figures.threads as u64))],
    },
    Family {
        name: "voxgate_relay_draining",
        help: "1 while the relay is about to stop and takes no new calls, else 0.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| vec![(Vec::new(), number(u64::from(figures.is_draining)))],
    },
    Family {
        name: "voxgate_relay_allow_list_age_seconds",
        help: "Time since the control plane last said that the allow-list in use is the present one; it says so every 20 s.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| {
            let age = figures.allow_list_age.iter();
            age.map(|age| (Vec::new(), Value::Number(age.as_secs_f64()))).collect()
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessFigures;

    fn figures() -> RelayFigures {
        RelayFigures {
            packets: vec![("up", 7), ("down", 8)],
            drops: vec![("up", "forged_ufrag", 3)],
            flows: vec![("assured", 2)],
            residence: Residence {
                buckets: vec![(Duration::from_micros(10), 4), (Duration::from_micros(50), 2)],
                count: 7,
                sum: Duration::from_micros(500),
            },
            round_trips: vec![(1, Duration::from_micros(250))],
            is_draining: true,
            ..RelayFigures::default()
        }
    }

    #[test]
    fn the_figures_of_a_relay_are_told_in_base_units() {
        let text = RelayMetrics::new(Box::new(figures), Box::new(ProcessFigures::default))
            .unwrap()
            .render()
            .unwrap();
        for line in [
            "voxgate_relay_packets_total{direction=\"down\"} 8",
            "voxgate_relay_drops_total{direction=\"up\",reason=\"forged_ufrag\"} 3",
            "voxgate_relay_flows{state=\"assured\"} 2",
            "voxgate_relay_residence_seconds_bucket{le=\"0.00001\"} 4",
            "voxgate_relay_residence_seconds_bucket{le=\"0.00005\"} 6",
            "voxgate_relay_residence_seconds_bucket{le=\"+Inf\"} 7",
            "voxgate_relay_residence_seconds_sum 0.0005",
            "voxgate_relay_node_round_trip_seconds{node=\"1\"} 0.00025",
            "voxgate_relay_draining 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("allow_list_age"), "a relay without a list has no age to show");
    }

    #[test]
    fn a_relay_that_has_counted_nothing_can_be_scraped() {
        let process = Box::new(ProcessFigures::default);
        let text = RelayMetrics::new(Box::new(RelayFigures::default), process).unwrap().render().unwrap();
        assert!(text.contains("voxgate_relay_threads 0"));
    }
}
