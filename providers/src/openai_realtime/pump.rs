//! The task that owns the WebSocket.
//!
//! One loop waits for whatever comes first: a command of the gateway, room in the socket, a message of the vendor,
//! room in the event queue, or a deadline. Nothing it waits for keeps it from taking commands, so that the
//! gateway's queue stays empty whatever the vendor does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tracing::Instrument as _;
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, Fault};
use voxgate_protocol::settings::SessionSettings;

use super::codec::{Codec, OpenAiOptions};
use super::fault;
use super::target::OpenAiTarget;
use crate::bridge::{Backlog, Bridge, BridgeEnds, StampedEvent, Wake, bridge};

mod pulse;

use pulse::{Due, Pulse};

/// How long audio of the caller is kept while the connection is made.
const CONNECTING_BACKLOG: Duration = Duration::from_secs(2);
/// How long audio of the caller may wait once the vendor listens.
const RUNNING_BACKLOG: Duration = Duration::from_secs(1);
/// Largest message taken from a vendor: some hundred seconds of audio in one piece.
const LARGEST_MESSAGE: usize = 8 << 20;
/// Most read from the socket at once. The library fills as many bytes with zeros before every read, so that its own choice,
/// 128 KiB, costs more than the few KiB of an event; a longer message takes several reads.
const READ_BYTES: usize = 8 << 10;
/// How long a vendor may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a bridge to a provider.
///
/// Returns at once; a task of the current runtime connects, sends the settings and reports
/// [`BridgeEvent::Ready`]. Commands sent before that are kept in order, with the audio of the last two seconds. Every failure
/// ends in one final [`BridgeEvent::Fault`]; an orderly close in [`BridgeEvent::Closed`].
///
/// # Panics
/// Outside a Tokio runtime, as `tokio::spawn` does.
#[must_use]
pub fn connect(target: OpenAiTarget, settings: SessionSettings, wake: Wake) -> Bridge {
    let (near, far) = bridge(Codec::traits(target.turn_owner, target.transcription_model.is_some()), wake);
    // What it logs belongs to whoever opens the bridge.
    tokio::spawn(run(target, settings, far).in_current_span());
    near
}

/// Why the pump ends.
enum End {
    /// The gateway dropped its end.
    Gateway,
    /// The vendor closed in order.
    Vendor(String),
    /// Anything else.
    Fault(Fault),
}

async fn run(target: OpenAiTarget, settings: SessionSettings, ends: BridgeEnds) {
    let events = ends.events.clone();
    let mut pump = Pump::new(&target, settings, ends);
    let last = match pump.serve(&target).await {
        End::Gateway => return,
        End::Vendor(reason) => BridgeEvent::Closed { reason },
        End::Fault(fault) => {
            tracing::warn!(code = %fault.code, "the bridge to a provider failed: {}", fault.message);
            BridgeEvent::Fault(fault)
        }
    };
    for event in pump.inbox.drain(..) {
        if events.send(event).await.is_err() {
            return;
        }
    }
    // An error means that the gateway has gone as well.
    let _ = events.send(StampedEvent { at: Instant::now(), event: last }).await;
}

struct Pump {
    codec: Codec,
    ends: BridgeEnds,
    backlog: Backlog,
    /// Frames that are encoded and wait for the socket.
    outbox: VecDeque<Message>,
    /// Events that wait for room in the queue.
    inbox: VecDeque<StampedEvent>,
    pulse: Pulse,
}

impl Pump {
    fn new(target: &OpenAiTarget, settings: SessionSettings, ends: BridgeEnds) -> Self {
        Self {
            codec: Codec::new(OpenAiOptions {
                turn_owner: target.turn_owner,
                settings,
                transcription_model: target.transcription_model.clone(),
            }),
            ends,
            backlog: Backlog::new(CONNECTING_BACKLOG),
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            pulse: Pulse::new(Instant::now(), target.connect_timeout, target.stall_timeout),
        }
    }

    async fn serve(&mut self, target: &OpenAiTarget) -> End {
        let socket = match self.open(target).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let (mut writer, mut reader) = socket.split();
        let end = self.exchange(&mut writer, &mut reader).await;
        if matches!(end, End::Gateway | End::Fault(_)) {
            // A vendor that does not answer the close is left alone; the socket closes with the task.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, writer.close()).await;
        }
        end
    }

    /// Connects while taking commands.
    async fn open(&mut self, target: &OpenAiTarget) -> Result<Socket, End> {
        let request =
            target.request().map_err(|error| End::Fault(fault::misconfigured(error.to_string())))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST_MESSAGE))
            .max_frame_size(Some(LARGEST_MESSAGE))
            .read_buffer_size(READ_BYTES)
            // Whatever the socket does not take waits in the backlog, where audio can be dropped.
            .write_buffer_size(0);
        let tls = tls_config().map_err(|error| End::Fault(fault::misconfigured(error.to_string())))?;
        let connecting =
            connect_async_tls_with_config(request, Some(config), true, Some(Connector::Rustls(tls)));
        let mut connecting = std::pin::pin!(connecting);
        let deadline = tokio::time::Instant::from_std(self.pulse.connect_deadline());
        loop {
            tokio::select! {
                connected = &mut connecting => {
                    return connected.map(|(socket, _)| socket).map_err(|error| End::Fault(of_connect(error)));
                }
                command = self.ends.commands.recv() => self.take_command(command)?,
                () = tokio::time::sleep_until(deadline) => {
                    return Err(End::Fault(fault::unreachable(
                        "provider_connect_timeout",
                        "The provider did not accept the connection in time.".to_owned(),
                    )));
                }
            }
        }
    }

    async fn exchange(
        &mut self,
        writer: &mut SplitSink<Socket, Message>,
        reader: &mut SplitStream<Socket>,
    ) -> End {
        let queue = self.ends.events.clone();
        let mut must_flush = false;
        loop {
            let has_frame = self.prepare_frame();
            let is_reading = self.inbox.is_empty();
            let deadline = self.pulse.deadline(is_reading, self.codec.is_answering());
            let step = tokio::select! {
                command = self.ends.commands.recv() => self.take_command(command),
                sent = drive(writer, has_frame), if has_frame || must_flush => {
                    let sent = sent.and_then(|()| self.write_frame(writer, has_frame));
                    must_flush = has_frame;
                    sent.map_err(|error| End::Fault(of_broken(&error)))
                }
                message = reader.next(), if is_reading => self.take_message(message),
                place = queue.reserve(), if !is_reading => match place {
                    Ok(place) => {
                        if let Some(event) = self.inbox.pop_front() {
                            place.put(event);
                        }
                        // While the queue was full nothing was read: that silence was ours.
                        self.pulse.heard(Instant::now());
                        Ok(())
                    }
                    Err(_) => Err(End::Gateway),
                },
                () = tokio::time::sleep_until(tokio::time::Instant::from_std(deadline)) => {
                    self.take_deadline(is_reading)
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn take_deadline(&mut self, is_reading: bool) -> Result<(), End> {
        match self.pulse.due(Instant::now(), is_reading, self.codec.is_answering()) {
            Some(Due::Ping) => self.outbox.push_back(Message::Ping(Vec::new().into())),
            Some(Due::Fault(fault)) => return Err(End::Fault(fault)),
            None => {}
        }
        Ok(())
    }

    fn take_command(&mut self, command: Option<BridgeCommand>) -> Result<(), End> {
        let command = command.ok_or(End::Gateway)?;
        let dropped = self.backlog.push(Instant::now(), command).map_err(|full| {
            End::Fault(fault::unreachable(
                "provider_congested",
                format!("The provider does not keep up: {full}."),
            ))
        })?;
        if dropped.0 > 0 {
            self.ends.counters.add_dropped_audio(dropped);
            self.codec.skip_audio(dropped.duration_at(SampleRate::HZ_24000));
        }
        Ok(())
    }

    /// Whether a frame waits for the socket. Commands are encoded one at a time, as late as possible.
    fn prepare_frame(&mut self) -> bool {
        while let Some(frame) = self.codec.poll_transmit() {
            self.outbox.push_back(Message::text(frame));
        }
        while self.outbox.is_empty() && self.codec.is_ready() {
            let Some(command) = self.backlog.pop() else { break };
            let was_answering = self.codec.is_answering();
            self.outbox.extend(self.codec.encode(&command).into_iter().map(Message::text));
            if !was_answering && self.codec.is_answering() {
                self.pulse.asked(Instant::now());
            }
        }
        !self.outbox.is_empty()
    }

    fn write_frame(
        &mut self,
        writer: &mut SplitSink<Socket, Message>,
        has_frame: bool,
    ) -> Result<(), WsError> {
        match self.outbox.pop_front().filter(|_| has_frame) {
            Some(frame) => writer.start_send_unpin(frame),
            None => Ok(()),
        }
    }

    fn take_message(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), End> {
        let now = Instant::now();
        self.pulse.heard(now);
        match message {
            Some(Ok(Message::Text(text))) => self.take_frame(&text, now),
            Some(Ok(Message::Close(Some(frame)))) => Err(closed(Some(frame.code.into()), &frame.reason)),
            Some(Ok(Message::Close(None))) | None => Err(closed(None, "")),
            // Pings are answered by the library; nobody sends binary frames in this protocol.
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(End::Fault(of_broken(&error))),
        }
    }

    fn take_frame(&mut self, text: &str, now: Instant) -> Result<(), End> {
        let was_ready = self.codec.is_ready();
        let events = self.codec.decode(text);
        self.ends.counters.set_ignored_events(self.codec.ignored());
        self.pulse.spoke(now);
        if !was_ready && self.codec.is_ready() {
            self.backlog.set_limit(RUNNING_BACKLOG);
            self.pulse.configured();
        }
        for event in events {
            match event {
                BridgeEvent::Fault(fault) if fault.is_final => return Err(End::Fault(fault)),
                event => self.inbox.push_back(StampedEvent { at: now, event }),
            }
        }
        Ok(())
    }
}

/// Waits for room for a frame, or, without one, until everything written has left.
async fn drive(writer: &mut SplitSink<Socket, Message>, has_frame: bool) -> Result<(), WsError> {
    if has_frame {
        std::future::poll_fn(|context| Pin::new(&mut *writer).poll_ready(context)).await
    } else {
        writer.flush().await
    }
}

/// TLS with the web's usual roots, independent of any provider the process may have installed.
fn tls_config() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn of_connect(error: WsError) -> Fault {
    match error {
        WsError::Http(response) => {
            fault::of_refusal(response.status().as_u16(), response.body().as_deref().unwrap_or_default())
        }
        WsError::Url(error) => {
            fault::misconfigured(format!("The provider's address cannot be used: {error}."))
        }
        other => {
            let message = format!("The provider could not be reached: {other}.");
            fault::unreachable("provider_unreachable", message)
        }
    }
}

fn of_broken(error: &WsError) -> Fault {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => fault::of_close(None, ""),
        other => fault::unreachable(
            "provider_disconnected",
            format!("The connection to the provider broke: {other}."),
        ),
    }
}

fn closed(code: Option<u16>, reason: &str) -> End {
    if code == Some(1_000) {
        let reason = if reason.is_empty() { "The provider closed the session." } else { reason };
        return End::Vendor(fault::sentence(reason));
    }
    End::Fault(fault::of_close(code, reason))
}
