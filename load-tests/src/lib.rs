//! What voxgate is tested against and tested with.
//!
//! - [`bench`]: how long the gateway itself takes, measured from outside and as it says itself.
//! - [`provider_sim`]: a speech provider that speaks the OpenAI Realtime API and misbehaves on request.

pub mod bench;
pub mod provider_sim;
