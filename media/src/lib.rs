//! voxgate media
pub mod decode;
pub mod encode;
pub mod fuzz;
pub mod jitter;
pub mod playout;
pub mod session;
#[cfg(test)]
mod speech_fixture;
pub mod trace;
pub mod transport;
pub mod turn;
pub mod uplink;
pub mod voice;

pub use voxgate_fourier::resample;
