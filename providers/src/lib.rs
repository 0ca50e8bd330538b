//! Bridges to speech providers: neutral commands and events on one side, the vendor's wire on the other.
//!
//! - [`bridge`]: the seam between the gateway's media loop and a provider's pump.
//! - [`local`]: recognition, a scripted brain and a voice on the machine itself; no key, no network.
//! - [`openai_realtime`]: providers that speak the OpenAI Realtime API over a WebSocket.
//!
//! A vendor's codec is pure; its pump is a plain task that owns the socket.

pub mod bridge;
pub mod local;
pub mod openai_realtime;
mod secret;

pub use secret::Secret;
