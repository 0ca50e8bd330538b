//! ICE restart (RFC 8445 section 2.4, RFC 9429 section 4.1.8): new credentials and new relays for a call that goes on.
//!
//! A restart changes how the caller is reached and nothing else: same media lines, same certificates, same DTLS
//! association. Media stay on their path until the caller moves them by nominating a path it checked with the new
//! credentials, or by sending on it.

use std::time::{Duration, Instant};

use super::description::{self, Ranking};
use super::generation::Generation;
use super::hold::{Hold, LONGEST_HOLD_AFTER_RESTART};
use super::offer::Offer;
use super::{OfferError, Phase, RelayCandidate, Transport};

/// What the server brings to an ICE restart.
#[derive(Clone)]
pub struct IceRestart {
    /// New ICE username fragment of this server, as [`super::TransportConfig::ufrag`].
    pub ufrag: String,
    /// New ICE password of this server, as [`super::TransportConfig::password`].
    pub password: String,
    /// Public relay addresses, the preferred one first: the only candidates of the answer. A relay listed here is
    /// trusted again, should it be avoided or about to stop.
    pub relays: Vec<RelayCandidate>,
}

impl std::fmt::Debug for IceRestart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceRestart").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What the first offer and its answer settled for the whole call.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Kind and name of every media line.
    sections: Vec<(String, Option<String>)>,
    audio: usize,
    data: Option<(usize, u16)>,
    payload_type: u8,
    peer_fingerprint: String,
    own_fingerprint: String,
}

impl Agreement {
    pub(super) fn new(offer: &Offer<'_>, own_fingerprint: &str) -> Self {
        Self {
            sections: sections(offer),
            audio: offer.audio,
            data: data(offer),
            payload_type: offer.payload_type,
            peer_fingerprint: offer.fingerprint.clone(),
            own_fingerprint: own_fingerprint.to_owned(),
        }
    }

    fn admits(&self, offer: &Offer<'_>) -> Result<(), OfferError> {
        let same = self.sections == sections(offer)
            && self.audio == offer.audio
            && self.data == data(offer)
            && self.payload_type == offer.payload_type;
        if !same {
            return Err(OfferError::OtherMedia);
        }
        if self.peer_fingerprint != offer.fingerprint {
            return Err(OfferError::OtherCertificate);
        }
        Ok(())
    }
}

/// A line that the answer rejected may lose its name (RFC 9429 section 5.2.2), so only the call's lines keep theirs.
fn sections(offer: &Offer<'_>) -> Vec<(String, Option<String>)> {
    let carries = |index| index == offer.audio || offer.data.is_some_and(|data| data.section == index);
    let sections = offer.sections.iter().enumerate();
    sections
        .map(|(index, section)| {
            (section.media.to_owned(), section.mid.filter(|_| carries(index)).map(str::to_owned))
        })
        .collect()
}

fn data(offer: &Offer<'_>) -> Option<(usize, u16)> {
    offer.data.map(|data| (data.section, data.sctp_port))
}

impl Transport {
    /// Answers an offer that restarts ICE on this call. The value is the SDP answer.
    ///
    /// The offer must bring new ICE credentials and be otherwise the one the call began with; only the direction of
    /// audio may differ. The answer's candidates have the highest priorities there are, in the order given, because a
    /// browser moves at once to a path that ranks above all it knows and otherwise waits some seconds.
    ///
    /// With several UDP relays, and while the caller's media flow, the first check is answered when each relay was
    /// tried, 600 ms later at the latest, so that the caller has a path through each of them again. A caller that
    /// cannot be heard is answered at once instead and has one path then; it does well to restart once more as soon
    /// as it is heard again.
    ///
    /// The credentials before stay valid until the new ones are used and 30 s beyond.
    ///
    /// # Errors
    /// The offer is not such an offer, comes less than 200 ms after the restart before, or the call is over; nothing
    /// has changed.
    pub fn restart_ice(
        &mut self,
        now: Instant,
        offer: &str,
        restart: &IceRestart,
    ) -> Result<String, OfferError> {
        if self.phase == Phase::Closed {
            return Err(OfferError::CallOver);
        }
        // First, because it costs nothing: reading an offer is work that everybody else's call waits for.
        if self.generations.is_too_soon(now) {
            return Err(OfferError::RestartTooSoon);
        }
        let offer = Offer::parse(offer)?;
        self.agreement.admits(&offer)?;
        if self.generations.knows(offer.ufrag) {
            return Err(OfferError::SameIce);
        }
        let in_hurry = !self.newest.media_flow(now);
        let longest = if in_hurry { Duration::ZERO } else { LONGEST_HOLD_AFTER_RESTART };
        let hold = Hold::new(&restart.relays, longest);
        let own = (&restart.ufrag[..], &restart.password[..]);
        self.generations.restart(now, Generation::new(hold, own, (offer.ufrag, offer.password)));
        self.paths.trust(restart.relays.iter().map(|relay| relay.address));
        self.caller_listens = offer.direction.mirrored().sends();
        self.capture_time = offer.capture_time;
        let local = description::Local {
            ufrag: &restart.ufrag,
            password: &restart.password,
            fingerprint: &self.agreement.own_fingerprint,
            relays: &restart.relays,
            ranking: Ranking::AboveAll,
            ssrc: self.ssrc,
            session: self.ssrc >> 1,
            version: self.generations.restarts() + 1,
        };
        Ok(description::answer(&offer, &local))
    }
}
