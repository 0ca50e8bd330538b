//! What the sessions of this process run on: the node, its relays, its targets, and how slow its routes are.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AdminApi;
use super::order::By;
use super::reply::{AdminError, Refusals};

/// Tells what only the process that runs the sessions knows. Must return at once.
pub trait Fleet: Send + Sync {
    /// The node.
    fn node(&self) -> NodeStanding;
    /// Its relays, in the order of their names.
    fn relays(&self) -> Vec<RelayStanding>;
    /// Every target of the routes in force, in the order of their names.
    fn targets(&self) -> Vec<TargetStanding>;
    /// Every route that is watched, in the order of their names.
    fn routes(&self) -> Vec<RouteStanding>;
    /// When their slow turns are too many.
    fn tolerance(&self) -> ToleranceStanding;
    /// Whose calls leave a slow target: `never`, `new_calls` or `next_turn`, as `latency.actions` of the configuration says.
    fn prefer_another(&self) -> &'static str;
    /// Whether sessions are measured at all.
    fn measures(&self) -> bool;
}

/// The process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct NodeStanding {
    /// Its name.
    pub id: String,
    /// Of voxgate.
    pub version: &'static str,
    /// Since it began.
    pub uptime_ms: u64,
    /// That it may use.
    pub cores: usize,
    /// That run now.
    pub sessions: u64,
    /// The same for each core.
    pub sessions_per_core: f64,
    /// Whether it takes no new sessions because it is about to stop.
    pub draining: bool,
    /// How much of all its cores it used in the last seconds, 0 to 1; null where the system does not say.
    pub cpu_ratio: Option<f64>,
    /// The memory it holds; null where the system does not say.
    pub memory_bytes: Option<u64>,
    /// Audio packets that left more than 20 ms late, and so after the next one was due, since it began.
    pub pacing_misses: u64,
    /// Of a hundred audio packets ninety-nine were not later than this, since it began: the upper end of a bucket; null without
    /// any, and if it is beyond the last bucket.
    pub pacing_p99_ms: Option<f64>,
    /// Times an answer ran out of audio before its end, since it began.
    pub underruns: u64,
}

/// A relay as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RelayStanding {
    /// Its name, as sessions have it.
    pub id: String,
    /// `alive`, `draining` or `silent`.
    pub state: String,
    /// Sessions whose packets it carries.
    pub sessions: u64,
    /// Of the tunnel, smoothed; null as long as it is not known.
    pub round_trip_ms: Option<f64>,
    /// Packets it dropped, by reason, where it runs in this process; empty otherwise.
    pub drops: BTreeMap<String, u64>,
}

/// A provider, or one model of it, that routes lead to.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TargetStanding {
    /// Its name in metrics.
    pub target: String,
    /// `closed`: it gets sessions; `open`: none; `half_open`: one, to see whether it is well again.
    pub state: String,
    /// How soon its answers begin to sound, smoothed; null as long as it is not known.
    pub first_audio_ms: Option<f64>,
    /// Sessions its provider serves.
    pub sessions: u64,
}

/// How slow a route is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RouteStanding {
    /// For which model names it is; `other` for all that are not watched one by one.
    pub route: String,
    /// Turns that were heard, slow or not.
    pub turns: TurnsStanding,
    /// What turns and hops may take, in milliseconds, by `whole` and the names of hops.
    pub budgets: BTreeMap<&'static str, f64>,
    /// How fast slow turns use up what is allowed of them, for every budget.
    pub burn: Vec<BurnStanding>,
    /// What there is to be done about it.
    pub advice: Vec<AdviceStanding>,
    /// Targets of it that are passed over at present because they are too slow.
    pub passed_over: Vec<String>,
}

/// Turns that were heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TurnsStanding {
    /// Over five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: u64,
    /// Over an hour.
    #[serde(rename = "1h")]
    pub hour: u64,
    /// Over six hours.
    #[serde(rename = "6h")]
    pub six_hours: u64,
}

/// When slow turns are too many, as the configuration says under `latency`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToleranceStanding {
    /// How many of a thousand turns may be slow.
    pub allowed: u32,
    /// Burn over five minutes and over the hour from which on something is done.
    pub fast: u32,
    /// Burn over the hour and over six hours from which on something is done.
    pub slow: u32,
    /// Turns in the shorter window without which nothing is concluded.
    pub turns: u32,
}

/// How many times the allowed share of turns was too slow: 1 uses the allowance as allotted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct BurnStanding {
    /// `whole` or a hop.
    pub subject: &'static str,
    /// Who could make it shorter; null for the whole and for time no hop explains.
    pub owner: Option<&'static str>,
    /// Over five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: f64,
    /// Over an hour.
    #[serde(rename = "1h")]
    pub hour: f64,
    /// Over six hours.
    #[serde(rename = "6h")]
    pub six_hours: f64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AdviceStanding {
    /// `alert`, `prefer_another` or `shed_optional`.
    pub action: &'static str,
    /// The budget that burns: `whole` or a hop.
    pub subject: &'static str,
    /// Who could make it shorter; null for the whole and for time no hop explains.
    pub owner: Option<&'static str>,
    /// The target it is about; null for the route as a whole.
    pub target: Option<String>,
    /// When it began, in seconds since 1970.
    pub since_at: f64,
    /// It does not end before this, in seconds since 1970; afterwards it goes on for as long as slow turns are too many.
    pub until_at: f64,
}

/// What the sessions of this process run on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownFleet {
    node: NodeStanding,
    relays: Vec<RelayStanding>,
    /// Every target of the routes in force.
    providers: Vec<TargetStanding>,
}

/// Every route that is watched.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownLatency {
    /// Whether sessions are measured, as the configuration says in `telemetry.measuring`; if not, no turn is ever slow.
    measuring: bool,
    tolerance: ToleranceStanding,
    /// Whose calls leave a slow target: nobody's (`never`), those that begin (`new_calls`), or all between two turns
    /// (`next_turn`).
    prefer_another: &'static str,
    routes: Vec<RouteStanding>,
}

/// The node, its relays and its targets
///
/// For whoever runs the gateway.
#[utoipa::path(
    get,
    path = "/admin/v1/fleet",
    tag = "fleet",
    responses((status = 200, body = ShownFleet), Refusals)
)]
pub(super) async fn look_at_fleet(
    State(api): State<AdminApi>,
    By(administrator): By,
) -> Result<Json<ShownFleet>, AdminError> {
    administrator.runs_the_gateway()?;
    let fleet = &api.fleet;
    Ok(Json(ShownFleet { node: fleet.node(), relays: fleet.relays(), providers: fleet.targets() }))
}

/// Every route with its budgets, how fast they burn, and what there is to be done
///
/// For whoever runs the gateway.
#[utoipa::path(
    get,
    path = "/admin/v1/latency",
    tag = "latency",
    responses((status = 200, body = ShownLatency), Refusals)
)]
pub(super) async fn look_at_latency(
    State(api): State<AdminApi>,
    By(administrator): By,
) -> Result<Json<ShownLatency>, AdminError> {
    administrator.runs_the_gateway()?;
    let fleet = &api.fleet;
    let (tolerance, prefer_another) = (fleet.tolerance(), fleet.prefer_another());
    Ok(Json(ShownLatency { measuring: fleet.measures(), tolerance, prefer_another, routes: fleet.routes() }))
}

/// Where nothing runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFleet;

impl Fleet for NoFleet {
    fn node(&self) -> NodeStanding {
        NodeStanding::default()
    }

    fn relays(&self) -> Vec<RelayStanding> {
        Vec::new()
    }

    fn targets(&self) -> Vec<TargetStanding> {
        Vec::new()
    }

    fn routes(&self) -> Vec<RouteStanding> {
        Vec::new()
    }

    fn tolerance(&self) -> ToleranceStanding {
        ToleranceStanding::default()
    }

    fn prefer_another(&self) -> &'static str {
        "never"
    }

    fn measures(&self) -> bool {
        true
    }
}
