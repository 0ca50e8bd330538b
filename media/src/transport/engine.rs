//! The one module that drives the WebRTC engine (crate `rtc`): DTLS, SRTP, SCTP and data channels.
//!
//! The engine's own ICE agent answers a first nominating check late, never follows a caller to a new address and
//! believes every source once a pair is selected. So it gets no network: at birth it is walked through one check
//! between two placeholder addresses, and from then on it only sees datagrams the transport vouches for.

mod feedback;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::data_channel::RTCDataChannelId;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::{ReceiverReportBuilder, Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngineBuilder};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidate,
    RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::description::{MAX_MESSAGE_SIZE, OPUS_PARAMETERS};
use super::identity::Identity;
use super::reports::reception_reports;
use super::stun;

/// Where the engine believes to be and to speak to.
const PLACEHOLDER_LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
const PLACEHOLDER_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10);
/// Rounds of check and answer until the engine has selected its pair; it takes two.
const INTRODUCTION_ROUNDS: usize = 4;
/// Application-ward of every interceptor of the engine, which end at 13 000.
const FEEDBACK_SLOT: usize = 20_000;
/// Calls of the engine's timer per wake-up; a deadline that stays in the past must not spin.
const TIMER_ROUNDS: usize = 8;

/// Why the engine refused, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct EngineError(String);

impl From<rtc::shared::error::Error> for EngineError {
    fn from(error: rtc::shared::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// What one engine is born with.
pub(super) struct EngineConfig<'a> {
    /// From [`super::description::canonical_offer`].
    pub(super) offer: String,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    pub(super) peer_ufrag: &'a str,
    pub(super) peer_password: &'a str,
    pub(super) identity: &'a Identity,
}

/// What the engine wants done or has seen, in its order.
pub(super) enum EngineEvent {
    Transmit(BytesMut),
    Rtp(rtc::rtp::Packet),
    /// Reception reports of the peer, about whatever stream.
    Reports(Vec<rtc::rtcp::reception_report::ReceptionReport>),
    ChannelOpened(RTCDataChannelId, String),
    ChannelClosed(RTCDataChannelId),
    Text(RTCDataChannelId, String),
}

pub(super) struct Engine {
    connection: RTCPeerConnection,
    sender: RTCRtpSenderId,
    deadline: Option<Instant>,
}

impl Engine {
    /// Negotiates the canonical offer and leaves the engine waiting for the peer's DTLS handshake.
    pub(super) fn accept(config: &EngineConfig<'_>, now: Instant) -> Result<Self, EngineError> {
        let mut connection = build(config, now)?;
        let offer = RTCSessionDescription::offer(config.offer.clone())?;
        connection.set_remote_description(now, offer)?;
        let sender = connection.add_track(track(config))?;
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: PLACEHOLDER_LOCAL.ip().to_string(),
                port: PLACEHOLDER_LOCAL.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        connection.add_local_candidate(RTCIceCandidate::from(&candidate.new_candidate_host()?).to_json()?)?;
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer)?;
        let mut engine = Self { connection, sender, deadline: None };
        engine.introduce(config, now)?;
        Ok(engine)
    }

    /// Plays the controlling agent for the engine's ICE agent until that has a selected pair.
    fn introduce(&mut self, config: &EngineConfig<'_>, now: Instant) -> Result<(), EngineError> {
        let username = format!("{}:{}", config.ufrag, config.peer_ufrag);
        for round in 0..INTRODUCTION_ROUNDS {
            let check = stun::nominating_check([round as u8; 12], &username, config.password);
            self.feed(now, &check);
            let mut answered = false;
            for event in self.drain(now) {
                let EngineEvent::Transmit(datagram) = event else { continue };
                if let Some(transaction) = stun::binding_request_transaction(&datagram) {
                    let success = stun::binding_success(transaction, PLACEHOLDER_LOCAL, config.peer_password);
                    self.feed(now, &success);
                    self.drain(now);
                } else {
                    answered = true;
                }
            }
            if answered {
                return Ok(());
            }
        }
        Err(EngineError("the ICE agent selected no pair".to_owned()))
    }

    fn feed(&mut self, now: Instant, datagram: &[u8]) {
        let transport = TransportContext {
            local_addr: PLACEHOLDER_LOCAL,
            peer_addr: PLACEHOLDER_PEER,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        // The engine reports nothing here: a datagram it cannot use is dropped and logged by itself.
        let _ =
            self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(datagram) });
    }

    /// Takes a DTLS, SRTP or SRTCP datagram from a proven path.
    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Vec<EngineEvent> {
        self.feed(now, datagram);
        self.drain_network(now)
    }

    /// Runs timers that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        for _ in 0..TIMER_ROUNDS {
            if self.deadline.is_none_or(|deadline| deadline > now) {
                break;
            }
            let _ = self.connection.handle_timeout(now);
            events.append(&mut self.drain_network(now));
        }
        // A deadline the engine leaves in the past would make the loop spin.
        self.deadline = self.deadline.map(|deadline| deadline.max(now + Duration::from_millis(1)));
        events
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The DTLS handshake is complete.
    pub(super) fn is_connected(&mut self) -> bool {
        self.dtls_state() == Some(RTCDtlsTransportState::Connected)
    }

    /// The peer ended the DTLS association. The engine raises no event for this.
    pub(super) fn is_closed_by_peer(&mut self) -> bool {
        self.dtls_state() == Some(RTCDtlsTransportState::Closed)
    }

    fn dtls_state(&mut self) -> Option<RTCDtlsTransportState> {
        let sender = self.connection.rtp_sender(self.sender)?;
        sender.transport().map(|transport| transport.state())
    }

    pub(super) fn send_rtp(
        &mut self,
        now: Instant,
        header: rtc::rtp::Header,
        payload: Bytes,
    ) -> Result<Vec<EngineEvent>, EngineError> {
        if let Some(mut sender) = self.connection.rtp_sender(self.sender) {
            sender.write_rtp(now, rtc::rtp::Packet { header, payload })?;
        }
        Ok(self.drain_network(now))
    }

    pub(super) fn send_report(
        &mut self,
        now: Instant,
        report: rtc::rtcp::sender_report::SenderReport,
    ) -> Result<Vec<EngineEvent>, EngineError> {
        if let Some(mut sender) = self.connection.rtp_sender(self.sender) {
            sender.write_rtcp(now, vec![Box::new(report)])?;
        }
        Ok(self.drain_network(now))
    }

    /// Bytes given to the channel and not yet acknowledged; `None` without such a channel.
    pub(super) fn backlog(&mut self, channel: RTCDataChannelId) -> Option<usize> {
        self.connection.data_channel(channel).map(|channel| channel.outstanding_bytes())
    }

    pub(super) fn send_text(
        &mut self,
        now: Instant,
        channel: RTCDataChannelId,
        text: &str,
    ) -> Result<Vec<EngineEvent>, EngineError> {
        if let Some(mut channel) = self.connection.data_channel(channel) {
            channel.send_text(now, text)?;
        }
        Ok(self.drain_network(now))
    }

    /// Ends the association; the events carry the farewell datagrams.
    pub(super) fn close(&mut self, now: Instant) -> Vec<EngineEvent> {
        // The engine stamps its farewell with the last instant it saw.
        let _ = self.connection.handle_timeout(now);
        let mut events = self.drain_network(now);
        let _ = self.connection.close();
        events.append(&mut self.drain_network(now));
        self.deadline = None;
        events
    }

    /// Drains the engine and drops its own connectivity checks, which are for nobody.
    fn drain_network(&mut self, now: Instant) -> Vec<EngineEvent> {
        let mut events = self.drain(now);
        events.retain(|event| !matches!(event, EngineEvent::Transmit(datagram) if is_stun(datagram)));
        events
    }

    /// Events and reads until both are empty, since each can raise the other; then writes; then the deadline.
    fn drain(&mut self, now: Instant) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        loop {
            let mut progress = false;
            while let Some(event) = self.connection.poll_event() {
                progress = true;
                if let RTCPeerConnectionEvent::OnDataChannel(event) = event {
                    self.channel_event(event, &mut events);
                }
            }
            while let Some(read) = self.connection.poll_read() {
                progress = true;
                read_event(read.message, &mut events);
            }
            if !progress {
                break;
            }
        }
        while let Some(write) = self.connection.poll_write() {
            events.push(EngineEvent::Transmit(write.message));
        }
        self.deadline = self.connection.poll_timeout().map(|deadline| deadline.max(now));
        events
    }

    fn channel_event(&mut self, event: RTCDataChannelEvent, events: &mut Vec<EngineEvent>) {
        match event {
            RTCDataChannelEvent::OnOpen(id) => {
                let label = self.connection.data_channel(id).map(|channel| channel.label().to_owned());
                events.push(EngineEvent::ChannelOpened(id, label.unwrap_or_default()));
            }
            RTCDataChannelEvent::OnClose(id) => events.push(EngineEvent::ChannelClosed(id)),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// RFC 7983 section 7.
fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

fn read_event(message: RTCMessage, events: &mut Vec<EngineEvent>) {
    match message {
        RTCMessage::RtpPacket(_, packet) => events.push(EngineEvent::Rtp(packet)),
        RTCMessage::RtcpPacket(_, packets) => {
            events.push(EngineEvent::Reports(reception_reports(&packets)));
        }
        RTCMessage::DataChannelMessage(id, message) if message.is_string => {
            if let Ok(text) = String::from_utf8(message.data.to_vec()) {
                events.push(EngineEvent::Text(id, text));
            }
        }
        // Binary messages are no part of the Realtime protocol.
        _ => {}
    }
}

fn build(config: &EngineConfig<'_>, now: Instant) -> Result<RTCPeerConnection, EngineError> {
    let codec = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: config.payload_type };
    let mut media = MediaEngine::default();
    media.register_codec(codec, RtpCodecKind::Audio)?;
    let settings = SettingEngineBuilder::new()
        .with_ice_credentials(config.ufrag.to_owned(), config.password.to_owned())
        .with_answering_dtls_role(RTCDtlsRole::Server)
        // The engine takes the client's preference, so only what we want is listed: every browser offers AEAD.
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        ])
        // Zero switches the agent's own verdicts off: the transport decides when a caller is lost.
        .with_ice_timeouts(Some(Duration::ZERO), Some(Duration::ZERO), Some(Duration::ZERO))
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(true)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_SIZE))
        .build();
    // Sender reports are the transport's own, because it reads the answers to them.
    let registry = Registry::new()
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::Custom(FEEDBACK_SLOT), feedback::Feedback::default());
    let configuration =
        RTCConfigurationBuilder::new().with_certificates(vec![config.identity.certificate().clone()]).build();
    let builder = RTCPeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_setting_engine(settings)
        .with_interceptor_registry(registry);
    Ok(builder.build(now)?)
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: OPUS_PARAMETERS.to_owned(),
        rtcp_feedback: vec![],
    }
}

fn track(config: &EngineConfig<'_>) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(config.ssrc), ..Default::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: opus(), ..Default::default() };
    let (stream, track) = ("voxgate".to_owned(), "voxgate-audio".to_owned());
    MediaStreamTrack::new(stream, track, String::new(), RtpCodecKind::Audio, vec![encoding])
}
