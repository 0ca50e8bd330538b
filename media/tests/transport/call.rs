//! One call in virtual time: a caller, a transport, and a link with delay, loss and a NAT between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voxgate_media::transport::{
    AudioFrame, IceRestart, Identity, Output, Path, RelayCandidate, Transport, TransportConfig,
};
use voxgate_protocol::path::{ClientAddress, ClientTransport};

use crate::caller::Caller;

pub(crate) const UFRAG: &str = "1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abc";
pub(crate) const PASSWORD: &str = "thispasswordissecretenough";
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
pub(crate) const PACKET: Duration = Duration::from_millis(20);
pub(crate) const DELAY: Duration = Duration::from_millis(20);
/// Events of one `run`; a call that needs more spins.
const MOST_STEPS: usize = 200_000;

/// xorshift64*: reproducible, and good enough for dice.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 33) as usize % limit.max(1)
    }
}

enum Flight {
    ToServer(Path, Vec<u8>),
    ToCaller(Path, Vec<u8>),
}

pub(crate) struct Call {
    pub(crate) now: Instant,
    pub(crate) server: Transport,
    pub(crate) caller: Caller,
    /// What the server was offered.
    pub(crate) offer: String,
    pub(crate) answer: String,
    /// What the NAT makes of the caller's address; replies to an older one are lost.
    pub(crate) public: SocketAddr,
    /// Share of datagrams lost on the way, in percent.
    pub(crate) loss: usize,
    /// Relays that forward nothing.
    pub(crate) dead_relays: Vec<SocketAddr>,
    /// Relays that are reached over TCP.
    pub(crate) streams: Vec<SocketAddr>,
    /// The relay the caller sends its media through, whichever its ICE agent selected.
    pub(crate) route: Option<SocketAddr>,
    /// The caller's checks do not reach the server: tests make their own.
    pub(crate) mute_checks: bool,
    /// The caller's answers to checks do not reach the server.
    pub(crate) mute_answers: bool,
    /// A relay the caller never checks.
    pub(crate) unchecked: Option<SocketAddr>,
    /// The caller's cable is cut.
    pub(crate) cut: bool,
    /// Outputs other than datagrams, with their time.
    pub(crate) seen: Vec<(Instant, Output)>,
    /// Every datagram that reached the server.
    pub(crate) tapped: Vec<(Path, Vec<u8>)>,
    /// Every datagram the server sent, with its time.
    pub(crate) sent: Vec<(Instant, Path, Vec<u8>)>,
    /// When the first datagram reached the server, and on which path.
    pub(crate) first_arrival: Option<(Instant, Path)>,
    /// How often the server's timer ran.
    pub(crate) server_timeouts: u32,
    link: VecDeque<(Instant, Flight)>,
    dice: Dice,
}

pub(crate) fn relay() -> SocketAddr {
    "198.51.100.7:3478".parse().unwrap()
}

pub(crate) fn config() -> TransportConfig {
    TransportConfig {
        ufrag: UFRAG.to_owned(),
        password: PASSWORD.to_owned(),
        relays: vec![RelayCandidate::udp(relay())],
        setup_timeout: SETUP_TIMEOUT,
        silence_timeout: SILENCE_TIMEOUT,
    }
}

pub(crate) fn frame(number: u32) -> AudioFrame {
    AudioFrame { payload: Bytes::from(vec![number as u8; 40]), timestamp: number * 960, marker: number == 0 }
}

/// What the server brings to its `number`th restart.
pub(crate) fn ice_restart(number: u32, relays: &[RelayCandidate]) -> IceRestart {
    IceRestart {
        ufrag: format!("restart{number}"),
        password: format!("{PASSWORD}{number}"),
        relays: relays.to_vec(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity::generate().unwrap()
}

impl Call {
    pub(crate) fn new(with_channel: bool) -> Self {
        Self::with_offer(with_channel, |offer| offer)
    }

    /// A call whose offer is changed on its way to the server.
    pub(crate) fn with_offer(with_channel: bool, change: impl FnOnce(String) -> String) -> Self {
        Self::with_relays(with_channel, vec![RelayCandidate::udp(relay())], change)
    }

    /// A call through several relays.
    pub(crate) fn with_relays(
        with_channel: bool,
        relays: Vec<RelayCandidate>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let now = Instant::now();
        let mut caller = Caller::new(now, with_channel);
        let offer = change(caller.offer(now));
        let streams = relays.iter().filter(|relay| relay.transport == ClientTransport::Tcp);
        let streams = streams.map(|relay| relay.address).collect();
        let (server, answer) =
            Transport::accept(&offer, &TransportConfig { relays, ..config() }, &identity(), now).unwrap();
        // The engine speaks no TCP; the link makes a stream of what goes to these relays.
        caller.accept(now, answer.replace(" tcp ", " udp ").replace(" tcptype passive", ""));
        Self {
            now,
            server,
            caller,
            offer,
            answer,
            public: "203.0.113.20:41000".parse().unwrap(),
            loss: 0,
            dead_relays: Vec::new(),
            streams,
            route: None,
            mute_checks: false,
            mute_answers: false,
            unchecked: None,
            sent: Vec::new(),
            cut: false,
            seen: Vec::new(),
            tapped: Vec::new(),
            first_arrival: None,
            server_timeouts: 0,
            link: VecDeque::new(),
            dice: Dice::new(1),
        }
    }

    pub(crate) fn lossy(mut self, percent: usize, seed: u64) -> Self {
        self.loss = percent;
        self.dice = Dice::new(seed);
        self
    }

    /// A connected call with an open data channel.
    pub(crate) fn connected() -> Self {
        let mut call = Self::new(true);
        call.run_until(Duration::from_secs(5), |call| call.caller.channel_open && call.channel().is_some());
        call
    }

    pub(crate) fn channel(&self) -> Option<voxgate_media::transport::ChannelId> {
        self.seen.iter().find_map(|(_, output)| match output {
            Output::ChannelOpened { channel, .. } => Some(*channel),
            _ => None,
        })
    }

    pub(crate) fn has_seen(&self, wanted: &Output) -> bool {
        self.seen.iter().any(|(_, output)| output == wanted)
    }

    pub(crate) fn when(&self, wanted: &Output) -> Option<Instant> {
        self.seen.iter().find(|(_, output)| output == wanted).map(|(at, _)| *at)
    }

    pub(crate) fn received_audio(&self) -> Vec<&[u8]> {
        let audio = self.seen.iter().filter_map(|(_, output)| match output {
            Output::Audio(packet) => Some(&packet.payload[..]),
            _ => None,
        });
        audio.collect()
    }

    pub(crate) fn received_texts(&self) -> Vec<&str> {
        let texts = self.seen.iter().filter_map(|(_, output)| match output {
            Output::Text { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Both sides send a packet every 20 ms.
    pub(crate) fn talk(&mut self, packets: u32) {
        for number in 0..packets {
            self.caller.send_audio(self.now, b"from the caller", number * 960);
            self.server.send_audio(self.now, frame(number));
            self.run(PACKET);
        }
    }

    /// The caller restarts ICE and the server answers with `relays`. Fresh credentials for every `number`.
    pub(crate) fn restart(&mut self, number: u32, relays: &[RelayCandidate]) -> String {
        let offer = self.caller.restart_offer(self.now);
        let answer = self.server.restart_ice(self.now, &offer, &ice_restart(number, relays)).unwrap();
        self.caller.accept(self.now, answer.clone());
        self.offer = offer;
        answer
    }

    /// Runs for `span` of virtual time.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..MOST_STEPS {
            if !self.step(end) {
                return;
            }
        }
        panic!("the call spins");
    }

    /// Runs until `done`, for `span` at most.
    pub(crate) fn run_until(&mut self, span: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + span;
        for _ in 0..MOST_STEPS {
            if done(self) {
                return;
            }
            assert!(self.step(end), "not reached within {span:?} of virtual time");
        }
        panic!("the call spins");
    }

    /// Moves to the next event before `end`; false once `end` is reached.
    fn step(&mut self, end: Instant) -> bool {
        self.pump();
        let deadlines =
            [self.link.front().map(|(at, _)| *at), self.server.poll_timeout(), self.caller.poll_timeout()];
        let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        while self.link.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, flight)) = self.link.pop_front() else { break };
            match flight {
                Flight::ToServer(path, datagram) => {
                    self.first_arrival.get_or_insert((self.now, path));
                    self.server.handle_datagram(self.now, path, &datagram);
                    self.tapped.push((path, datagram));
                }
                Flight::ToCaller(path, datagram) if path.client.socket == self.public => {
                    self.caller.handle_datagram(self.now, path.relay, &datagram);
                }
                Flight::ToCaller(..) => {}
            }
        }
        if self.server.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.server.handle_timeout(self.now);
            self.server_timeouts += 1;
        }
        if self.caller.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.caller.handle_timeout(self.now);
        }
        self.pump();
        true
    }

    /// Moves what both sides have to say onto the link.
    pub(crate) fn pump(&mut self) {
        let arrival = self.now + DELAY;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { path, datagram } => {
                    self.sent.push((self.now, path, datagram.to_vec()));
                    if self.survives(path.relay) {
                        self.link.push_back((arrival, Flight::ToCaller(path, datagram.to_vec())));
                    }
                }
                other => self.seen.push((self.now, other)),
            }
        }
        for (relay, datagram) in self.caller.drain() {
            let is_muted = match (datagram[0], datagram[1]) {
                (0, 1) => self.mute_checks || self.unchecked == Some(relay),
                (1, 1) => self.mute_answers,
                _ => false,
            };
            let relay = self.route.filter(|_| datagram[0] > 3).unwrap_or(relay);
            if self.survives(relay) && !is_muted {
                let path = self.path(relay);
                self.link.push_back((arrival, Flight::ToServer(path, datagram)));
            }
        }
    }

    /// The way from where the caller is now through `relay`.
    pub(crate) fn path(&self, relay: SocketAddr) -> Path {
        let over_tcp = self.streams.contains(&relay);
        let client = if over_tcp { ClientAddress::tcp(self.public) } else { ClientAddress::udp(self.public) };
        Path { relay, client }
    }

    fn survives(&mut self, relay: SocketAddr) -> bool {
        !self.cut && !self.dead_relays.contains(&relay) && self.dice.below(100) >= self.loss
    }
}
