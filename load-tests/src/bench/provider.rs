//! The simulated provider with a stop-watch at its socket.
//!
//! The conversation is that of [`SimSession`]; only the socket loop is its own, so that audio is stamped
//! where it arrives and where it leaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};

use crate::provider_sim::{SimConfig, SimOutput, SimSession};

use super::log::{Log, Sight};
use super::speech::is_loud;

/// Names the models of the benchmark; the number of the session follows.
pub const MODEL_PREFIX: &str = "bench-";

/// Serves WebSockets in the current runtime until it ends; returns the address.
///
/// # Errors
/// The socket cannot be bound.
pub async fn start(config: SimConfig, log: Log) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let config = Arc::new(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&config), log.clone()));
        }
    });
    Ok(address)
}

/// Reads the number of the session from the model that is asked for.
struct NumberOfSession<'a>(&'a mut usize);

impl Callback for NumberOfSession<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let query = request.uri().query().unwrap_or_default();
        let model = query.split('&').find_map(|parameter| parameter.strip_prefix("model="));
        match model.and_then(|model| model.strip_prefix(MODEL_PREFIX)).and_then(|number| number.parse().ok())
        {
            Some(number) => {
                *self.0 = number;
                Ok(response)
            }
            None => Err(ErrorResponse::new(Some("the model is not one of the benchmark".to_owned()))),
        }
    }
}

async fn converse(stream: TcpStream, config: Arc<SimConfig>, log: Log) {
    // Small frames must not wait for each other; if the option is refused they merely come later.
    let _ = stream.set_nodelay(true);
    let mut session = 0;
    let Ok(mut socket) = accept_hdr_async(stream, NumberOfSession(&mut session)).await else { return };
    let model = format!("{MODEL_PREFIX}{session}");
    let mut conversation = SimSession::new(config, session as u64, &model, Instant::now());
    let mut watch = StopWatch { session, is_answering: false, log };
    loop {
        while let Some(output) = conversation.poll_output() {
            let SimOutput::Event(event) = output else { return };
            let frame = Message::text(event.to_string());
            watch.leaves(&event, Instant::now());
            if socket.send(frame).await.is_err() {
                return;
            }
        }
        let _ = conversation.take_seen();
        // Without a deadline the client's next frame decides; the long sleep is never reached.
        let deadline =
            conversation.poll_timeout().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let now = Instant::now();
                    watch.arrives(&text, now);
                    conversation.handle_text(&text, now);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            () = tokio::time::sleep_until(deadline.into()) => conversation.handle_timeout(Instant::now()),
        }
    }
}

struct StopWatch {
    session: usize,
    is_answering: bool,
    log: Log,
}

impl StopWatch {
    fn leaves(&mut self, event: &Value, now: Instant) {
        match event["type"].as_str() {
            Some("response.output_audio.delta") if !self.is_answering => {
                self.is_answering = true;
                self.log.add(now, Sight::Answered { session: self.session });
            }
            Some("response.done") => self.is_answering = false,
            _ => {}
        }
    }

    fn arrives(&self, text: &str, now: Instant) {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        if event["type"] != "input_audio_buffer.append" {
            return;
        }
        let bytes = STANDARD.decode(event["audio"].as_str().unwrap_or_default()).unwrap_or_default();
        let samples: Vec<i16> =
            bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        self.log.add(now, Sight::Heard { session: self.session, is_loud: is_loud(&samples) });
    }
}
