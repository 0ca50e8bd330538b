//! An operator's own model of the end of a turn: an ONNX file that hears how a turn sounds.
//!
//! [`model`] knows the file, [`ear`] the thread it runs on and the sessions that ask it.

mod ear;
mod model;
mod outline;

pub(crate) use ear::{Ear, Listener, Verdict};
pub(crate) use model::TurnModel;
