//! The WebRTC side: hears a question, answers with a tone.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use opus::{Application, Channels, Decoder, Encoder};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voxgate_caller::audible::first_audible;
use voxgate_protocol::audio::SampleRate;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, SettingEngineBuilder,
};

use super::Seen;

/// A client event upon which the stand-in says that the relay of the call is dead.
pub(crate) const LOSE_RELAY: &str = "test.lose_relay";

pub(crate) const ANSWER_TONE_HZ: f64 = 500.0;
const SSRC: u32 = 77;
const FRAME: usize = 960;
/// Silent frames after which a question is over: 200 ms.
const ENDPOINT_FRAMES: u32 = 10;
/// 400 ms.
const ANSWER_FRAMES: u32 = 20;

/// What the stand-in does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Events, a tone and a measured turn.
    Answer,
    /// Sends every packet back.
    Echo,
    /// Says `session.created` and nothing more.
    Mute,
    /// A `response.done` with status `failed`.
    Fail,
}

struct Answering {
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
    gathered: mpsc::Sender<()>,
    track: Arc<dyn TrackLocal>,
    events: Arc<OnceLock<Arc<dyn DataChannel>>>,
    voxgate: Arc<OnceLock<Arc<dyn DataChannel>>>,
}

/// An answering peer and its answer.
pub(crate) async fn answer(
    offer: String,
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
) -> (Arc<dyn PeerConnection>, String) {
    let (gathered, mut gathering) = mpsc::channel(1);
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
        codec: opus_codec(),
        ..Default::default()
    };
    let name = || "agent".to_owned();
    let track = MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Audio, vec![coding]);
    let track: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(track));
    let handler = Answering {
        behaviour,
        seen,
        gathered,
        track: Arc::clone(&track),
        events: Arc::default(),
        voxgate: Arc::default(),
    };
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: opus_codec(), payload_type: 111 };
    engine.register_codec(codec, RtpCodecKind::Audio).unwrap();
    let settings = SettingEngineBuilder::new().with_answering_dtls_role(RTCDtlsRole::Server).build();
    let builder = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_setting_engine(settings)
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec!["127.0.0.1:0"]);
    let connection = Box::pin(builder.build()).await.unwrap();
    connection.add_track(track).await.unwrap();
    connection.set_remote_description(RTCSessionDescription::offer(offer).unwrap()).await.unwrap();
    let answer = connection.create_answer(None).await.unwrap();
    connection.set_local_description(answer).await.unwrap();
    gathering.recv().await.unwrap();
    let sdp = connection.local_description().await.unwrap().sdp;
    (Arc::new(connection), sdp)
}

/// The answer to an offer that restarts ICE.
pub(crate) async fn answer_again(connection: &dyn PeerConnection, offer: String) -> String {
    connection.set_remote_description(RTCSessionDescription::offer(offer).unwrap()).await.unwrap();
    let answer = connection.create_answer(None).await.unwrap();
    connection.set_local_description(answer).await.unwrap();
    connection.local_description().await.unwrap().sdp
}

fn opus_codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Answering {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let label = channel.label().await.unwrap();
        let (seen, voxgate) = (Arc::clone(&self.seen), Arc::clone(&self.voxgate));
        if label == "voxgate" {
            let _ = self.voxgate.set(Arc::clone(&channel));
        } else {
            let _ = self.events.set(Arc::clone(&channel));
        }
        tokio::spawn(async move {
            while let Some(event) = channel.poll().await {
                match event {
                    DataChannelEvent::OnOpen if label == "oai-events" => {
                        send(&channel, json!({"type": "session.created", "session": {}})).await;
                    }
                    DataChannelEvent::OnMessage(message) => {
                        let json: Value = serde_json::from_slice(&message.data).unwrap();
                        if json["type"] == LOSE_RELAY {
                            send(voxgate.get().unwrap(), json!({"type": "relay.lost"})).await;
                        }
                        let mut seen = seen.lock().unwrap();
                        if label == "voxgate" {
                            seen.reports.push(json)
                        } else {
                            seen.client_events.push(json)
                        }
                    }
                    _ => {}
                }
            }
        });
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let conversation = Conversation {
            behaviour: self.behaviour,
            track: Arc::clone(&self.track),
            events: Arc::clone(&self.events),
            voxgate: Arc::clone(&self.voxgate),
        };
        tokio::spawn(conversation.listen(track));
    }
}

async fn send(channel: &Arc<dyn DataChannel>, event: Value) {
    channel.send_text(&event.to_string()).await.unwrap();
}

struct Conversation {
    behaviour: Behaviour,
    track: Arc<dyn TrackLocal>,
    events: Arc<OnceLock<Arc<dyn DataChannel>>>,
    voxgate: Arc<OnceLock<Arc<dyn DataChannel>>>,
}

impl Conversation {
    async fn listen(self, track: Arc<dyn TrackRemote>) {
        let mut decoder = Decoder::new(48_000, Channels::Mono).unwrap();
        let (mut speaking, mut silent_frames) = (false, 0);
        while let Some(event) = track.poll().await {
            let TrackRemoteEvent::OnRtpPacket(mut packet) = event else { continue };
            if self.behaviour == Behaviour::Echo {
                packet.header.ssrc = SSRC;
                packet.header.extension = false;
                self.track.write_rtp(packet).await.unwrap();
                continue;
            }
            let mut decoded = [0; FRAME];
            let length = decoder.decode(&packet.payload, &mut decoded, false).unwrap();
            if first_audible(&decoded[..length], SampleRate::HZ_48000).is_some() {
                (speaking, silent_frames) = (true, 0);
            } else if speaking {
                silent_frames += 1;
                if silent_frames == ENDPOINT_FRAMES {
                    speaking = false;
                    self.reply(packet.header.timestamp).await;
                }
            }
        }
    }

    async fn reply(&self, timestamp: u32) {
        let events = self.events.get().unwrap();
        let response = json!({"id": "resp_1"});
        if self.behaviour == Behaviour::Mute {
            return;
        }
        send(events, json!({"type": "input_audio_buffer.speech_stopped", "item_id": "item_1"})).await;
        send(events, json!({"type": "response.created", "response": response})).await;
        if self.behaviour == Behaviour::Fail {
            let details = json!({"error": {"message": "the model is overloaded"}});
            let response = json!({"id": "resp_1", "status": "failed", "status_details": details});
            return send(events, json!({"type": "response.done", "response": response})).await;
        }
        let heard = "What do you hear?";
        let transcription = "conversation.item.input_audio_transcription.completed";
        send(events, json!({"type": transcription, "item_id": "item_1", "transcript": heard})).await;
        send(events, json!({"type": "output_audio_buffer.started", "response_id": "resp_1"})).await;
        self.play_tone(timestamp).await;
        let said = json!({"type": "response.output_audio_transcript.done", "response_id": "resp_1", "transcript": "A tone."});
        send(events, said).await;
        let done = json!({"id": "resp_1", "status": "completed"});
        send(events, json!({"type": "response.done", "response": done})).await;
        send(events, json!({"type": "output_audio_buffer.stopped", "response_id": "resp_1"})).await;
        let hop = |hop: &str, owner: &str, certainty: &str, ms: f64| json!({"hop": hop, "owner": owner, "certainty": certainty, "duration_ms": ms});
        let hops = json!([
            hop("capture", "client", "estimated", 10.0),
            hop("endpointing", "setting", "measured", 200.0),
            hop("model", "provider", "measured", 2.5),
        ]);
        let turn = json!({"type": "turn.measured", "turn": 1, "mouth_to_ear_ms": 212.5, "hops": hops});
        if let Some(voxgate) = self.voxgate.get() {
            send(voxgate, turn).await;
        }
    }

    async fn play_tone(&self, first_timestamp: u32) {
        let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for frame in 0..ANSWER_FRAMES {
            ticks.tick().await;
            let samples: Vec<i16> = (0..FRAME)
                .map(|index| {
                    let seconds = f64::from(frame * FRAME as u32 + index as u32) / 48_000.0;
                    ((std::f64::consts::TAU * ANSWER_TONE_HZ * seconds).sin() * 8_000.0) as i16
                })
                .collect();
            let payload = Bytes::from(encoder.encode_vec(&samples, 1_275).unwrap());
            let header = rtp::Header {
                version: 2,
                payload_type: 111,
                sequence_number: frame as u16,
                timestamp: first_timestamp.wrapping_add(frame * FRAME as u32),
                ssrc: SSRC,
                ..Default::default()
            };
            self.track.write_rtp(rtp::Packet { header, payload }).await.unwrap();
        }
    }
}
