//! The client-facing API: who is calling, what they want, where the call goes.
//!
//! HTTP, WebSocket upgrade and the book of secrets live here; sessions themselves run behind [`SessionHost`].
//! Paths and shapes are those of the OpenAI Realtime GA API, so that existing SDKs connect by changing a base
//! URL.
//!
//! - [`admin`]: the administration.
//! - [`api`]: the router.
//! - [`audit_queue`]: what was decided and done, on its way to the audit log.
//! - [`identity`]: API keys and client secrets.
//! - [`directory`]: the tree of keys, shared and changed while the gateway runs.
//! - [`gate`]: what every session passes before it begins.
//! - [`host`]: the seam to the nodes that run sessions.
//! - [`resume`]: conversations whose clients may come back.
//! - [`roster`]: the keys of configuration and store, as a running gateway follows them.
//! - [`permit`]: a place among the running sessions, given back when dropped.
//! - [`remainder`]: what of a request its handler did not read.
//! - [`heard`]: the turns of this process, for whoever compares them.
//! - [`live`]: the sessions that run in this process.
//! - [`outbox`]: ledger entries on their way to the store.
//! - [`limits`]: how much of something, in this process or shared between nodes.
//! - [`store`]: what outlives a process.
//! - [`terms`]: the part of a configuration a session keeps to its end.

pub mod admin;
pub mod api;
pub mod audit_queue;
mod decision;
pub mod directory;
pub mod gate;
pub mod heard;
pub mod host;
pub mod identity;
pub mod limits;
pub mod live;
pub mod outbox;
pub mod permit;
pub mod remainder;
mod reply;
pub mod resume;
pub mod roster;
pub mod sign_in;
pub mod store;
pub mod terms;
