use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use voxgate_media::encode::EncoderConfig;
use voxgate_media::transport::{Identity, RelayCandidate};
use voxgate_policy::admission::{Admission, SessionLimits};
use voxgate_policy::decision::Obligations;
use voxgate_policy::directory::Caller;
use voxgate_policy::guardrail::OnDemand;
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::{ModelPattern, Route, Target};
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::bridge::{BridgeTraits, TurnOwner};
use voxgate_protocol::id::{NodeIndex, RelayId, SessionId};
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::trace_context::TraceContext;
use voxgate_providers::bridge::{BridgeEnds, bridge};
use voxgate_realtime::ApiError;
use voxgate_relay::tunnel::{Endpoint, FrameHeader, Kind, Lane, Outgoing, Side, TunnelKey};
use voxgate_relay::ufrag::UfragKey;
use voxgate_signaling::host::SessionRequest;
use voxgate_signaling::limits::desk::LimitLease;
use voxgate_signaling::live::{LiveSessions, Presence};
use voxgate_signaling::permit::Places;
use voxgate_telemetry::session::facts::SessionFacts;

use super::super::{Command, Restart, Start};
use super::*;
use crate::bridges::{Bridges, Connected, LastTurn, Line, Ringer};
use crate::latency::LatencyDesk;
use crate::permissions::Permissions;
use crate::revision::Revision;
use crate::routing::Way;
use crate::sealing::Sealing;
use crate::webhook::Webhooks;

mod check;
mod mistakes;
mod plans;
mod revocation;
mod sidebands;

const NODE: NodeIndex = NodeIndex(1);
const BOOT: Duration = Duration::from_secs(1_800_000_000);
const PASSWORD: &str = "0123456789abcdef0123456789abcdef";
const OFFER: &str = include_str!("../../../../media/corpus/sdp/chrome-audio-data.sdp");
const BEAT: Duration = Duration::from_millis(50);

const fn relay_id(index: usize) -> RelayId {
    RelayId(index as u32 + 2)
}

/// Where clients reach a relay; nothing listens there.
fn public(index: usize) -> SocketAddr {
    ([198, 51, 100, index as u8 + 1], 3478).into()
}

fn client(port: u16) -> ClientAddress {
    ClientAddress::udp(([203, 0, 113, 9], port).into())
}

fn tunnel_key(index: usize) -> TunnelKey {
    TunnelKey::new(1, [index as u8 + 1; 32])
}

fn revision() -> Arc<Revision> {
    Arc::new(Revision {
        name: RevisionName::default(),
        encoder: EncoderConfig::default(),
        interruption: None,
        max_session: Duration::from_secs(3_600),
        setup_timeout: Duration::from_secs(30),
        silence_timeout: Duration::from_secs(30),
        guardrails: Arc::default(),
        judges: Arc::default(),
        on_demand: OnDemand::default(),
        webhooks: Webhooks::deaf(),
        permissions: Permissions::unrestricted(),
        pricing: Arc::new(crate::money::Pricing::built_in()),
        latency: LatencyDesk::idle(),
        bridges: Bridges::start(&BTreeMap::new()).unwrap(),
    })
}

/// One thread of one life of a relay, on a socket of its own.
struct FakeRelay {
    endpoint: Endpoint,
    socket: std::net::UdpSocket,
}

impl FakeRelay {
    fn new(index: usize, life: u32, lane: u8, start: Instant) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let boot = BOOT + Duration::from_secs(60 * u64::from(life));
        let side = Side::Relay { epoch: life };
        let endpoint = Endpoint::new(side, relay_id(index), NODE, Lane(lane), tunnel_key(index), start, boot);
        Self { endpoint, socket }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// What has come since the last time.
    fn received(&mut self, now: Instant) -> Vec<(FrameHeader, Vec<u8>)> {
        let mut buffer = [0; 2_000];
        let mut frames = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let frame = self.endpoint.open(now, &buffer[..length]).unwrap();
            frames.push((frame.header, frame.payload.to_vec()));
        }
        frames
    }
}

/// A switchboard in virtual time.
struct World {
    now: Instant,
    switchboard: Switchboard,
    sealing: Arc<Sealing>,
    places: Places,
    /// The providers' ends of the calls' bridges.
    bridges: Vec<BridgeEnds>,
}

impl World {
    async fn new(relays: usize) -> Self {
        let now = Instant::now();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.writable().await.unwrap();
        let edges = (0..relays).map(|index| EdgeConfig {
            relay: relay_id(index),
            node: NODE,
            candidates: vec![RelayCandidate::udp(public(index)), RelayCandidate::tcp(public(index))],
            tunnel_ip: [127, 0, 0, 1].into(),
            key: tunnel_key(index),
            since_unix_epoch: BOOT,
        });
        let config = TransceiverConfig {
            identity: Identity::generate().unwrap(),
            metrics: Arc::new(Metrics::new().unwrap()),
            replay: None,
            money: None,
        };
        let ufrag_key = UfragKey::new(0, [7; 16], 0).unwrap();
        Self {
            now,
            switchboard: Switchboard::new(Arc::new(socket), edges.collect(), config, now),
            sealing: Arc::new(Sealing::new(NODE, 0, ufrag_key)),
            places: Places::new(Admission::new(SessionLimits { total: 1_000, per_key: 1_000 })),
            bridges: Vec::new(),
        }
    }

    /// A frame of a relay arrives.
    fn deliver(&mut self, relay: &mut FakeRelay, kind: Kind, client: Option<ClientAddress>, payload: &[u8]) {
        let mut bytes = Vec::new();
        let outgoing = Outgoing { kind, session: 0, client, traffic_class: 0, since: None, payload };
        relay.endpoint.seal(self.now, &outgoing, &mut bytes).unwrap();
        self.switchboard.begin_turn(self.now);
        self.switchboard.handle_datagram(self.now, relay.address(), &bytes);
        self.switchboard.handle_relays(self.now);
    }

    fn hello(&mut self, relay: &mut FakeRelay) {
        self.deliver(relay, Kind::Hello { draining: false }, None, &[]);
    }

    /// These relays say hello every 50 ms for this long.
    fn beat(&mut self, relays: &mut [&mut FakeRelay], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += BEAT;
            for relay in &mut *relays {
                self.hello(relay);
            }
        }
    }

    /// Starts a call of the first key; its answer.
    fn call(&mut self, slot: Slot) -> String {
        let (reply, mut answer) = oneshot::channel();
        let tag = slot as u32 + 1;
        let (ringer, wake) = Ringer::new(|| {});
        let (near, far) = bridge(TRAITS, wake);
        self.bridges.push(far);
        let start = Start {
            slot,
            call_id: call_id(slot),
            offer: OFFER.to_owned(),
            request: request(&self.places),
            revision: revision(),
            bridge: Connected {
                line: Line { bridge: near, ringer },
                way: Way::alone(Target::new("p", None)),
                last_turn: LastTurn::default(),
                successors: None,
                ear: None,
                ring: Arc::new(|| {}),
            },
            expires_at_unix: BOOT.as_secs() + 3_600,
            ends_at: self.now + Duration::from_secs(3_600),
            max_session: Duration::from_secs(3_600),
            seed: slot,
            ufrag: self.sealing.seal(tag, 0, BOOT).unwrap(),
            tag,
            password: PASSWORD.to_owned(),
            reply,
        };
        self.switchboard.handle_command(self.now, Command::Start(Box::new(start)));
        answer.try_recv().unwrap().unwrap()
    }

    fn restart(&mut self, slot: Slot, key: KeyIndex, offer: &str) -> Result<String, ApiError> {
        let (reply, mut answer) = oneshot::channel();
        let restart = Restart {
            call_id: call_id(slot),
            key,
            offer: offer.to_owned(),
            password: "ffffffffffffffffffffffffffffffff".to_owned(),
            sealing: Arc::clone(&self.sealing),
            reply,
        };
        self.switchboard.handle_command(self.now, Command::RestartIce(Box::new(restart)));
        answer.try_recv().unwrap()
    }

    /// A client's check of the call that this answer began arrives.
    fn check(&mut self, relay: &mut FakeRelay, answer: &str, from: ClientAddress) {
        let check = check::binding_request(answer, OFFER);
        self.deliver(relay, Kind::Up, Some(from), &check);
    }

    fn timeout(&mut self, slot: Slot) {
        let now = self.now;
        self.switchboard.work(now, slot, |call, sink| call.handle_timeout(now, sink));
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.switchboard.config.metrics.tunnel_drops.with_label_values(&[reason]).get()
    }

    fn failovers(&self, cause: &str) -> u64 {
        self.switchboard.config.metrics.relay_failovers.with_label_values(&[cause]).get()
    }
}

const TRAITS: BridgeTraits = BridgeTraits {
    input_rate: SampleRate::HZ_16000,
    output_rate: SampleRate::HZ_16000,
    turn_owner: TurnOwner::Gateway,
    truncates: true,
    transcribes: false,
};

fn presence() -> Presence {
    LiveSessions::default().enter(SessionFacts {
        model: "m".to_owned(),
        transport: "webrtc",
        ..SessionFacts::new(SessionId::from("sess_1"), TraceContext::begin(None, (1, 1)))
    })
}

fn request(places: &Places) -> SessionRequest {
    SessionRequest {
        session_id: SessionId::from("sess_1"),
        revision: RevisionName::default(),
        settings: SessionSettings::default(),
        route: Route::to(ModelPattern::Exact("m".to_owned()), Target::new("p", None)),
        permit: places.take(KeyIndex(0)).unwrap(),
        presence: presence(),
        limits: LimitLease::unlimited(SessionId::from("sess_1")),
        ticket: None,
        resumed: None,
        allowed_events: None,
        caller: Caller::default(),
        obligations: Obligations::default(),
        recording: None,
    }
}

fn call_id(slot: Slot) -> CallId {
    CallId::from(format!("rtc_{slot}"))
}

/// The UDP candidates of an answer.
fn offered(answer: &str) -> Vec<SocketAddr> {
    let lines = answer.lines().filter(|line| line.starts_with("a=candidate:") && line.contains(" udp "));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            format!("{}:{}", fields[4], fields[5]).parse().unwrap()
        })
        .collect()
}

/// An offer of the same client with new ICE credentials.
fn restart_offer(number: u32) -> String {
    let lines = OFFER.lines().map(|line| {
        if line.starts_with("a=ice-ufrag:") {
            format!("a=ice-ufrag:again{number}\r\n")
        } else if line.starts_with("a=ice-pwd:") {
            format!("a=ice-pwd:again{number}againagainagainagain\r\n")
        } else {
            format!("{line}\r\n")
        }
    });
    lines.collect()
}
