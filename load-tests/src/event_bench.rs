//! What one audio event of a WebSocket session costs, beside other gateways of the OpenAI Realtime API.
//!
//! Every gateway ([`contender`]) runs in a process of its own on one core. On another, one thread plays all clients
//! ([`client`]) and the vendor behind the gateway ([`vendor`]), who sends every piece of audio straight back. All take their
//! turns in every round ([`round`]). `event_bench/method.md` says what each figure means and goes into every record
//! ([`record`]).

pub mod client;
pub mod contender;
pub mod frame;
pub mod pipe;
pub mod record;
pub mod round;
pub mod summary;
pub mod vendor;
