//! Gives each stretch of a turn to the hop it waited for.

use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop};

use super::account::{HopAccount, Stretch, TurnAccount, Whole};
use super::stamp::{Claim, Stamp};
use super::{LatencyError, MOST_CLAIMS};

/// A claim with both ends in order.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// Work beside the sequence, then the order of hops: the least of those at work is waited for.
    rank: (bool, Hop),
    from: Duration,
    to: Duration,
    certainty: Certainty,
    error: Duration,
}

impl Work {
    /// `None` if an end is missing or both are in the wrong order: then nobody knows how long it was.
    fn of(claim: &Claim) -> Option<Self> {
        let (from, to) = (claim.from?, claim.to?);
        let (certainty, error) = from.reading(&to);
        let rank = (claim.is_beside, claim.hop);
        (from.at() <= to.at()).then_some(Self { rank, from: from.at(), to: to.at(), certainty, error })
    }

    const fn hop(&self) -> Hop {
        self.rank.1
    }

    fn covers(&self, from: Duration, to: Duration) -> bool {
        self.from <= from && to <= self.to
    }
}

pub(super) fn attribute(
    turn: u32,
    mouth: &Stamp,
    ear: &Stamp,
    claims: &[Claim],
) -> Result<TurnAccount, LatencyError> {
    if claims.len() > MOST_CLAIMS {
        return Err(LatencyError::TooManyClaims);
    }
    let whole = Whole::between(mouth, ear)?;
    let claims = || claims.iter().filter(|claim| claim.hop != Hop::Unattributed);
    let works: Vec<Work> = claims().filter_map(Work::of).collect();
    let mut unknown: Vec<Hop> =
        claims().filter(|claim| Work::of(claim).is_none()).map(|claim| claim.hop).collect();
    unknown.sort_unstable();
    unknown.dedup();
    let mut hops = participants(&works, mouth.at());
    let mut unattributed = Duration::ZERO;
    let borders = borders(&works, mouth.at(), ear.at());
    for (from, to) in borders.iter().zip(borders.iter().skip(1)) {
        unattributed += share_out(&mut hops, &works, mouth.at(), (*from, *to));
    }
    settle_certainty(&mut hops, &works);
    Ok(TurnAccount { turn, whole, hops, unattributed, overrun: Duration::ZERO, unknown })
}

/// The hops at work, in order, with what they did before the caller's last word.
fn participants(works: &[Work], mouth: Duration) -> Vec<HopAccount> {
    let at_work = Hop::ALL.into_iter().filter(|hop| works.iter().any(|work| work.hop() == *hop));
    at_work
        .map(|hop| HopAccount { ahead: covered_before(works, hop, mouth), ..HopAccount::idle(hop) })
        .collect()
}

/// How long a hop was at work before a moment, however many of its claims said so at once.
fn covered_before(works: &[Work], hop: Hop, end: Duration) -> Duration {
    let mut spans: Vec<_> =
        works.iter().filter(|work| work.hop() == hop).map(|work| (work.from, work.to.min(end))).collect();
    spans.sort_unstable();
    let mut reached = Duration::ZERO;
    let mut covered = Duration::ZERO;
    for (from, to) in spans {
        covered += to.saturating_sub(from.max(reached));
        reached = reached.max(to);
    }
    covered
}

/// The moments within the turn at which somebody begins or ends, with both ends of the turn.
fn borders(works: &[Work], mouth: Duration, ear: Duration) -> Vec<Duration> {
    let ends = works.iter().flat_map(|work| [work.from, work.to]);
    let mut borders: Vec<_> = ends.filter(|at| mouth < *at && *at < ear).chain([mouth, ear]).collect();
    borders.sort_unstable();
    borders.dedup();
    borders
}

/// Gives one stretch to the hop that was waited for, and notes it as overlapped with the others. What is left if there
/// is none.
fn share_out(
    hops: &mut [HopAccount],
    works: &[Work],
    mouth: Duration,
    (from, to): (Duration, Duration),
) -> Duration {
    let at_work = || works.iter().filter(|work| work.covers(from, to));
    let Some(waited) = at_work().min_by_key(|work| work.rank) else { return to - from };
    for account in hops {
        let is_overlapped = account.hop != waited.hop();
        if is_overlapped && !at_work().any(|work| work.hop() == account.hop) {
            continue;
        }
        let part = if is_overlapped { &mut account.overlapped } else { &mut account.duration };
        *part += to - from;
        extend(&mut account.stretches, Stretch { start: from - mouth, duration: to - from, is_overlapped });
    }
    Duration::ZERO
}

/// Adds a stretch, as part of the last one if it goes on from it.
fn extend(stretches: &mut Vec<Stretch>, next: Stretch) {
    match stretches.last_mut() {
        Some(last)
            if last.start + last.duration == next.start && last.is_overlapped == next.is_overlapped =>
        {
            last.duration += next.duration;
        }
        _ => stretches.push(next),
    }
}

/// A hop is known as well as the worst of its claims, and may be as wrong as all of them together.
fn settle_certainty(hops: &mut [HopAccount], works: &[Work]) {
    for account in hops {
        for work in works.iter().filter(|work| work.hop() == account.hop) {
            if work.certainty == Certainty::Estimated {
                account.certainty = Certainty::Estimated;
            }
            account.error = account.error.saturating_add(work.error);
        }
    }
}
