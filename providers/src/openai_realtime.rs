//! Providers that speak the OpenAI Realtime API (GA) over a WebSocket: OpenAI, Azure OpenAI and the servers that
//! follow them.
//!
//! - [`Codec`]: neutral commands to JSON frames and JSON frames to neutral events; pure.
//! - [`connect`]: the pump, a task that owns the socket.
//!
//! Source: <https://developers.openai.com/api/reference/resources/realtime> and the event schemas of OpenAI's SDKs.

mod answers;
mod codec;
mod fault;
#[doc(hidden)]
pub mod invariants;
mod item;
mod names;
mod pump;
mod settings;
mod target;
mod usage;

pub use codec::{Codec, OpenAiOptions};
pub use pump::connect;
pub use target::{OpenAiTarget, TargetError};
