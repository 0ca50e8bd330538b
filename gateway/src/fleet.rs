//! What the administration shows of the process: the node, its relays, its targets, its routes.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_protocol::timeline::{Hop, HopOwner};
use voxgate_relay::shell::RelayHandle;
use voxgate_signaling::admin::fleet::{
    AdviceStanding, BurnStanding, Fleet, NodeStanding, RelayStanding, RouteStanding, TargetStanding,
    ToleranceStanding, TurnsStanding,
};
use voxgate_signaling::live::LiveSessions;
use voxgate_signaling::permit::Places;
use voxgate_signaling::terms::TermsInForce;
use voxgate_telemetry::latency::budget::Subject;
use voxgate_telemetry::latency::hold::Held;
use voxgate_telemetry::latency::watch::Tolerance;
use voxgate_telemetry::metrics::Metrics;
use voxgate_telemetry::session::view::SummaryView;

use crate::host::since_unix_epoch;
use crate::latency::{LatencyDesk, RouteReport};
use crate::relay_figures;

use self::usage::CpuMeter;

/// The standing of this process.
pub(crate) struct Standing {
    began: Instant,
    name: String,
    cores: usize,
    cpu: CpuMeter,
    parts: Parts,
}

/// Who knows it.
pub(crate) struct Parts {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) places: Places,
    pub(crate) terms: TermsInForce,
    pub(crate) live: LiveSessions,
    pub(crate) latency: Arc<LatencyDesk>,
    /// The relay inside the process, if it has one.
    pub(crate) embedded: Option<Arc<RelayHandle>>,
}

impl Standing {
    pub(crate) fn new(parts: Parts) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            began: Instant::now(),
            // One process is one node so far.
            name: usage::host_name().unwrap_or_else(|| "1".to_owned()),
            cores,
            cpu: CpuMeter::new(cores),
            parts,
        }
    }

    /// How many sessions that run there are of each kind; those without one are not counted.
    fn running(&self, kind: impl Fn(SummaryView) -> Option<String>) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for record in self.parts.live.running() {
            if let Some(kind) = kind(record.summary()) {
                *counts.entry(kind).or_default() += 1;
            }
        }
        counts
    }

    /// What the relay inside dropped, by reason, without what never happened.
    fn drops(&self) -> BTreeMap<String, u64> {
        let Some(relay) = &self.parts.embedded else { return BTreeMap::new() };
        let drops = relay_figures::read(relay, None).drops.into_iter();
        drops
            .filter(|(.., count)| *count > 0)
            .map(|(direction, reason, count)| (format!("{direction}.{reason}"), count))
            .collect()
    }
}

impl Fleet for Standing {
    fn node(&self) -> NodeStanding {
        let Parts { metrics, places, .. } = &self.parts;
        let sessions = u64::try_from(metrics.sessions.get()).unwrap_or(0);
        let pacing = metrics.pacing();
        NodeStanding {
            id: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            cores: self.cores,
            sessions,
            sessions_per_core: sessions as f64 / self.cores as f64,
            draining: places.is_draining(),
            cpu_ratio: self.cpu.ratio(),
            memory_bytes: usage::memory_bytes(),
            pacing_misses: pacing.misses,
            pacing_p99_ms: pacing.p99.map(milliseconds),
            underruns: metrics.playout_underruns.get(),
        }
    }

    fn relays(&self) -> Vec<RelayStanding> {
        let carried = self.running(|session| session.relay);
        let relays = self.parts.metrics.relays().into_iter();
        relays
            .map(|relay| RelayStanding {
                sessions: carried.get(&relay.relay).copied().unwrap_or(0),
                round_trip_ms: relay.round_trip.map(milliseconds),
                drops: self.drops(),
                id: relay.relay,
                state: relay.state,
            })
            .collect()
    }

    fn targets(&self) -> Vec<TargetStanding> {
        let served = self.running(|session| session.provider);
        let known = self.parts.metrics.targets();
        let terms = self.parts.terms.now();
        let targets: BTreeMap<String, &str> =
            terms.routes.targets().map(|target| (target.name(), &*target.provider)).collect();
        let shown = targets.into_iter().map(|(name, provider)| {
            let view = known.get(&name).cloned().unwrap_or_default();
            TargetStanding {
                sessions: served.get(provider).copied().unwrap_or(0),
                state: view.state,
                first_audio_ms: view.first_audio.map(milliseconds),
                target: name,
            }
        });
        shown.collect()
    }

    fn routes(&self) -> Vec<RouteStanding> {
        let latency = &self.parts.latency;
        let standing = |report: RouteReport| {
            let passed_over = latency.passed_over(&report.route).into_iter().collect();
            route_standing(report, passed_over)
        };
        latency.report().into_iter().map(standing).collect()
    }

    fn tolerance(&self) -> ToleranceStanding {
        let Tolerance { allowed, fast, slow, turns } = self.parts.latency.tolerance();
        ToleranceStanding { allowed, fast, slow, turns }
    }

    fn prefer_another(&self) -> &'static str {
        self.parts.latency.prefer_another().as_str()
    }

    fn measures(&self) -> bool {
        self.parts.latency.measures()
    }
}

fn route_standing(report: RouteReport, passed_over: Vec<String>) -> RouteStanding {
    let RouteReport { route, budget, turns, burn, advice, now } = report;
    let [five_minutes, hour, six_hours] = turns;
    let turns = TurnsStanding { five_minutes, hour, six_hours };
    let budget_of = |subject: Subject| Some((subject.as_str(), milliseconds(budget.of_subject(subject)?)));
    let burn = burn.into_iter().map(|(subject, [five_minutes, hour, six_hours])| BurnStanding {
        subject: subject.as_str(),
        owner: owner(subject).map(HopOwner::as_str),
        five_minutes,
        hour,
        six_hours,
    });
    let today = since_unix_epoch();
    let advice = advice.into_iter().map(|(target, Held { advice, since, until })| AdviceStanding {
        action: advice.action.as_str(),
        subject: advice.subject.as_str(),
        owner: advice.owner.map(HopOwner::as_str),
        target,
        since_at: today.saturating_sub(now.saturating_sub(since)).as_secs_f64(),
        until_at: (today + until).saturating_sub(now).as_secs_f64(),
    });
    RouteStanding {
        route,
        turns,
        budgets: Subject::all().filter_map(budget_of).collect(),
        burn: burn.collect(),
        advice: advice.collect(),
        passed_over,
    }
}

/// Who can make it shorter. The whole and time that no hop explains are nobody's.
fn owner(subject: Subject) -> Option<HopOwner> {
    match subject {
        Subject::Hop(hop) if hop != Hop::Unattributed => Some(hop.owner()),
        Subject::Hop(_) | Subject::Whole => None,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
