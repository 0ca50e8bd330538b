//! The sockets of a simulator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::config::{SimConfig, SimFault};
use super::session::{SimOutput, SimSession};
use super::stats::SimStats;

type Stats = Arc<watch::Sender<SimStats>>;

/// How long a client may take to send its request or to answer a close.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn serve(listener: TcpListener, config: Arc<SimConfig>, stats: Stats) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                number += 1;
                connections.spawn(converse(stream, Arc::clone(&config), Arc::clone(&stats), number));
            }
            Err(error) => {
                tracing::error!(%error, "the simulator can accept no more connections");
                return;
            }
        }
    }
}

async fn converse(stream: TcpStream, config: Arc<SimConfig>, stats: Stats, number: u64) {
    // Small frames must not wait for each other; if the option is refused they merely come later.
    let _ = stream.set_nodelay(true);
    let mut model = String::new();
    let door = Door { config: &config, model: &mut model };
    let Ok(Ok(socket)) = tokio::time::timeout(PATIENCE, accept_hdr_async(stream, door)).await else {
        stats.send_modify(|stats| stats.refused += 1);
        return;
    };
    stats.send_modify(|stats| stats.connections += 1);
    let session = SimSession::new(config, number, &model, Instant::now());
    run(socket, session, &stats).await;
    stats.send_modify(|stats| stats.closed += 1);
}

/// Lets a client in, and reads the model it asks for.
struct Door<'a> {
    config: &'a SimConfig,
    model: &'a mut String,
}

impl Callback for Door<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        if let Some(SimFault::RefuseUpgrade(status)) = self.config.fault {
            return Err(refusal(status));
        }
        let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = key.and_then(|value| value.strip_prefix("Bearer "));
        if self.config.required_key.as_deref().is_some_and(|required| key != Some(required)) {
            return Err(refusal(401));
        }
        let query = request.uri().query().unwrap_or_default();
        let asked = query.split('&').find_map(|parameter| parameter.strip_prefix("model="));
        let is_known = request.uri().path().ends_with("/realtime");
        let (Some(asked), true) = (asked, is_known) else { return Err(refusal(404)) };
        asked.clone_into(self.model);
        Ok(response)
    }
}

fn refusal(status: u16) -> ErrorResponse {
    let (kind, code, message) = match status {
        401 => ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
        404 => ("invalid_request_error", "model_not_found", "The model does not exist."),
        429 => ("requests", "rate_limit_exceeded", "Rate limit reached."),
        _ => ("server_error", "server_error", "The server is overloaded."),
    };
    let body = serde_json::json!({
        "error": { "type": kind, "code": code, "message": message, "param": null },
    });
    let mut response = ErrorResponse::new(Some(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

async fn run(mut socket: WebSocketStream<TcpStream>, mut session: SimSession, stats: &Stats) {
    loop {
        let seen = session.take_seen();
        if !seen.is_empty() {
            stats.send_modify(|stats| seen.into_iter().for_each(|one| stats.add(one)));
        }
        while let Some(output) = session.poll_output() {
            let sent = match output {
                SimOutput::Event(event) => socket.send(Message::text(event.to_string())).await,
                SimOutput::Close { code, reason } => {
                    return close(socket, CloseFrame { code: code.into(), reason: reason.into() }).await;
                }
            };
            if sent.is_err() {
                return;
            }
        }
        // Without a deadline the client's next frame decides; the long sleep is never reached.
        let deadline = session.poll_timeout().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => session.handle_text(&text, Instant::now()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            () = tokio::time::sleep_until(deadline.into()) => session.handle_timeout(Instant::now()),
        }
    }
}

/// Says good-bye and waits for the answer, so that the reason is not lost in a reset.
async fn close(mut socket: WebSocketStream<TcpStream>, frame: CloseFrame) {
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    let farewell = async { while let Some(Ok(_)) = socket.next().await {} };
    // A client that does not answer is left alone.
    let _ = tokio::time::timeout(PATIENCE, farewell).await;
}
