//! The server side of one WebRTC call, without sockets, clock or threads.
//!
//! Datagrams and the time go in, [`Output`]s come out; a loop may own any number of calls. Nothing outside this
//! module knows the WebRTC engine (crate `rtc`), and nothing the network sends reaches that engine before a
//! connectivity check with a correct MESSAGE-INTEGRITY has proven its path.
//!
//! To the caller the server is an ICE-lite agent (RFC 8445 section 2.5): it says so in its answers, never nominates,
//! and proves no path by itself, so a call needs no candidates of the caller's and nothing is sent anywhere before the
//! caller's own check came from there. Unlike a lite agent it then asks along proven paths (`warm.rs`), as a controlled
//! agent would. Without that a browser drops the path through the second relay within a minute, and nobody would know
//! whether it still works on the day the first relay dies. An agent that answers checks, as every full agent must,
//! cannot tell the difference; one that does not loses the benefit and nothing else.
//!
//! The server's candidates are the relays' public addresses, and each `(relay, client)` pair is a [`Path`]. Which of them
//! carries the call is told in `paths.rs`; how a call gets new credentials and relays, in [`Transport::restart_ice`].
//!
//! After every call of a `&mut self` method, take [`Transport::poll_output`] until it is empty and then ask
//! [`Transport::poll_timeout`] again. `now` must not run backwards.

mod arrival;
mod capture_time;
mod checks;
mod description;
mod engine;
mod generation;
mod handshake;
mod hold;
mod identity;
mod leaving;
mod offer;
mod output;
mod paths;
mod reports;
mod restart;
mod stun;
mod warm;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sha1::{Digest as _, Sha1};

use self::arrival::{Arrival, Newest};
use self::description::Ranking;
use self::engine::{Engine, EngineConfig, EngineEvent};
use self::generation::{Generation, Generations};
use self::handshake::Handshake;
use self::hold::{Hold, LONGEST_HOLD};
use self::offer::Offer;
use self::paths::Paths;
use self::reports::Reports;
use self::restart::Agreement;
use self::warm::Asker;

pub use self::identity::{Identity, IdentityError};
pub use self::offer::OfferError;
pub use self::output::{
    AudioFrame, AudioPacket, ChannelId, CloseReason, Output, Path, RelayCandidate, SendError,
};
pub use self::reports::TransportStats;
pub(crate) use self::reports::hears as hears_rtcp;
pub use self::restart::IceRestart;

/// Bytes of text a caller may leave unacknowledged before [`SendError::Backlog`].
const LARGEST_BACKLOG: usize = 4 * 1024 * 1024;

/// What a call is set up with.
#[derive(Clone)]
pub struct TransportConfig {
    /// ICE username fragment of this server; the relay routes by it. 4 to 256 ICE characters (RFC 8839 section 5.4).
    pub ufrag: String,
    /// ICE password of this server; 22 to 256 ICE characters, secret and new for every call.
    pub password: String,
    /// Public relay addresses, the preferred one first: the only candidates of the answer. Over TCP a relay is reached
    /// only by callers who cannot reach one over UDP.
    pub relays: Vec<RelayCandidate>,
    /// How long a caller may take from the answer to a finished DTLS handshake.
    pub setup_timeout: Duration,
    /// How long a connected caller may send nothing authentic. Browsers check every 2.5 s, aiortc every 5 s.
    pub silence_timeout: Duration,
}

impl std::fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportConfig").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Setup { deadline: Instant },
    Connected,
    Closed,
}

/// One call. See the module for how to drive it.
#[derive(Debug)]
pub struct Transport {
    engine: Engine,
    phase: Phase,
    agreement: Agreement,
    generations: Generations,
    paths: Paths,
    asker: Asker,
    handshake: Handshake,
    outputs: VecDeque<Output>,
    silence_timeout: Duration,
    last_heard: Instant,
    reports: Reports,
    payload_type: u8,
    /// The name of the extension that tells when a packet was captured, if the caller sends it.
    capture_time: Option<u8>,
    /// The caller takes audio.
    caller_listens: bool,
    ssrc: u32,
    next_sequence: u16,
    newest: Newest,
    largest_text: usize,
}

impl Transport {
    /// Answers `offer`. The second value is the SDP answer.
    ///
    /// # Errors
    /// The offer cannot become a call; nothing is left behind.
    pub fn accept(
        offer: &str,
        config: &TransportConfig,
        identity: &Identity,
        now: Instant,
    ) -> Result<(Self, String), OfferError> {
        let offer = Offer::parse(offer)?;
        // Both are public and need no more than to differ between calls, as the credentials do.
        let seed = Sha1::new().chain_update(&config.ufrag).chain_update(&config.password).finalize();
        let ssrc = u32::from_be_bytes([seed[0], seed[1], seed[2], seed[3]]).max(1);
        let engine = Engine::accept(
            &EngineConfig {
                offer: description::canonical_offer(&offer),
                payload_type: offer.payload_type,
                ssrc,
                ufrag: &config.ufrag,
                password: &config.password,
                peer_ufrag: offer.ufrag,
                peer_password: offer.password,
                identity,
            },
            now,
        );
        let engine = engine.map_err(|error| OfferError::Engine { reason: error.to_string() })?;
        let local = description::Local {
            ufrag: &config.ufrag,
            password: &config.password,
            fingerprint: identity.fingerprint(),
            relays: &config.relays,
            ranking: Ranking::ByKind,
            ssrc,
            session: ssrc >> 1,
            version: 1,
        };
        let answer = description::answer(&offer, &local);
        let own = (&config.ufrag[..], &config.password[..]);
        let hold = Hold::new(&config.relays, LONGEST_HOLD);
        let transport = Self {
            engine,
            phase: Phase::Setup { deadline: now + config.setup_timeout },
            agreement: Agreement::new(&offer, identity.fingerprint()),
            generations: Generations::new(Generation::new(hold, own, (offer.ufrag, offer.password))),
            paths: Paths::default(),
            asker: Asker::new(&config.password),
            handshake: Handshake::default(),
            outputs: VecDeque::new(),
            silence_timeout: config.silence_timeout,
            last_heard: now,
            reports: Reports::new(now, ssrc),
            payload_type: offer.payload_type,
            capture_time: offer.capture_time,
            caller_listens: offer.direction.mirrored().sends(),
            ssrc,
            // The upper half is left free so that the SRTP rollover counter starts unambiguous (RFC 3711 3.3.1).
            next_sequence: u16::from_be_bytes([seed[4], seed[5]]) >> 1,
            newest: Newest::default(),
            largest_text: offer.data.map_or(0, |data| data.max_message_size),
        };
        Ok((transport, answer))
    }

    /// Takes one datagram that came on `path`. Whatever it holds, it does no harm.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        if self.phase == Phase::Closed {
            return;
        }
        match datagram.first() {
            Some(0..=3) => self.handle_stun(now, path, datagram),
            Some(20..=63) if self.paths.is_proven(path) => self.handle_dtls(now, path, datagram),
            Some(128..=191) if self.paths.is_proven(path) => {
                let events = self.engine.handle_datagram(now, datagram);
                self.absorb(now, Some(Arrival::of_media(path, datagram)), events);
            }
            _ => {}
        }
    }

    /// Runs what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Closed => return,
            Phase::Setup { deadline } if now >= deadline => return self.end(now, CloseReason::SetupTimeout),
            Phase::Connected if now >= self.last_heard + self.silence_timeout => {
                return self.end(now, CloseReason::ClientLost);
            }
            _ => {}
        }
        self.answer_held(now);
        let events = self.engine.handle_timeout(now);
        self.absorb(now, None, events);
        if self.reports.is_due(now) {
            self.outputs.extend(self.paths.expire(now).into_iter().map(Output::PathReleased));
            self.generations.expire(now);
            self.send_report(now);
        }
        self.keep_warm(now);
        self.observe_association(now);
    }

    /// When [`Transport::handle_timeout`] wants to be called next; `None` once closed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let limit = match self.phase {
            Phase::Closed => return None,
            Phase::Setup { deadline } => deadline,
            Phase::Connected => self.last_heard + self.silence_timeout,
        };
        let own = [
            Some(limit),
            Some(self.reports.poll_timeout()),
            self.generations.poll_hold(),
            self.asker.poll_timeout(),
        ];
        own.into_iter().chain([self.engine.poll_timeout()]).flatten().min()
    }

    /// When the client last gave a sign of life.
    #[must_use]
    pub const fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Sends one Opus packet. Dropped while the call is not connected, and when the caller does not take audio.
    pub fn send_audio(&mut self, now: Instant, frame: AudioFrame) {
        if self.phase != Phase::Connected || !self.caller_listens {
            return;
        }
        let length = frame.payload.len();
        let header = rtc::rtp::Header {
            version: 2,
            marker: frame.marker,
            payload_type: self.payload_type,
            sequence_number: self.next_sequence,
            timestamp: frame.timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        match self.engine.send_rtp(now, header, frame.payload) {
            Ok(events) => {
                self.reports.sent(now, (self.next_sequence, frame.timestamp), length);
                self.next_sequence = self.next_sequence.wrapping_add(1);
                self.absorb(now, None, events);
            }
            Err(error) => tracing::debug!(%error, "audio was not sent"),
        }
    }

    /// Sends one text message, whole and in order.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub fn send_text(&mut self, now: Instant, channel: ChannelId, text: &str) -> Result<(), SendError> {
        if self.phase != Phase::Connected {
            return Err(SendError::NotConnected);
        }
        let limit = self.largest_text.min(description::MAX_MESSAGE_SIZE as usize);
        if text.len() > limit {
            return Err(SendError::TooLarge { bytes: text.len(), limit });
        }
        let backlog = self.engine.backlog(channel.0).ok_or(SendError::NoChannel)?;
        if backlog + text.len() > LARGEST_BACKLOG {
            return Err(SendError::Backlog);
        }
        let events = self.engine.send_text(now, channel.0, text).map_err(|_| SendError::NoChannel)?;
        self.absorb(now, None, events);
        Ok(())
    }

    /// Ends the call and tells the caller so. Does nothing on a call that is over.
    pub fn close(&mut self, now: Instant) {
        if self.phase != Phase::Closed {
            self.end(now, CloseReason::Local);
        }
    }

    /// Sends what goes to the caller through another relay than `relay` from now on: over the path through one that was
    /// heard last. True if there was such a path and the call had to move.
    ///
    /// For when `relay` is believed dead or about to stop. Nothing ends: its paths are kept and asked along, and the
    /// newest authenticated packet that comes through it moves the call back, so a false alarm mends itself. Until
    /// then neither checks nor nominations that come through `relay` make the call return, unless every other path is
    /// lost. The caller still sends through `relay`; it moves by itself, or at once with [`Transport::restart_ice`].
    ///
    /// A relay with a UDP and a TCP address has to be avoided by both.
    pub fn avoid_relay(&mut self, now: Instant, relay: SocketAddr) -> bool {
        self.phase != Phase::Closed && self.paths.avoid(now, relay)
    }

    /// The relay at this address is about to stop: once the caller has sent through other relays for a second, the paths
    /// through this one are released ([`Output::PathReleased`]) and not asked along any more, so that nothing holds the
    /// relay up. Until then it carries the call as before; to make the caller move, tell it to restart ICE.
    ///
    /// Checks that come through it afterwards are answered but prove nothing, so that a caller that goes on with its
    /// checks does not hold the relay up either. They do prove their path when the caller nominates it, or when the call
    /// goes well through no other relay any more.
    ///
    /// A relay with a UDP and a TCP address has to be left by both.
    pub fn leave_relay(&mut self, relay: SocketAddr) {
        self.paths.leave(relay);
    }

    /// The relay at this address does not stop after all, or is back: ends what [`Transport::leave_relay`] began.
    pub fn keep_relay(&mut self, relay: SocketAddr) {
        self.paths.stay(relay);
    }

    /// What is known about the call's packets.
    pub fn stats(&self) -> TransportStats {
        self.reports.stats
    }

    /// The path that carries the call: where audio is sent now.
    pub fn current_path(&self) -> Option<Path> {
        self.paths.current()
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let events = self.engine.handle_datagram(now, datagram);
        let reply = events.iter().filter_map(|event| match event {
            EngineEvent::Transmit(datagram) if (20..=22).contains(datagram.first()?) => {
                Some(datagram.clone())
            }
            _ => None,
        });
        let reply = reply.map(BytesMut::freeze).collect();
        let again = self.handshake.exchanged(now, datagram, reply);
        self.absorb(now, Some(Arrival::of_records(path, datagram)), events);
        self.absorb(
            now,
            None,
            again.into_iter().map(|datagram| EngineEvent::Transmit(datagram.into())).collect(),
        );
        self.observe_association(now);
    }

    /// Turns the engine's events into outputs; `from` is the datagram that caused them.
    fn absorb(&mut self, now: Instant, from: Option<Arrival>, events: Vec<EngineEvent>) {
        for event in events {
            match event {
                EngineEvent::Transmit(datagram) => {
                    if let Some(path) = self.paths.current() {
                        self.outputs.push_back(Output::Transmit { path, datagram: datagram.freeze() });
                    }
                }
                EngineEvent::Rtp(packet) => self.receive_audio(now, from, packet),
                EngineEvent::Reports(reports) => {
                    let newest = self.newest.control(now, from);
                    self.heard(now, from, newest);
                    self.reports.answered(now, &reports);
                }
                EngineEvent::ChannelOpened(id, label) => {
                    self.outputs.push_back(Output::ChannelOpened { channel: ChannelId(id), label });
                }
                EngineEvent::ChannelClosed(id) => {
                    self.outputs.push_back(Output::ChannelClosed { channel: ChannelId(id) });
                }
                EngineEvent::Text(id, text) => {
                    let newest = self.newest.record(now, from);
                    self.heard(now, from, newest);
                    self.outputs.push_back(Output::Text { channel: ChannelId(id), text });
                }
            }
        }
    }

    fn receive_audio(&mut self, now: Instant, from: Option<Arrival>, packet: rtc::rtp::Packet) {
        let sequence = packet.header.sequence_number;
        let ahead = self.newest.audio(now, sequence);
        self.heard(now, from, ahead);
        self.reports.received();
        if packet.header.payload_type != self.payload_type || packet.payload.is_empty() {
            return;
        }
        let captured = self.capture_time.and_then(|id| {
            let extensions = packet.header.extensions.iter();
            extensions
                .filter(|extension| extension.id == id)
                .find_map(|found| capture_time::read(&found.payload))
        });
        self.outputs.push_back(Output::Audio(AudioPacket {
            captured,
            sequence,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
            arrived: now,
            payload_type: packet.header.payload_type,
        }));
    }

    fn heard(&mut self, now: Instant, from: Option<Arrival>, newest: bool) {
        self.last_heard = now;
        if let Some(arrival) = from {
            self.paths.heard(now, arrival.path, newest);
        }
    }

    fn send_report(&mut self, now: Instant) {
        let Some(report) = self.reports.report(now).filter(|_| self.phase == Phase::Connected) else {
            return;
        };
        match self.engine.send_report(now, report) {
            Ok(events) => self.absorb(now, None, events),
            Err(error) => tracing::debug!(%error, "a sender report was not sent"),
        }
    }

    /// Notices the two turns of the DTLS association: established, and ended by the caller.
    fn observe_association(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Setup { .. }) && self.engine.is_connected() {
            self.phase = Phase::Connected;
            self.last_heard = now;
            self.asker.start(now);
            self.outputs.push_back(Output::Connected);
        }
        if self.phase != Phase::Closed && self.engine.is_closed_by_peer() {
            self.end(now, CloseReason::RemoteClosed);
        }
    }

    fn end(&mut self, now: Instant, reason: CloseReason) {
        let events = self.engine.close(now);
        self.absorb(now, None, events);
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed(reason));
    }
}
