//! The WebRTC connection of a caller: one Opus track each way and two data channels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, configure_rtcp_reports,
};

use crate::error::{CallError, media};
use crate::hurry::HurriedRuntime;
use crate::stream::Bridges;
use crate::timings::{Step, TimingCard};

/// The payload type offered for Opus, the one browsers use.
pub(crate) const OPUS_PAYLOAD_TYPE: u8 = 111;

/// The data channel of the Realtime API.
pub(crate) const EVENTS_LABEL: &str = "oai-events";

/// The data channel on which a voxgate gateway tells what a turn took.
pub(crate) const VOXGATE_LABEL: &str = "voxgate";

/// Between two rounds of ICE checks: the pace of RFC 8445 section 14.2. The engine's own is 200 ms, which a
/// set-up pays in full, since a path is nominated in the round after the one that found it.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks of one path before it is given up: three seconds of them.
const MOST_CHECKS: u16 = 60;

/// A connection that was offered or is up.
pub(crate) struct Peer {
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) track: Arc<dyn TrackLocal>,
    pub(crate) ssrc: u32,
    pub(crate) events: Arc<dyn DataChannel>,
    pub(crate) voxgate: Option<Arc<dyn DataChannel>>,
    pub(crate) state: watch::Receiver<RTCPeerConnectionState>,
    /// Tracks of the other side, normally one.
    pub(crate) remote_tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    /// What stands between the engine and the relay, if anything.
    pub(crate) bridges: Bridges,
}

impl Peer {
    /// Opens sockets and prepares track and channels; nothing is sent.
    pub(crate) async fn open(
        timings: TimingCard,
        voxgate_channel: bool,
        local: Vec<SocketAddr>,
    ) -> Result<Self, CallError> {
        let stage = "opening sockets";
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let (tracks_tx, remote_tracks) = mpsc::channel(4);
        let runtime = HurriedRuntime::new();
        let handler = Handler { state: state_tx, tracks: tracks_tx, timings, runtime: runtime.clone() };
        let mut engine = MediaEngine::default();
        engine.register_codec(opus_parameters(), RtpCodecKind::Audio).map_err(media(stage))?;
        let settings = SettingEngineBuilder::new()
            .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(MOST_CHECKS))
            .build();
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(runtime))
            .with_udp_addrs(local);
        let connection = Box::pin(builder.build()).await.map_err(media(stage))?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let ssrc = getrandom::u32().map_err(|_| CallError::Randomness)?;
        let track: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(microphone_track(ssrc)));
        connection.add_track(Arc::clone(&track)).await.map_err(media(stage))?;
        let events = connection.create_data_channel(EVENTS_LABEL, None).await.map_err(media(stage))?;
        let voxgate = if voxgate_channel {
            Some(connection.create_data_channel(VOXGATE_LABEL, None).await.map_err(media(stage))?)
        } else {
            None
        };
        let bridges = Bridges::default();
        Ok(Self { connection, track, ssrc, events, voxgate, state, remote_tracks, bridges })
    }

    /// The offer, without candidates: the gateway learns the caller's address from its packets, so there is
    /// nothing to wait for.
    pub(crate) async fn offer(&self) -> Result<String, CallError> {
        let stage = "making the offer";
        let offer = self.connection.create_offer(None).await.map_err(media(stage))?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await.map_err(media(stage))?;
        Ok(sdp)
    }

    pub(crate) async fn accept(&self, answer: String) -> Result<(), CallError> {
        let stage = "reading the answer";
        let answer = RTCSessionDescription::answer(answer).map_err(media(stage))?;
        self.connection.set_remote_description(answer).await.map_err(media(stage))
    }

    /// Waits until keys are exchanged.
    pub(crate) async fn connected(&mut self) -> Result<(), CallError> {
        let lost = |reason: String| CallError::Media { stage: "connecting", reason };
        let up = |state: &RTCPeerConnectionState| {
            use RTCPeerConnectionState::{Closed, Connected, Failed};
            matches!(state, Connected | Failed | Closed)
        };
        let state = *self.state.wait_for(up).await.map_err(|error| lost(error.to_string()))?;
        if state == RTCPeerConnectionState::Connected { Ok(()) } else { Err(lost(state.to_string())) }
    }
}

/// Every interface, and loopback besides: the engine leaves it out, but a gateway on the same machine is the
/// first one anybody calls.
pub(crate) fn local_addresses(ipv6: bool) -> Vec<SocketAddr> {
    let any: [IpAddr; 4] = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    any.into_iter().filter(|address| ipv6 || address.is_ipv4()).map(|address| (address, 0).into()).collect()
}

/// Where the engine is when bridges stand between it and the relay: on loopback only.
pub(crate) fn bridged_addresses() -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, 0).into()]
}

/// RFC 7587 section 7: always two channels in SDP, whatever is sent.
fn opus_codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    }
}

fn opus_parameters() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters { rtp_codec: opus_codec(), payload_type: OPUS_PAYLOAD_TYPE }
}

fn microphone_track(ssrc: u32) -> MediaStreamTrack {
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: opus_codec(),
        ..Default::default()
    };
    let name = || "microphone".to_owned();
    MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Audio, vec![coding])
}

struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    timings: TimingCard,
    runtime: HurriedRuntime,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            self.timings.stamp(Step::IceConnected, Instant::now());
            self.runtime.hurry();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.timings.stamp(Step::DtlsConnected, Instant::now());
            self.runtime.hurry();
        }
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // The driver calls this and must not wait; more tracks than a call has are ignored.
        let _ = self.tracks.try_send(track);
    }
}
