//! One client: sends a piece of audio every so often, and looks at the clock when it comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::frame;
use super::vendor::{APPEND_HEAD, MODEL};

/// How long a session may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(15);

/// How long the last pieces may be on their way.
const LAST_PIECES: Duration = Duration::from_secs(2);

/// Where a client connects, and with what.
#[derive(Clone, Debug)]
pub struct Door {
    /// `ws://address/v1/realtime`.
    pub url: String,
    /// The key of the gateway.
    pub key: String,
}

/// A session whose answer has begun.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a client saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Pieces it sent.
    pub sent: u64,
    /// From before the sending to behind the receiving, of each piece that came back.
    pub round_trips: Vec<Duration>,
}

impl Client {
    /// Connects, turns the turn detection off, and has the vendor begin its answer.
    ///
    /// # Errors
    /// The gateway does not begin the session.
    pub async fn begin(door: &Door) -> anyhow::Result<Self> {
        let mut request = format!("{}?model={MODEL}", door.url).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", door.key).parse()?);
        let connected = tokio_tungstenite::connect_async_with_config(request, None, true);
        let (socket, _) = tokio::time::timeout(BEGIN_LIMIT, connected).await??;
        let mut client = Self { socket };
        client.until("session.created").await?;
        let audio = json!({ "type": "audio/pcm", "rate": 24_000 });
        let session = json!({
            "type": "realtime",
            "audio": { "input": { "format": audio, "turn_detection": null }, "output": { "format": audio } },
        });
        client.say(&json!({ "type": "session.update", "session": session })).await?;
        client.until("session.updated").await?;
        client.say(&json!({ "type": "response.create" })).await?;
        // What follows it may wait for the first audio.
        client.until("response.created").await?;
        Ok(client)
    }

    async fn say(&mut self, event: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(event.to_string())).await?)
    }

    async fn until(&mut self, kind: &str) -> anyhow::Result<()> {
        let wait = async {
            while let Some(message) = self.socket.next().await {
                let Message::Text(text) = message? else { continue };
                let event: Value = serde_json::from_str(&text)?;
                ensure!(event["type"] != "error", "the gateway answers {event}");
                if event["type"] == kind {
                    return Ok(());
                }
            }
            bail!("the gateway hung up before {kind}")
        };
        tokio::time::timeout(BEGIN_LIMIT, wait).await.with_context(|| format!("no {kind} came"))?
    }

    /// Sends a piece every `pause`, so many of them, whether or not anything comes back, and hangs up.
    ///
    /// # Errors
    /// The gateway ended the session.
    pub async fn talk(mut self, begin: Instant, pause: Duration, pieces: u32) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let mut on_the_way: BTreeMap<u32, Instant> = BTreeMap::new();
        let end = begin + pause * pieces + LAST_PIECES;
        loop {
            let number = u32::try_from(seen.sent)?;
            if number == pieces && on_the_way.is_empty() {
                break;
            }
            let next = if number < pieces { begin + pause * number } else { end };
            tokio::select! {
                biased;
                message = self.socket.next() => match message.context("the gateway hung up")?? {
                    Message::Text(text) => take(&text, &mut on_the_way, &mut seen)?,
                    Message::Close(_) => bail!("the gateway closed the session"),
                    _ => {}
                },
                () = tokio::time::sleep_until(next.into()) => {
                    if number == pieces {
                        break;
                    }
                    let text = format!("{APPEND_HEAD}{}\"}}", frame::write(number));
                    on_the_way.insert(number, Instant::now());
                    self.socket.send(Message::text(text)).await?;
                    seen.sent += 1;
                }
            }
        }
        // Everything is counted; a gateway that does not say goodbye in turn is not waited for.
        let _ = self.socket.close(None).await;
        Ok(seen)
    }
}

fn take(text: &str, on_the_way: &mut BTreeMap<u32, Instant>, seen: &mut Seen) -> anyhow::Result<()> {
    let now = Instant::now();
    let event: Value = serde_json::from_str(text)?;
    ensure!(event["type"] != "error", "the gateway answers {event}");
    if event["type"] == "response.output_audio.delta" {
        let numbers = frame::read(event["delta"].as_str().unwrap_or_default());
        let sent = numbers.iter().filter_map(|number| on_the_way.remove(number));
        seen.round_trips.extend(sent.map(|at| now - at));
    }
    Ok(())
}
