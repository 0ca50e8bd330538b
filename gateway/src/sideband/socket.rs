//! The WebSocket of a sideband connection.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt as _;
use futures_util::stream::{SplitSink, StreamExt as _};
use voxgate_protocol::session::EndReason;
use voxgate_realtime::maximum_duration_reached;

use super::{Farewell, SidebandLink};
use crate::socket::{LOST_AFTER, SEND_TIMEOUT, hear_out};

/// Between two pings: shorter than the idle timeouts of the proxies people put in front (60 s and more).
const PING_EVERY: Duration = Duration::from_secs(15);

/// Why the connection ends.
enum End {
    /// The gateway has a reason.
    Farewell(Farewell),
    /// The client closed it.
    Closed,
    /// The client is not heard any more.
    Lost,
    /// The client sent what is no message.
    Unreadable,
    /// The call ended without a word.
    Crashed,
}

/// Carries events and messages until the connection or its call ends.
pub(crate) async fn serve(socket: WebSocket, mut link: SidebandLink) {
    let (mut to_client, mut from_client) = socket.split();
    let mut pings = tokio::time::interval(PING_EVERY);
    let mut last_heard = Instant::now();
    let mut ending = None;
    let end = loop {
        tokio::select! {
            biased;
            farewell = &mut link.events.farewell, if ending.is_none() => match farewell {
                Ok(Farewell::TooSlow) => break End::Farewell(Farewell::TooSlow),
                // What the call said last is in the queue.
                Ok(farewell) => ending = Some(End::Farewell(farewell)),
                Err(_) => ending = Some(End::Crashed),
            },
            event = link.events.waiting.next() => {
                let Some(text) = event else { break ending.unwrap_or(End::Crashed) };
                if !send(&mut to_client, Message::Text(text.into())).await {
                    break End::Farewell(Farewell::TooSlow);
                }
            }
            message = from_client.next() => {
                last_heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => link.say(text.as_str().to_owned()).await,
                    // The API is text only; what a binary frame means is not defined.
                    Some(Ok(Message::Binary(_))) => link.say(String::new()).await,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_))) | None => break End::Closed,
                    Some(Err(_)) => break End::Unreadable,
                }
            }
            _ = pings.tick() => {
                let is_sent = send(&mut to_client, Message::Ping(Vec::new().into())).await;
                if !is_sent || last_heard.elapsed() > LOST_AFTER {
                    break End::Lost;
                }
            }
        }
    };
    let frame = close_frame(&end, link.max_session);
    // The call need not wait for the client's half of the close.
    drop(link);
    send(&mut to_client, Message::Close(Some(frame))).await;
    hear_out(&mut from_client).await;
}

/// False if the client did not take it.
async fn send(to_client: &mut SplitSink<WebSocket, Message>, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_TIMEOUT, to_client.send(message)).await, Ok(Ok(())))
}

/// 1000 if somebody ended the call, 1001 if it ended by itself, 1008 if this connection broke a rule, 1011 if something
/// failed.
fn close_frame(end: &End, max_session: Duration) -> CloseFrame {
    let (code, text): (_, Cow<'static, str>) = match end {
        End::Farewell(Farewell::CallEnded(reason)) => match reason {
            EndReason::ClientClosed => (close_code::NORMAL, "The client ended the call.".into()),
            EndReason::HungUp => (close_code::NORMAL, "The call was hung up.".into()),
            EndReason::ClientLost => (close_code::AWAY, "The client of the call is gone.".into()),
            EndReason::SetupTimeout => (close_code::AWAY, "The call was not set up in time.".into()),
            EndReason::MaximumDuration => (close_code::AWAY, maximum_duration_reached(max_session).into()),
            EndReason::BudgetExhausted => {
                (close_code::AWAY, "insufficient_quota: the budget of the call is used up.".into())
            }
            EndReason::RateLimited => {
                (close_code::AWAY, "rate_limit_exceeded: the audio of the call is over its limit.".into())
            }
            EndReason::Drained => (close_code::AWAY, "The gateway is shutting down.".into()),
            EndReason::KeyRevoked => (close_code::POLICY, "The key of the call was revoked.".into()),
            EndReason::EndedByOperator => {
                (close_code::POLICY, "The call was ended in the administration.".into())
            }
            EndReason::Guardrail => {
                (close_code::POLICY, "Something was said that this gateway does not allow.".into())
            }
            EndReason::InternalError => (close_code::ERROR, "The gateway made a mistake.".into()),
            EndReason::ProviderFailed => (close_code::ERROR, "The speech provider ended the session.".into()),
        },
        End::Farewell(Farewell::TooSlow) => {
            (close_code::POLICY, "The events of the call were not read fast enough; attach again.".into())
        }
        End::Closed => (close_code::NORMAL, "The sideband was closed; the call goes on.".into()),
        End::Lost => (close_code::POLICY, "Nothing was heard of this connection.".into()),
        End::Unreadable => (close_code::POLICY, "A message was too long or was no valid text.".into()),
        End::Crashed => (close_code::ERROR, "The call ended by an internal error.".into()),
    };
    CloseFrame { code, reason: text.as_ref().into() }
}
