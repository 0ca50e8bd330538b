//! The OpenAI Realtime API (GA) as a server.
//!
//! [`Adapter`] stands between one client's wire messages and the neutral vocabulary of `voxgate-protocol`: client
//! events become [`SessionCommand`](voxgate_protocol::session::SessionCommand)s, and
//! [`SessionEvent`](voxgate_protocol::session::SessionEvent)s become server events. The rich event stream of the
//! API (content parts, `*.done` events, the conversation with its order) is derived here from the few neutral
//! events, so every provider looks the same to a client. [`request`] reads the HTTP bodies of the same API.
//!
//! Pure: no clock, socket or random source. Names are minted from a seed.
//!
//! # What differs from OpenAI, deliberately
//!
//! - A `session.update` with another `model` is accepted and the model stays: SDKs send their default with every
//!   update, and some clients treat any `error` as fatal.
//! - `audio_end_ms` beyond the audio is clamped instead of refused, for the same reason.
//! - After a truncation the transcript keeps the words that were heard, estimated from the share of the audio; OpenAI
//!   deletes it.
//! - `conversation.item.retrieved` never carries audio.
//! - Audio is PCM at 24 kHz. Over WebRTC the format of the session is passed over, since SDP decides the codec.
//! - Tools are functions; MCP tools are refused.
//! - `keywords` and `delay` of the transcription, and `strength` of the noise reduction, are read and not kept.

mod adapter;
mod allowed_events;
mod append;
mod asker;
mod client_event;
mod context;
mod conversation;
mod error;
mod fields;
#[doc(hidden)]
pub mod fuzz;
mod input;
mod item;
mod limits;
mod outbox;
mod parked;
pub mod request;
mod response;
mod response_params;
mod session_object;
mod session_update;
mod truncation;
mod usage;
mod vendor_fields;

pub use adapter::{Adapter, ClientKind, maximum_duration_reached};
pub use allowed_events::AllowedEvents;
pub use asker::SidebandId;
pub use context::ContextItem;
pub use error::{ApiError, ErrorKind};
pub use limits::longest_message;
pub use outbox::AdapterOutput;
pub use parked::ParkedConversation;
