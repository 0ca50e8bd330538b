//! The vendor behind the gateways: in an answer that never ends, it says what it hears.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The one model it has.
pub const MODEL: &str = "gpt-realtime";

/// The beginning of a request is here at once: everything is on one machine.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// Serves in a thread of its own, on the core of the thread that calls, until the process ends; returns the address.
///
/// # Errors
/// The socket cannot be bound, or there is no thread.
pub fn start() -> std::io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let accept = async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A gateway that hangs up is of no interest to the vendor; the clients notice what is missing.
            tokio::spawn(async move { serve(stream).await.ok() });
        }
    };
    std::thread::Builder::new().name("vendor".to_owned()).spawn(move || runtime.block_on(accept))?;
    Ok(address)
}

async fn serve(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 2_048];
    let length = tokio::time::timeout(HEAD_LIMIT, stream.peek(&mut head)).await??;
    if !String::from_utf8_lossy(&head[..length]).to_ascii_lowercase().contains("upgrade: websocket") {
        return list_models(stream).await;
    }
    converse(tokio_tungstenite::accept_async(stream).await?).await
}

/// Some gateways ask for this before they trust a vendor.
async fn list_models(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut request = [0; 2_048];
    let _ = stream.read(&mut request).await?;
    let body =
        json!({ "object": "list", "data": [{ "id": MODEL, "object": "model", "owned_by": "vendor" }] });
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

async fn converse(mut socket: WebSocketStream<TcpStream>) -> anyhow::Result<()> {
    socket.send(session("session.created", &json!({}))).await?;
    let mut is_answering = false;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        // Taken out of the text as it stands, so that the vendor costs little.
        if let Some(audio) = text.strip_prefix(APPEND_HEAD).and_then(|rest| rest.strip_suffix("\"}"))
            && is_answering
        {
            socket.send(Message::text(format!("{DELTA_HEAD}{audio}\"}}"))).await?;
            continue;
        }
        let event: Value = serde_json::from_str(&text)?;
        match event["type"].as_str().context("an event without a type")? {
            "session.update" => socket.send(session("session.updated", &event["session"])).await?,
            "response.create" => {
                for event in beginning() {
                    socket.send(Message::text(event.to_string())).await?;
                }
                is_answering = true;
            }
            "input_audio_buffer.append" if is_answering => {
                let audio = event["audio"].as_str().unwrap_or_default();
                socket.send(Message::text(format!("{DELTA_HEAD}{audio}\"}}"))).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a client that builds its own text writes an append.
pub const APPEND_HEAD: &str = "{\"type\":\"input_audio_buffer.append\",\"audio\":\"";

const DELTA_HEAD: &str = "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_d\",\"response_id\":\"resp_1\",\
     \"item_id\":\"item_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"";

fn session(kind: &str, wanted: &Value) -> Message {
    let mut session = json!({
        "type": "realtime", "object": "realtime.session", "id": "sess_1", "model": MODEL,
        "output_modalities": ["audio"],
    });
    if let (Some(session), Some(wanted)) = (session.as_object_mut(), wanted.as_object()) {
        session.extend(wanted.clone());
    }
    Message::text(json!({ "type": kind, "event_id": "event_s", "session": session }).to_string())
}

/// The events with which the vendor begins an answer.
fn beginning() -> [Value; 4] {
    let item = json!({
        "id": "item_1", "object": "realtime.item", "type": "message", "status": "in_progress",
        "role": "assistant", "content": [],
    });
    let response = json!({
        "object": "realtime.response", "id": "resp_1", "status": "in_progress", "status_details": null,
        "output": [], "output_modalities": ["audio"], "conversation_id": "conv_1", "usage": null,
        "metadata": null, "max_output_tokens": "inf",
    });
    [
        json!({ "type": "response.created", "event_id": "event_1", "response": response }),
        json!({ "type": "response.output_item.added", "event_id": "event_2", "response_id": "resp_1",
                "output_index": 0, "item": item }),
        json!({ "type": "conversation.item.added", "event_id": "event_3", "previous_item_id": null, "item": item }),
        json!({ "type": "response.content_part.added", "event_id": "event_4", "response_id": "resp_1",
                "item_id": "item_1", "output_index": 0, "content_index": 0,
                "part": { "type": "audio", "transcript": "" } }),
    ]
}
