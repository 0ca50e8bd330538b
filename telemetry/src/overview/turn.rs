//! What is kept of a turn.

use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::timeline::Hop;

use crate::latency::account::TurnAccount;
use crate::latency::budget::{Breach, Subject};

/// Whose a turn was and who served it. The turns of one session share it until another provider serves them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnOrigin {
    /// The organisation.
    pub organisation: Arc<str>,
    /// The team.
    pub team: Arc<str>,
    /// The route's pattern.
    pub route: Arc<str>,
    /// The configured provider.
    pub provider: Option<Arc<str>>,
    /// Where it works, if the configuration says so.
    pub region: Option<Arc<str>>,
    /// The model, as the client named it.
    pub model: Arc<str>,
    /// The number of the revision of the configuration.
    pub revision: u64,
}

/// A turn whose answer was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardTurn {
    /// When it was heard.
    pub at: Duration,
    /// Whose it was and who served it.
    pub origin: Arc<TurnOrigin>,
    /// From mouth to ear.
    pub whole: Duration,
    /// What the turn waited for each hop that took part, [`Hop::Unattributed`] among them if there was such time. Of a hop
    /// that stands here twice the last counts.
    pub hops: Vec<(Hop, Duration)>,
    /// What it cost; `None` if nobody counts.
    pub cost: Option<NanoDollars>,
    /// If the whole took longer than it may: the hop that spent it.
    pub spender: Option<Hop>,
}

impl HeardTurn {
    /// From the account of a turn and what it breached.
    #[must_use]
    pub fn new(at: Duration, origin: Arc<TurnOrigin>, account: &TurnAccount, breaches: &[Breach]) -> Self {
        let rest = Some((Hop::Unattributed, account.unattributed)).filter(|(_, rest)| !rest.is_zero());
        let hops = account.hops.iter().map(|hop| (hop.hop, hop.duration)).chain(rest).collect();
        let slow = breaches.iter().find(|breach| breach.subject == Subject::Whole);
        let spender = slow.map(|breach| breach.spender.unwrap_or(Hop::Unattributed));
        Self { at, origin, whole: account.whole.duration, hops, cost: None, spender }
    }
}
