//! A session on a client's WebSocket.

mod round_trips;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::stream::{SplitSink, Stream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use voxgate_media::session::{Leg, NetworkTimes};
use voxgate_protocol::session::EndReason;
use voxgate_realtime::{ApiError, ErrorKind, maximum_duration_reached};
use voxgate_signaling::directory::Revoked;
use voxgate_signaling::host::SessionRequest;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::Connected;
use crate::dialogue::{Dialogue, DialogueConfig, DialogueOutput, Transported, told_of_mistake};
use crate::money::Money;
use crate::replay::ReplayLog;
use crate::revision::Revision;

use self::round_trips::RoundTrips;

/// How the messages of a call travel, as its record names it. Whether a proxy in front speaks TLS nobody here knows.
const PAIR: &str = "tcp/websocket";

/// A client of which nothing is heard for this long, not even the answer to a ping, is gone.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(45);

/// Places in the provider's queue that have to be free before the next message of the client is read: more than one
/// message needs. A client that sends faster than the provider takes is slowed down and loses nothing.
const FREE_PLACES: usize = 64;

/// A client that takes longer to accept a message is gone.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Time a client gets to answer the close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a WebSocket session needs from its host.
pub(crate) struct SocketConfig {
    pub(crate) revision: Arc<Revision>,
    pub(crate) expires_at_unix: u64,
    pub(crate) max_session: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) replay: Option<Arc<ReplayLog>>,
    pub(crate) money: Option<Arc<Money>>,
    pub(crate) drain: watch::Receiver<Option<Instant>>,
    /// The keys whose sessions have to end.
    pub(crate) revoked: watch::Receiver<Revoked>,
}

/// The half of a socket that a session writes to.
type ToClient<'a> = SplitSink<&'a mut WebSocket, Message>;

/// Tells a client why its session cannot start, and closes.
pub(crate) async fn refuse(socket: WebSocket, error: &ApiError) {
    let reason = match error.kind {
        ErrorKind::InsufficientQuota => EndReason::BudgetExhausted,
        _ => EndReason::ProviderFailed,
    };
    let error = &error.to_json()["error"];
    part(socket, json!({ "type": "error", "event_id": "event_refused", "error": error }), reason).await;
}

/// The last that a client hears: an event with the error, and the close.
async fn part(mut socket: WebSocket, event: Value, reason: EndReason) {
    // A client that is gone needs no reason.
    let _ = socket.send(Message::Text(event.to_string().into())).await;
    let _ = socket.send(close_frame(reason, Duration::ZERO)).await;
    hear_out(&mut socket).await;
}

/// Runs a session on its socket. One whose state machine panics ends alone, and its client is told.
async fn run_to_end(mut socket: WebSocket, metrics: &Metrics, session: impl AsyncFnOnce(&mut WebSocket)) {
    if AssertUnwindSafe(session(&mut socket)).catch_unwind().await.is_err() {
        metrics.session_panics.inc();
        tracing::error!("a WebSocket session ended because its state machine panicked; please report this");
        part(socket, told_of_mistake(), EndReason::InternalError).await;
    }
}

/// Waits for the client's half of the close (RFC 6455 section 7.1.1). A connection closed at once may be reset, and some
/// clients then lose what was said before the close, the reason for it included.
pub(crate) async fn hear_out(from_client: &mut (impl Stream<Item = Result<Message, axum::Error>> + Unpin)) {
    let farewell = async { while let Some(Ok(_)) = from_client.next().await {} };
    // A client that does not answer is left alone.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
}

/// Runs the session until either side ends it.
pub(crate) async fn serve(
    socket: WebSocket,
    request: SessionRequest,
    bridge: Connected,
    seed: u64,
    ringing: &Notify,
    config: SocketConfig,
) {
    let metrics = Arc::clone(&config.metrics);
    let (guardrails, judges) = config.revision.guardrails_of(&request.obligations);
    let dialogue = Dialogue::new(
        request,
        bridge,
        DialogueConfig {
            leg: Leg::Pcm,
            encoder: config.revision.encoder,
            // The client plays by itself; nothing here could be held.
            interruption: None,
            expires_at_unix: config.expires_at_unix,
            max_session: config.max_session,
            seed,
            metrics: config.metrics,
            guardrails,
            judges,
            webhooks: config.revision.webhooks.clone(),
            permissions: config.revision.permissions.clone(),
            latency: Arc::clone(&config.revision.latency),
            replay: config.replay,
            money: config.money.map(|money| config.revision.billed_by(money)),
        },
    );
    match dialogue {
        Ok(dialogue) => {
            let now = Instant::now();
            let ends_at = now + config.max_session;
            let session = SocketSession {
                dialogue,
                ends_at,
                max_session: config.max_session,
                last_heard: now,
                round_trips: RoundTrips::new(now),
                outputs: Vec::new(),
                drain: config.drain,
                revoked: config.revoked,
            };
            let run = async |socket: &mut WebSocket| Box::pin(session.run(socket, ringing)).await;
            Box::pin(run_to_end(socket, &metrics, run)).await;
        }
        Err(error) => refuse(socket, &ApiError::server_error(error.to_string())).await,
    }
}

struct SocketSession {
    dialogue: Dialogue,
    ends_at: Instant,
    max_session: Duration,
    last_heard: Instant,
    round_trips: RoundTrips,
    outputs: Vec<DialogueOutput>,
    drain: watch::Receiver<Option<Instant>>,
    revoked: watch::Receiver<Revoked>,
}

/// How far the client could be told what it has to be told.
enum Told {
    Everything,
    /// Everything, and that the session is over.
    End,
    /// It is gone.
    Lost,
}

impl SocketSession {
    async fn run(mut self, socket: &mut WebSocket, ringing: &Notify) {
        let (mut to_client, mut from_client) = socket.split();
        self.dialogue.open(Instant::now());
        // The key may have gone between the request and now.
        self.end_if_revoked();
        loop {
            match self.tell(&mut to_client).await {
                Told::Everything => {}
                Told::End => {
                    // The session is over and its place free, however long the client takes.
                    drop(self.dialogue);
                    hear_out(&mut from_client).await;
                    return;
                }
                Told::Lost => return self.lose(self.last_heard),
            }
            // Asked for every time: the conversation may have moved to another connection.
            let to_provider = self.dialogue.to_provider();
            let has_room = to_provider.capacity() >= FREE_PLACES || to_provider.is_closed();
            tokio::select! {
                message = from_client.next(), if has_room => self.take(message),
                _ = to_provider.reserve_many(FREE_PLACES), if !has_room => {}
                () = ringing.notified() => {
                    // A client need not send anything; as long as its connection stands it is taken to listen.
                    self.dialogue.note_client(Instant::now());
                    self.dialogue.handle_bridge(Instant::now());
                }
                () = tokio::time::sleep_until(self.deadline().into()) => self.handle_timeout(Instant::now()),
                changed = self.drain.changed() => {
                    if changed.is_err() {
                        self.dialogue.end(Instant::now(), EndReason::Drained);
                    }
                }
                // Without a directory nothing is revoked any more.
                Ok(()) = self.revoked.changed() => self.end_if_revoked(),
                () = tokio::time::sleep_until(self.round_trips.poll_timeout().into()) => {
                    let ping = Message::Ping(self.round_trips.ping(Instant::now()).to_vec().into());
                    if !send(&mut to_client, ping).await || self.last_heard.elapsed() > LOST_AFTER {
                        self.lose(self.last_heard);
                    }
                }
            }
        }
    }

    /// Sends what the session has to say.
    async fn tell(&mut self, to_client: &mut ToClient<'_>) -> Told {
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut has_more = true;
        while std::mem::take(&mut has_more) {
            let now = Instant::now();
            if self.dialogue.awaits_transported(now) {
                let round_trip = self.round_trips.newest(now);
                let pair = Some(PAIR);
                self.dialogue.transported(Transported { round_trip, pair, ..Transported::default() });
            }
            self.dialogue.drain(now, None, &mut outputs);
            for output in outputs.drain(..) {
                match output {
                    DialogueOutput::Text(text) => {
                        if !send(to_client, Message::Text(text.into())).await {
                            return Told::Lost;
                        }
                    }
                    DialogueOutput::ConfirmSent => {
                        self.dialogue.handle_sent(Instant::now());
                        has_more = true;
                    }
                    DialogueOutput::Ended(reason) => {
                        // Who does not take the farewell is gone already.
                        let _ = send(to_client, close_frame(reason, self.max_session)).await;
                        return Told::End;
                    }
                    // What a turn took is in the record: the API has no event for it, and its clients know no other. Nor has a
                    // message client RTP, a channel for questions, or sidebands.
                    DialogueOutput::Turn(_)
                    | DialogueOutput::Audio { .. }
                    | DialogueOutput::Ask(_)
                    | DialogueOutput::Sidebands(_)
                    | DialogueOutput::Sideband(..) => {}
                }
            }
        }
        self.outputs = outputs;
        Told::Everything
    }

    fn end_if_revoked(&mut self) {
        let is_revoked = self.revoked.borrow_and_update().contains(&self.dialogue.key());
        if is_revoked {
            self.dialogue.end(Instant::now(), EndReason::KeyRevoked);
        }
    }

    fn take<E>(&mut self, message: Option<Result<Message, E>>) {
        let now = Instant::now();
        self.last_heard = now;
        match message {
            Some(Ok(Message::Text(text))) => self.dialogue.handle_text(now, text.as_str()),
            // The API is text only; what a binary frame means is not defined.
            Some(Ok(Message::Binary(_))) => self.dialogue.handle_text(now, ""),
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Pong(payload))) => {
                if self.round_trips.pong(now, &payload) {
                    let round_trip = self.round_trips.quickest();
                    self.dialogue.note_network(now, NetworkTimes { round_trip, ..NetworkTimes::default() });
                }
            }
            Some(Ok(Message::Close(_))) | None => self.dialogue.end(now, EndReason::ClientClosed),
            Some(Err(_)) => self.lose(now),
        }
    }

    /// The client is gone, and has heard nothing since that time.
    fn lose(&mut self, heard_at: Instant) {
        self.dialogue.note_client(heard_at);
        self.dialogue.end(Instant::now(), EndReason::ClientLost);
    }

    fn deadline(&self) -> Instant {
        let drained = *self.drain.borrow();
        let session = self.dialogue.poll_timeout(Instant::now());
        [session, drained].into_iter().flatten().fold(self.ends_at, Instant::min)
    }

    fn handle_timeout(&mut self, now: Instant) {
        let drained = *self.drain.borrow();
        if drained.is_some_and(|at| at <= now) {
            self.dialogue.end(now, EndReason::Drained);
        }
        if self.ends_at <= now {
            self.dialogue.end(now, EndReason::MaximumDuration);
        }
        self.dialogue.handle_timeout(now);
    }
}

/// False if the client does not take it, or takes too long.
async fn send(to_client: &mut ToClient<'_>, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_TIMEOUT, to_client.send(message)).await, Ok(Ok(())))
}

/// Close codes as the API uses them: 1001 when the server ends the session, 1008 when the client broke a rule or its
/// budget is used up, so that it does not come back at once, 1011
/// when the provider is gone.
fn close_frame(reason: EndReason, max_session: Duration) -> Message {
    let expired = maximum_duration_reached(max_session);
    let (code, text) = match reason {
        EndReason::ClientClosed => (close_code::NORMAL, "The client ended the session."),
        // Who is really gone does not hear this; who broke the protocol, or goes on elsewhere, does.
        EndReason::ClientLost => {
            (close_code::POLICY, "The client was lost, or its message was too long or no valid text.")
        }
        EndReason::HungUp => (close_code::NORMAL, "The call was hung up."),
        EndReason::MaximumDuration => (close_code::AWAY, expired.as_str()),
        EndReason::BudgetExhausted => {
            (close_code::POLICY, "insufficient_quota: the budget of this session is used up.")
        }
        EndReason::RateLimited => {
            (close_code::POLICY, "rate_limit_exceeded: the audio of this session is over its limit.")
        }
        EndReason::Drained => (close_code::AWAY, "The gateway is shutting down."),
        EndReason::ProviderFailed => (close_code::ERROR, "The speech provider ended the session."),
        EndReason::InternalError => (close_code::ERROR, "The gateway made a mistake."),
        EndReason::KeyRevoked => (close_code::POLICY, "The key of the session was revoked."),
        EndReason::EndedByOperator => (close_code::POLICY, "The session was ended in the administration."),
        EndReason::SetupTimeout => (close_code::POLICY, "The session was not set up in time."),
        EndReason::Guardrail => (close_code::POLICY, "Something was said that this gateway does not allow."),
    };
    Message::Close(Some(CloseFrame { code, reason: text.into() }))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::WebSocketUpgrade;
    use axum::routing::any;
    use tokio_tungstenite::connect_async;
    use tokio_tungstenite::tungstenite::Message as Received;

    use super::*;

    #[tokio::test]
    async fn the_client_of_a_session_that_a_mistake_of_ours_ends_is_told_and_the_mistake_is_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let counted = Arc::clone(&metrics);
        let serve = async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |socket| {
                run_to_end(socket, &counted, async |_| std::panic::resume_unwind(Box::new("a mistake")))
                    .await;
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tokio::spawn(async move { axum::serve(listener, Router::new().route("/", any(serve))).await });
        let (mut client, _) = connect_async(format!("ws://{address}/")).await.unwrap();
        let Some(Ok(Received::Text(event))) = client.next().await else { panic!("no event") };
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!((&event["type"], &event["error"]["type"]), (&"error".into(), &"server_error".into()));
        let Some(Ok(Received::Close(Some(close)))) = client.next().await else { panic!("no close") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1011, "The gateway made a mistake."));
        assert_eq!(metrics.session_panics.get(), 1);
        server.abort();
    }
}
