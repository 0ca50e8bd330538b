//! What voxgate is tested against and tested with.
//!
//! - [`bench`]: how long the gateway itself takes, measured from outside and as it says itself.
//! - [`conversation_bench`]: how fast a caller can interrupt, how exactly an answer is cut, how soon it comes.
//! - [`event_bench`]: what an audio event of a WebSocket session costs, beside other gateways.
//! - [`measuring_bench`]: what it costs to measure a call.
//! - [`relay_bench`]: how fast the relay is, beside others.
//! - [`provider_sim`]: a speech provider that speaks the OpenAI Realtime API and misbehaves on request.

pub mod bench;
pub mod conversation_bench;
pub mod event_bench;
pub mod measuring_bench;
pub mod provider_sim;
pub mod relay_bench;
