//! The words every part of voxgate shares.
//!
//! The relay, the media core, the providers, the client protocol and the policy do not know each other; they
//! meet in the types of this crate. It holds no behaviour beyond constructors and arithmetic on its own types:
//! no clock, no socket, no random source.
//!
//! - [`id`]: names of calls, items, responses and nodes.
//! - [`audible`]: where samples can be heard.
//! - [`audio`]: sample rates, sample counts and PCM.
//! - [`conversation`]: items and their content.
//! - [`framing`]: datagrams on a byte stream.
//! - [`money`]: amounts in whole nano-dollars.
//! - [`path`]: where a client's packets come from.
//! - [`revision`]: which configuration something runs with.
//! - [`settings`]: what a session is configured to do.
//! - [`bridge`]: commands to and events from a speech provider.
//! - [`tenant`]: organisations, teams, keys, agents.
//! - [`session`]: commands from and events to a client, whatever protocol it speaks.
//! - [`usage`]: what a provider says was used.
//! - [`timeline`]: the hops of a turn and their durations.
//! - [`trace`]: what was seen of a turn, before its hops are reckoned.
//! - [`trace_context`]: which distributed trace a session belongs to.

pub mod audible;
pub mod audio;
pub mod bridge;
pub mod conversation;
pub mod framing;
pub mod id;
pub mod money;
pub mod path;
pub mod revision;
pub mod session;
pub mod settings;
pub mod tenant;
pub mod timeline;
pub mod trace;
pub mod trace_context;
pub mod usage;
