//! A turn as the gateway saw it and as the client saw it, joined to one account.

use std::time::Duration;

use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace::{ClientMoments, TurnTrace, Work};

use super::LatencyError;
use super::account::TurnAccount;
use super::attribution::attribute;
use super::clock::ClockOffset;
use super::stamp::{Claim, Stamp};

/// What a client said of one turn, with how its clock reads.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    /// What it saw.
    pub moments: &'a ClientMoments,
    /// Its clock against the gateway's.
    pub offset: ClockOffset,
    /// The zero of the trace on the gateway's clock.
    pub zero: Duration,
}

impl ClientView<'_> {
    /// A moment of the trace.
    fn gateway(&self, at: Duration) -> Stamp {
        Stamp::gateway(self.zero.saturating_add(at))
    }

    fn estimated(&self, at: Duration, error: Duration) -> Stamp {
        Stamp::estimated(self.zero.saturating_add(at), error)
    }

    /// When the relay had a packet of the client, from what it took from there.
    fn relayed(&self, at: Duration, relay_in: Option<&Work>) -> Stamp {
        match relay_in.map_or(Duration::ZERO, error_of) {
            Duration::ZERO => self.gateway(at),
            error => self.estimated(at, error),
        }
    }

    fn client(&self, at: Option<Duration>) -> Option<Stamp> {
        Stamp::client(at?, &self.offset)
    }

    fn claim(&self, work: &Work) -> Claim {
        let Claim { hop, from, to, is_beside } = Claim::from(work);
        let moved = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.later(self.zero));
        Claim { hop, from: moved(from), to: moved(to), is_beside }
    }
}

impl TurnAccount {
    /// From what a session saw of the turn and what its client did. What the client does not know stays as the session
    /// estimated it.
    ///
    /// # Errors
    /// Any [`LatencyError`].
    pub fn joined(trace: &TurnTrace, view: &ClientView<'_>) -> Result<Self, LatencyError> {
        let (mouth, mut claims) = mouth_side(trace, view);
        let (ear, after) = ear_side(trace, view);
        claims.extend(seen(trace).iter().filter(|work| !is_outside(work.hop)).map(|work| view.claim(work)));
        claims.extend(after);
        claims.extend(trace.unseen.iter().copied().map(Claim::unseen));
        attribute(trace.turn, &mouth, &ear, &claims)
    }
}

/// Whether the client can know better.
const fn is_outside(hop: Hop) -> bool {
    matches!(hop, Hop::Capture | Hop::Uplink | Hop::Downlink | Hop::Playout)
}

/// What a packet holds in front of the first sound, which is heard as silence: the last of the works.
fn tail(trace: &TurnTrace) -> &[Work] {
    let playout = trace.works.iter().position(|work| work.hop == Hop::Playout);
    playout.and_then(|index| trace.works.get(index + 1..)).unwrap_or_default()
}

fn seen(trace: &TurnTrace) -> &[Work] {
    trace.works.get(..trace.works.len() - tail(trace).len()).unwrap_or_default()
}

fn find(trace: &TurnTrace, hop: Hop) -> Option<&Work> {
    trace.works.iter().find(|work| work.hop == hop)
}

/// How wrong an estimated stretch may be.
fn error_of(work: &Work) -> Duration {
    work.from.error.max(work.to.error)
}

/// The last word, and what the client and the network did until the relay had its packet.
fn mouth_side(trace: &TurnTrace, view: &ClientView<'_>) -> (Stamp, Vec<Claim>) {
    let outside = || trace.works.iter().filter(|work| matches!(work.hop, Hop::Capture | Hop::Uplink));
    let uplink = find(trace, Hop::Uplink);
    let relayed = uplink.map_or(trace.arrived, |uplink| uplink.to.at);
    let Some(spoken) = view.client(view.moments.spoken) else {
        let mouth = Stamp::from(&trace.mouth).later(view.zero);
        return (mouth, outside().map(|work| view.claim(work)).collect());
    };
    let mouth = spoken.wrong_by(view.moments.spoken_error);
    let relayed = view.relayed(relayed, find(trace, Hop::RelayIn));
    // A packet was not at the relay before it was sent: beyond that the clock's error shows.
    let sent = match (view.client(view.moments.sent), uplink) {
        (Some(sent), _) if sent.at() <= relayed.at() => sent,
        (Some(sent), _) => view.estimated(relayed.at().saturating_sub(view.zero), sent.error()),
        (None, Some(uplink)) => view.estimated(uplink.from.at, uplink.from.error),
        (None, None) => relayed,
    };
    (mouth, vec![Claim::new(Hop::Capture, mouth, sent), Claim::new(Hop::Uplink, sent, relayed)])
}

/// The first sound, and what the network and the client did from the relay on.
fn ear_side(trace: &TurnTrace, view: &ClientView<'_>) -> (Stamp, Vec<Claim>) {
    let downlink = find(trace, Hop::Downlink);
    let relayed = downlink.map_or(trace.sent, |downlink| downlink.from.at);
    let held: Duration = tail(trace).iter().map(|work| work.to.at.saturating_sub(work.from.at)).sum();
    let begun = view.moments.heard.and_then(|heard| view.client(heard.checked_sub(held)));
    // What was heard before it was sent was something else.
    let heard = begun.filter(|begun| begun.at() + begun.error() >= view.zero.saturating_add(trace.sent));
    let Some(begun) = heard else {
        let outside = trace.works.iter().filter(|work| matches!(work.hop, Hop::Downlink | Hop::Playout));
        let claims = outside.chain(tail(trace)).map(|work| view.claim(work)).collect();
        return (Stamp::from(&trace.ear).later(view.zero), claims);
    };
    let relayed = view.estimated(relayed, find(trace, Hop::RelayOut).map_or(Duration::ZERO, error_of));
    let received = match (view.client(view.moments.received), downlink) {
        (Some(received), _) if received.at() >= relayed.at() => received,
        (Some(received), _) => Stamp::estimated(relayed.at(), received.error()),
        (None, Some(downlink)) => view.estimated(downlink.to.at, downlink.from.error),
        (None, None) => relayed,
    };
    let received = if received.at() > begun.at() { begun } else { received };
    let wrong_by = view.moments.heard_error;
    let playout = Claim::new(Hop::Playout, received, begun.wrong_by(wrong_by));
    let mut claims = vec![Claim::new(Hop::Downlink, relayed, received), playout];
    let mut ear = begun;
    for work in tail(trace) {
        let from = ear;
        ear = ear.later(work.to.at.saturating_sub(work.from.at));
        claims.push(Claim::new(work.hop, from, ear));
    }
    (ear.wrong_by(wrong_by), claims)
}
