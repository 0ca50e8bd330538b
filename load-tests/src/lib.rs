//! What voxgate is tested against and tested with.
//!
//! - [`provider_sim`]: a speech provider that speaks the OpenAI Realtime API and misbehaves on request.

pub mod provider_sim;
