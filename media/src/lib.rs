//! voxgate media
pub mod decode;
pub mod encode;
pub mod jitter;
pub mod playout;
pub mod resample;
pub mod turn;
pub mod uplink;
pub mod voice;
pub mod transport;
#[cfg(test)]
mod speech_fixture;
pub mod session;
pub mod timeline;
