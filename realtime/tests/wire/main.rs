//! The wire as a client sees it. Every event of every test is validated against the schema of OpenAI's SDK.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod allowed_events;
mod answers;
mod caller;
mod conversation;
mod corpus;
mod harness;
mod playback;
mod random;
mod recorded;
mod refusals;
mod requests;
mod resumed;
mod session;
mod sidebands;
mod transcription;
