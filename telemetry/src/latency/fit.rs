//! Brings a waterfall of durations and the measured whole together.

use std::time::Duration;

use voxgate_protocol::timeline::{Certainty, Hop, TurnTimeline};

use super::account::{HopAccount, TurnAccount, Whole};
use super::{LONGEST_TURN, LatencyError};

/// Where the hops are longer than the whole, the estimated ones give way in proportion, then the measured ones: an
/// estimate that contradicts a measurement is wrong, and of two measurements the whole is what the caller felt.
pub(super) fn fit(timeline: &TurnTimeline, whole: Option<Whole>) -> Result<TurnAccount, LatencyError> {
    let (mut hops, unclaimed) = gather(timeline)?;
    let claimed: Duration = hops.iter().map(|account| account.duration).sum();
    let sum = || Whole { duration: claimed + unclaimed, certainty: worst(&hops), error: Duration::ZERO };
    let whole = whole.unwrap_or_else(sum).checked()?;
    let overrun = claimed.saturating_sub(whole.duration);
    let left = cut(&mut hops, Certainty::Estimated, overrun);
    cut(&mut hops, Certainty::Measured, left);
    let kept: Duration = hops.iter().map(|account| account.duration).sum();
    let unattributed = whole.duration.saturating_sub(kept);
    Ok(TurnAccount { turn: timeline.turn, whole, hops, unattributed, overrun, unknown: Vec::new() })
}

/// The hops in order, each once, and the time that is nobody's.
fn gather(timeline: &TurnTimeline) -> Result<(Vec<HopAccount>, Duration), LatencyError> {
    let mut unclaimed = Duration::ZERO;
    let mut hops: Vec<HopAccount> = Vec::new();
    for time in &timeline.hops {
        if time.duration > LONGEST_TURN {
            return Err(LatencyError::TooLong);
        }
        if time.hop == Hop::Unattributed {
            unclaimed = unclaimed.saturating_add(time.duration);
            continue;
        }
        let index = hops.iter().position(|known| known.hop == time.hop).unwrap_or(hops.len());
        if index == hops.len() {
            hops.push(HopAccount::idle(time.hop));
        }
        let Some(account) = hops.get_mut(index) else { continue };
        account.duration = account.duration.saturating_add(time.duration);
        if time.certainty == Certainty::Estimated {
            account.certainty = Certainty::Estimated;
        }
    }
    hops.sort_by_key(|account| account.hop);
    Ok((hops, unclaimed))
}

fn worst(hops: &[HopAccount]) -> Certainty {
    let is_estimated = hops.iter().any(|account| account.certainty == Certainty::Estimated);
    if is_estimated { Certainty::Estimated } else { Certainty::Measured }
}

/// Takes `excess` off the hops known in one way, in proportion to the nanosecond. What they could not give. A measured
/// hop that had to give way is an estimate from now on.
fn cut(hops: &mut [HopAccount], known: Certainty, excess: Duration) -> Duration {
    let concerned = || hops.iter().filter(|account| account.certainty == known);
    let total: u128 = concerned().map(|account| account.duration.as_nanos()).sum();
    let taken = total.min(excess.as_nanos());
    if taken == 0 {
        return excess;
    }
    let kept = total - taken;
    let (mut passed, mut given) = (0_u128, 0_u128);
    for account in hops.iter_mut().filter(|account| account.certainty == known) {
        passed += account.duration.as_nanos();
        // Rounded at the running sum, so that the parts sum exactly and no part grows.
        let reached = passed * kept / total;
        let share = Duration::from_nanos_u128(reached - given);
        let given_up = account.duration.saturating_sub(share);
        if !given_up.is_zero() {
            account.error = account.error.saturating_add(given_up);
            account.certainty = Certainty::Estimated;
        }
        account.duration = share;
        given = reached;
    }
    excess.saturating_sub(Duration::from_nanos_u128(taken))
}
