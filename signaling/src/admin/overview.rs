//! The turns of the last hours beside each other.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use voxgate_protocol::timeline::{Hop, HopOwner};
use voxgate_telemetry::latency::budget::Subject;
use voxgate_telemetry::overview::distribution::{BOUNDS_MS, Distribution};
use voxgate_telemetry::overview::question::{Dimension, Span};
use voxgate_telemetry::overview::report::{Group, Heat, Report};

use super::AdminApi;
use super::milliseconds;
use super::order::{Asked, By};
use super::reply::{AdminError, Refusals};

/// What is compared.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OverviewQuery {
    /// How far back: `5m`, `15m`, `1h` or `6h`. Default: `1h`.
    #[param(nullable = false, pattern = "^(5m|15m|1h|6h)$")]
    window: Option<String>,
    /// What is put beside each other: `provider`, `region`, `revision`, `route`, `model` or `none`. Default: `none`.
    #[param(nullable = false, pattern = "^(none|provider|region|revision|route|model)$")]
    by: Option<String>,
    /// What the heat map shows: `whole` or the name of a hop. Default: `whole`.
    #[param(
        nullable = false,
        pattern = "^(whole|capture|uplink|relay_in|jitter|decode|endpointing|stt|policy|model|aggregation|tts|pacing|encode|relay_out|downlink|playout|unattributed)$"
    )]
    hop: Option<String>,
}

impl OverviewQuery {
    fn read(&self) -> Result<(Span, Dimension, Subject), AdminError> {
        let window = one_of(self.window.as_deref(), "window", Span::Hour, Span::ALL, Span::as_str)?;
        let by = one_of(self.by.as_deref(), "by", Dimension::Nothing, Dimension::ALL, Dimension::as_str)?;
        let hop = one_of(self.hop.as_deref(), "hop", Subject::Whole, Subject::all(), Subject::as_str)?;
        Ok((window, by, hop))
    }
}

/// The one of `all` that has this name.
fn one_of<T: Copy>(
    asked: Option<&str>,
    param: &'static str,
    usual: T,
    all: impl IntoIterator<Item = T>,
    name: fn(T) -> &'static str,
) -> Result<T, AdminError> {
    let Some(asked) = asked else { return Ok(usual) };
    let all: Vec<T> = all.into_iter().collect();
    let found = all.iter().copied().find(|one| name(*one) == asked);
    found.ok_or_else(|| {
        let known: Vec<&str> = all.into_iter().map(name).collect();
        AdminError::invalid(format!("'{param}' is one of {}.", known.join(", "))).with_param(param)
    })
}

/// Turns of the last hours, beside each other. Every figure is exact, over the turns that are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownOverview {
    /// Whether sessions are measured, as the configuration says in `telemetry.measuring`; if not, there are no turns.
    measuring: bool,
    window_ms: u64,
    /// Turns in reach.
    turns: u64,
    /// Whether turns of the window are missing because there were too many to keep.
    truncated: bool,
    /// When the window ends, in seconds since 1970.
    now_at: f64,
    /// Those with most turns first; at most 50.
    groups: Vec<ShownGroup>,
    /// Groups beyond those.
    groups_left_out: usize,
    heat: ShownHeat,
    /// Who spent the time of turns that took longer than their budget, the worst first.
    spenders: Vec<ShownSpender>,
}

/// How long something took.
#[derive(Debug, Serialize, ToSchema)]
struct ShownDistribution {
    /// Half took no longer (the nearest rank: always a duration that was measured).
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    mean_ms: f64,
    /// How many took longer than the bound before and not longer than this one, by `heat.bounds_ms`; the last ones took longer
    /// than any bound.
    histogram: Vec<u64>,
}

/// Turns that have something in common.
#[derive(Debug, Serialize, ToSchema)]
struct ShownGroup {
    /// What they have in common; null if it is not known, or if everything is one group.
    name: Option<String>,
    turns: u64,
    /// From mouth to ear.
    whole: ShownDistribution,
    /// The hops that took part, in their order.
    hops: Vec<ShownHop>,
    /// Turns that took longer than their route may take.
    breaches: u64,
    /// In billionths of a dollar, over the turns whose cost is known; null if no cost is.
    mean_cost_nano_dollars: Option<i64>,
}

/// One hop.
#[derive(Debug, Serialize, ToSchema)]
struct ShownHop {
    /// The hop; `unattributed` is time that no hop explains.
    #[schema(value_type = String)]
    hop: Hop,
    /// Who can make it shorter; null if nobody can.
    #[schema(value_type = Option<String>)]
    owner: Option<HopOwner>,
    /// The turns it took part in.
    turns: u64,
    #[serde(flatten)]
    took: ShownDistribution,
}

/// How many turns took how long, by time.
#[derive(Debug, Serialize, ToSchema)]
struct ShownHeat {
    /// What is shown: `whole` or a hop.
    hop: &'static str,
    columns_every_ms: u64,
    /// When the first column begins, in seconds since 1970.
    from_at: u64,
    /// Upper ends of the buckets of every histogram here, the ends included.
    bounds_ms: Vec<u32>,
    /// Up to now; each with one count more than there are bounds.
    columns: Vec<Vec<u64>>,
}

/// Who spent the time of slow turns.
#[derive(Debug, Serialize, ToSchema)]
struct ShownSpender {
    #[schema(value_type = String)]
    hop: Hop,
    /// Null if no hop explains the time.
    #[schema(value_type = Option<String>)]
    owner: Option<HopOwner>,
    /// So many turns.
    breaches: u64,
}

/// Time that no hop explains is nobody's.
pub(super) fn owner(hop: Hop) -> Option<HopOwner> {
    (hop != Hop::Unattributed).then(|| hop.owner())
}

impl From<Distribution> for ShownDistribution {
    fn from(told: Distribution) -> Self {
        Self {
            p50_ms: milliseconds(told.p50),
            p95_ms: milliseconds(told.p95),
            p99_ms: milliseconds(told.p99),
            max_ms: milliseconds(told.max),
            mean_ms: milliseconds(told.mean),
            histogram: told.histogram.into(),
        }
    }
}

impl From<Group> for ShownGroup {
    fn from(group: Group) -> Self {
        let hops = group.hops.into_iter();
        Self {
            name: group.name.as_deref().map(str::to_owned),
            turns: group.whole.count,
            hops: hops
                .map(|(hop, took)| ShownHop { hop, owner: owner(hop), turns: took.count, took: took.into() })
                .collect(),
            whole: group.whole.into(),
            breaches: group.breaches,
            mean_cost_nano_dollars: group.mean_cost.map(voxgate_protocol::money::NanoDollars::get),
        }
    }
}

impl From<Heat> for ShownHeat {
    fn from(heat: Heat) -> Self {
        Self {
            hop: heat.subject.as_str(),
            columns_every_ms: heat.every.as_secs() * 1_000,
            from_at: heat.from.as_secs(),
            bounds_ms: BOUNDS_MS.into(),
            columns: heat.columns.into_iter().map(Vec::from).collect(),
        }
    }
}

impl ShownOverview {
    fn of(report: Report, measuring: bool) -> Self {
        let spenders = report.spenders.into_iter();
        Self {
            measuring,
            window_ms: report.span.duration().as_secs() * 1_000,
            turns: report.turns,
            truncated: report.is_truncated,
            now_at: report.now.as_secs_f64(),
            groups: report.groups.into_iter().map(ShownGroup::from).collect(),
            groups_left_out: report.groups_left_out,
            heat: report.heat.into(),
            spenders: spenders
                .map(|one| ShownSpender { hop: one.hop, owner: owner(one.hop), breaches: one.breaches })
                .collect(),
        }
    }
}

/// Turns of the last hours beside each other: how long they and their hops took, when, and who spent the time of slow ones
///
/// Of this process since it began, at most 20,000 turns; only turns in reach count.
#[utoipa::path(
    get,
    path = "/admin/v1/overview",
    tag = "latency",
    params(OverviewQuery),
    responses((status = 200, body = ShownOverview), Refusals)
)]
pub(super) async fn look_at_overview(
    State(api): State<AdminApi>,
    By(administrator): By,
    Asked(query): Asked<OverviewQuery>,
) -> Result<Json<ShownOverview>, AdminError> {
    let question = query.read()?;
    let turns = api.turns.clone();
    let mut sight = administrator.sight();
    // Sorting thousands of durations would hold up what else this thread serves.
    let compared = tokio::task::spawn_blocking(move || {
        turns.report(question, |origin| sight.sees_names(&origin.organisation, &origin.team))
    });
    let report = compared.await.map_err(|_| AdminError::failed("The turns could not be compared."))?;
    Ok(Json(ShownOverview::of(report, api.fleet.measures())))
}

#[cfg(test)]
mod tests {
    use utoipa::IntoParams as _;

    use super::*;

    #[test]
    fn every_name_that_is_described_can_be_asked_for() {
        let described = OverviewQuery::into_params(|| None);
        let described = serde_json::to_value(described).unwrap();
        for (index, names) in [
            Span::ALL.map(Span::as_str).to_vec(),
            Dimension::ALL.map(Dimension::as_str).to_vec(),
            Subject::all().map(Subject::as_str).collect(),
        ]
        .into_iter()
        .enumerate()
        {
            let pattern = described[index]["schema"]["pattern"].as_str().unwrap();
            assert_eq!(pattern, format!("^({})$", names.join("|")));
        }
    }
}
