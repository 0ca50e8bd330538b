//! A caller made of the engine itself: a full ICE agent that offers, controls and is the DTLS client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::data_channel::RTCDataChannelId;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngineBuilder};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsTransportState, RTCIceCandidate,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

/// The caller's own address, behind whatever the link makes of it.
pub(crate) const PRIVATE: &str = "10.0.0.2:5000";
pub(crate) const PAYLOAD_TYPE: u8 = 109;
/// Content type of a DTLS handshake record.
const HANDSHAKE: u8 = 22;
/// Pause after which an unanswered flight is repeated (RFC 6347 section 4.2.4.1).
const FLIGHT_PAUSE: Duration = Duration::from_secs(1);
const SSRC: u32 = 0x00C0_FFEE;

pub(crate) struct Caller {
    pub(crate) connection: RTCPeerConnection,
    sender: RTCRtpSenderId,
    pub(crate) channel: Option<RTCDataChannelId>,
    sequence: u16,
    timers_ran: Option<Instant>,
    flight: Vec<(SocketAddr, Vec<u8>)>,
    repeat_flight: bool,
    flight_repeated: Option<Instant>,
    pub(crate) connected: bool,
    pub(crate) channel_open: bool,
    pub(crate) audio: Vec<rtc::rtp::Packet>,
    pub(crate) texts: Vec<String>,
}

impl Caller {
    pub(crate) fn new(now: Instant, with_channel: bool) -> Self {
        let opus = RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: vec![],
        };
        let mut media = MediaEngine::default();
        let codec = RTCRtpCodecParameters { rtp_codec: opus.clone(), payload_type: PAYLOAD_TYPE };
        media.register_codec(codec, RtpCodecKind::Audio).unwrap();
        let registry = configure_rtcp_reports(rtc::interceptor::Registry::new());
        let settings = SettingEngineBuilder::new()
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(262_144))
            .build();
        let builder = RTCPeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry);
        let mut connection = builder.build(now).unwrap();
        let coding = RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() };
        let encoding =
            RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: opus, ..Default::default() };
        let track =
            MediaStreamTrack::new("s".into(), "t".into(), "l".into(), RtpCodecKind::Audio, vec![encoding]);
        let sender = connection.add_track(track).unwrap();
        let channel = with_channel.then(|| connection.create_data_channel("oai-events", None).unwrap().id());
        Self {
            connection,
            sender,
            channel,
            sequence: 0,
            timers_ran: None,
            flight: Vec::new(),
            repeat_flight: false,
            flight_repeated: None,
            connected: false,
            channel_open: false,
            audio: Vec::new(),
            texts: Vec::new(),
        }
    }

    pub(crate) fn offer(&mut self, now: Instant) -> String {
        let private: SocketAddr = PRIVATE.parse().unwrap();
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: private.ip().to_string(),
                port: private.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let candidate = RTCIceCandidate::from(&candidate.new_candidate_host().unwrap()).to_json().unwrap();
        self.connection.add_local_candidate(candidate).unwrap();
        let offer = self.connection.create_offer(None).unwrap();
        self.connection.set_local_description(now, offer.clone()).unwrap();
        offer.sdp
    }

    /// An offer that restarts ICE.
    pub(crate) fn restart_offer(&mut self, now: Instant) -> String {
        let options = RTCOfferOptions { ice_restart: true };
        let offer = self.connection.create_offer(Some(options)).unwrap();
        self.connection.set_local_description(now, offer.clone()).unwrap();
        offer.sdp
    }

    pub(crate) fn accept(&mut self, now: Instant, answer: String) {
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.connection.set_remote_description(now, answer).unwrap();
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, relay: SocketAddr, datagram: &[u8]) {
        self.repeat_flight = self.repeat_flight || datagram[0] == HANDSHAKE;
        let transport = TransportContext {
            local_addr: PRIVATE.parse().unwrap(),
            peer_addr: relay,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let _ =
            self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(datagram) });
    }

    /// When to run the timers; an engine that is done may leave a deadline in the past.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let deadline = self.connection.poll_timeout();
        let engine = deadline.map(|deadline| {
            self.timers_ran.map_or(deadline, |ran| deadline.max(ran + Duration::from_millis(5)))
        });
        let flight = self.flight_repeated.filter(|_| !self.connected).map(|at| at + FLIGHT_PAUSE);
        engine.into_iter().chain(flight).min()
    }

    /// Runs the timers; a handshake that failed for good reports an error here.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.timers_ran = Some(now);
        let repeated = *self.flight_repeated.get_or_insert(now);
        if now >= repeated + FLIGHT_PAUSE {
            self.flight_repeated = Some(now);
            self.repeat_flight = true;
        }
        let _ = self.connection.handle_timeout(now);
    }

    pub(crate) fn send_audio(&mut self, now: Instant, payload: &'static [u8], timestamp: u32) {
        self.send_extended(now, payload, timestamp, None);
    }

    /// Sends a packet with a header extension: its name and its bytes.
    pub(crate) fn send_extended(
        &mut self,
        now: Instant,
        payload: &'static [u8],
        timestamp: u32,
        extension: Option<(u8, &'static [u8])>,
    ) {
        self.sequence += 1;
        let mut header = rtc::rtp::Header {
            version: 2,
            payload_type: PAYLOAD_TYPE,
            sequence_number: self.sequence,
            timestamp,
            ssrc: SSRC,
            ..Default::default()
        };
        if let Some((id, bytes)) = extension {
            header.set_extension(id, Bytes::from_static(bytes)).unwrap();
        }
        let packet = rtc::rtp::Packet { header, payload: Bytes::from_static(payload) };
        let track = self.connection.rtp_sender(self.sender).unwrap().track().track_id().to_string();
        // Not by the sender: it sends no extension that was not agreed on.
        let message = RTCMessage::RtpPacket(track, packet);
        self.connection.handle_write(TaggedRTCMessage { now, message }).unwrap();
    }

    pub(crate) fn send_text(&mut self, now: Instant, text: &str) {
        let channel = self.channel.unwrap();
        self.connection.data_channel(channel).unwrap().send_text(now, text).unwrap();
    }

    pub(crate) fn association_is_closed(&mut self) -> bool {
        let sender = self.connection.rtp_sender(self.sender).unwrap();
        sender.transport().unwrap().state() == RTCDtlsTransportState::Closed
    }

    /// Takes everything the engine has to say; returns datagrams with their destination.
    pub(crate) fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        loop {
            let mut progress = false;
            while let Some(event) = self.connection.poll_event() {
                progress = true;
                match event {
                    RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                        self.connected |= state == RTCPeerConnectionState::Connected;
                    }
                    RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(_)) => {
                        self.channel_open = true;
                    }
                    _ => {}
                }
            }
            while let Some(read) = self.connection.poll_read() {
                progress = true;
                match read.message {
                    RTCMessage::RtpPacket(_, packet) => self.audio.push(packet),
                    RTCMessage::DataChannelMessage(_, message) => {
                        self.texts.push(String::from_utf8(message.data.to_vec()).unwrap());
                    }
                    _ => {}
                }
            }
            if !progress {
                break;
            }
        }
        let mut datagrams = Vec::new();
        while let Some(write) = self.connection.poll_write() {
            datagrams.push((write.transport.peer_addr, write.message.to_vec()));
        }
        self.repeat_lost_flight(datagrams)
    }

    /// A DTLS client repeats its flight when the server does and when nothing comes; this engine would fall silent.
    fn repeat_lost_flight(
        &mut self,
        mut datagrams: Vec<(SocketAddr, Vec<u8>)>,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let is_handshake = |datagram: &(SocketAddr, Vec<u8>)| (20..=22).contains(&datagram.1[0]);
        if datagrams.iter().any(is_handshake) {
            self.flight = datagrams.iter().filter(|datagram| is_handshake(datagram)).cloned().collect();
        } else if self.repeat_flight && !self.connected {
            datagrams.extend(self.flight.iter().cloned());
        }
        self.repeat_flight = false;
        datagrams
    }
}
