//! What the process itself takes of its machine, under the names every Prometheus client library uses.

use std::time::Duration;

use prometheus::proto::MetricType;

use crate::figures::{Family, Value, number};

/// What the operating system says about this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// The version of the program.
    pub version: &'static str,
    /// What it was started as (`standalone`, `relay`).
    pub role: &'static str,
    /// When it was started, since 1970.
    pub started: Duration,
    /// Time on processors since then, of all threads.
    pub cpu: Option<Duration>,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
    /// Files and sockets it has open.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub most_files: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Reads them when somebody wants to see them.
pub type ReadProcess = Box<dyn Fn() -> ProcessFigures + Send + Sync>;

/// What every process shows.
pub(crate) const FAMILIES: &[Family<ProcessFigures>] = &[
    Family {
        name: "voxgate_build_info",
        help: "The version of voxgate that runs and the role it was started in: always 1.",
        kind: MetricType::GAUGE,
        labels: &["version", "role"],
        samples: |figures| {
            vec![(vec![figures.version.to_owned(), figures.role.to_owned()], Value::Number(1.0))]
        },
    },
    Family {
        name: "process_start_time_seconds",
        help: "When the process was started, in seconds since 1970.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| vec![(Vec::new(), Value::Number(figures.started.as_secs_f64()))],
    },
    Family {
        name: "process_cpu_seconds_total",
        help: "Time on processors, of all threads, user and system together.",
        kind: MetricType::COUNTER,
        labels: &[],
        samples: |figures| {
            let cpu = figures.cpu.iter();
            cpu.map(|time| (Vec::new(), Value::Number(time.as_secs_f64()))).collect()
        },
    },
    Family {
        name: "process_resident_memory_bytes",
        help: "Memory in use.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| one(figures.resident_bytes),
    },
    Family {
        name: "process_open_fds",
        help: "Files and sockets that are open.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| one(figures.open_files),
    },
    Family {
        name: "process_max_fds",
        help: "Files and sockets that may be open.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| one(figures.most_files),
    },
    Family {
        name: "process_threads",
        help: "Threads of the process.",
        kind: MetricType::GAUGE,
        labels: &[],
        samples: |figures| one(figures.threads),
    },
];

/// What the system does not tell is not shown.
fn one(count: Option<u64>) -> Vec<(Vec<String>, Value)> {
    count.map(|count| (Vec::new(), number(count))).into_iter().collect()
}
