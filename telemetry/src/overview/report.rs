//! The answer to a question about the turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::timeline::Hop;

use super::Overview;
use super::distribution::{BUCKETS, Distribution, bucket};
use super::kept::Row;
use super::question::{Question, Span};
use super::turn::TurnOrigin;
use crate::latency::budget::Subject;

/// Most groups of a report: more cannot be compared by eye.
pub const MOST_GROUPS: usize = 50;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it ends: the question's time, or that of the newest turn if that is later.
    pub now: Duration,
    /// How far back it goes.
    pub span: Span,
    /// Turns that are seen, in all groups.
    pub turns: u64,
    /// Whether turns of the span, anybody's, had to go because there were too many.
    pub is_truncated: bool,
    /// Those with most turns first; at the same number in the order of their names.
    pub groups: Vec<Group>,
    /// Groups beyond [`MOST_GROUPS`].
    pub groups_left_out: usize,
    /// When what took how long.
    pub heat: Heat,
    /// Who spent the time of turns that took too long, the worst first.
    pub spenders: Vec<Spender>,
}

/// Turns that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common; `None` if it is not known.
    pub name: Option<Arc<str>>,
    /// From mouth to ear.
    pub whole: Distribution,
    /// Those hops that took part in any of them, in order, over the turns they took part in.
    pub hops: Vec<(Hop, Distribution)>,
    /// Turns whose whole took longer than it may.
    pub breaches: u64,
    /// Over the turns whose cost is known, towards zero; `None` if no cost is.
    pub mean_cost: Option<NanoDollars>,
}

/// How many turns took how long, by time. Its columns hold every turn of the span in which the subject took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heat {
    /// What is shown.
    pub subject: Subject,
    /// How long a column is.
    pub every: Duration,
    /// When the first one begins: a whole number of columns.
    pub from: Duration,
    /// One after the other up to now, each with a count for every bucket.
    pub columns: Vec<[u64; BUCKETS]>,
}

/// Who spent the time of turns that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spender {
    /// The hop, or [`Hop::Unattributed`].
    pub hop: Hop,
    /// So many turns.
    pub breaches: u64,
}

pub(super) fn report(
    overview: &Overview,
    question: &Question,
    mut is_seen: impl FnMut(&TurnOrigin) -> bool,
) -> Report {
    let now = question.now.max(overview.newest);
    // In the first moments of time everything is within the span.
    let begin = now.checked_sub(question.span.duration());
    let is_within = |at: Duration| begin.is_none_or(|begin| at > begin);
    let group_of = overview.origins.each(|origin| is_seen(origin).then(|| question.by.group(origin)));
    let mut heat = Heat::empty(question, begin, now);
    let mut spent: BTreeMap<Hop, u64> = BTreeMap::new();
    let mut gathered: BTreeMap<Option<&str>, Gathered<'_>> = BTreeMap::new();
    let mut turns = 0;
    // Rows are in order of time: what is too old ends the search.
    for row in overview.rows.iter().rev().take_while(|row| is_within(row.at)) {
        let Some(Some(name)) = group_of.get(row.origin) else { continue };
        turns += 1;
        gathered.entry(name.as_deref()).or_insert_with(|| Gathered::new(name.clone())).rows.push(row);
        heat.count(row);
        if let Some(hop) = row.spender {
            *spent.entry(hop).or_default() += 1;
        }
    }
    let mut gathered: Vec<Gathered<'_>> = gathered.into_values().collect();
    gathered.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    let groups_left_out = gathered.len().saturating_sub(MOST_GROUPS);
    gathered.truncate(MOST_GROUPS);
    let mut spenders: Vec<_> = spent.into_iter().map(|(hop, breaches)| Spender { hop, breaches }).collect();
    spenders.sort_by_key(|spender| std::cmp::Reverse(spender.breaches));
    Report {
        now,
        span: question.span,
        turns,
        is_truncated: overview.lost.is_some_and(is_within),
        groups: gathered.into_iter().filter_map(Gathered::group).collect(),
        groups_left_out,
        heat,
        spenders,
    }
}

/// The turns of a group.
struct Gathered<'a> {
    name: Option<Arc<str>>,
    rows: Vec<&'a Row>,
}

impl Gathered<'_> {
    const fn new(name: Option<Arc<str>>) -> Self {
        Self { name, rows: Vec::new() }
    }

    fn group(self) -> Option<Group> {
        let Self { name, rows } = self;
        let whole = Distribution::of(rows.iter().map(|row| row.whole()).collect())?;
        let of_hop = |hop: Hop| Distribution::of(rows.iter().filter_map(|row| row.hop(hop)).collect());
        let hops = Hop::ALL.into_iter().filter_map(|hop| Some((hop, of_hop(hop)?))).collect();
        let breaches = rows.iter().filter(|row| row.spender.is_some()).count() as u64;
        Some(Group { name, whole, hops, breaches, mean_cost: mean_cost(&rows) })
    }
}

fn mean_cost(rows: &[&Row]) -> Option<NanoDollars> {
    let costs = || rows.iter().filter_map(|row| row.cost);
    let sum: i128 = costs().map(|cost| i128::from(cost.get())).sum();
    let mean = sum.checked_div(costs().count() as i128)?;
    i64::try_from(mean).ok().map(NanoDollars::new)
}

impl Heat {
    fn empty(question: &Question, begin: Option<Duration>, now: Duration) -> Self {
        let every = question.span.column();
        let column = |at: Duration| at.as_secs() / every.as_secs();
        let first = column(begin.unwrap_or_default());
        let columns = column(now).saturating_sub(first) as usize + 1;
        Self {
            subject: question.heat,
            every,
            from: Duration::from_secs(first * every.as_secs()),
            columns: vec![[0; BUCKETS]; columns],
        }
    }

    fn count(&mut self, row: &Row) {
        let duration = match self.subject {
            Subject::Whole => Some(row.whole()),
            Subject::Hop(hop) => row.hop(hop),
        };
        let Some(duration) = duration else { return };
        let place = row.at.saturating_sub(self.from).as_secs() / self.every.as_secs();
        let column = self.columns.get_mut(place as usize);
        if let Some(count) = column.and_then(|column| column.get_mut(bucket(duration))) {
            *count += 1;
        }
    }
}
