//! A headless caller for any gateway that speaks the OpenAI Realtime API over WebRTC.
//!
//! It knows the gateway over the wire only. [`Call`] is one call: it sends microphone sound without a pause, plays
//! [`Speech`] into it, hands out events and keeps a [`Recording`] with the real times of arrival, so that the time
//! from mouth to ear is measured outside the gateway. [`run`] is the behaviour of `voxgate call`.
//!
//! - pure: [`pacing`], [`reorder`], [`recording`], [`samples`], [`audible`], [`report`], [`picture`];
//! - with sockets and tasks: [`Call`] and everything below it.

pub use voxgate_protocol::audible;

mod answer;
mod call;
mod channels;
mod dial;
mod ear;
mod error;
mod failover;
mod hurry;
mod microphone;
mod mouth;
mod news;
pub mod pacing;
mod peer;
pub mod picture;
pub mod recording;
pub mod reorder;
pub mod report;
mod run;
pub mod samples;
mod speech;
mod stream;
mod timings;
mod turn;

pub use call::{Call, CallOptions, Playing};
pub use channels::{CallNotice, ServerEvent};
pub use ear::Heard;
pub use error::CallError;
pub use mouth::Spoken;
pub use recording::Recording;
pub use run::{RunOptions, RunSummary, run};
pub use speech::{SPEECH_RATE, Speech, SpeechError};
pub use stream::Transport;
pub use timings::{CallTimings, Step};
pub use turn::{HopMeasured, TurnMeasured};
