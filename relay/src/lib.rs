//! The voxgate relay: one public UDP port in front of many transceivers.
//!
//! A client's STUN binding request names its transceiver in the sealed ufrag the SDP answer gave it; the relay
//! opens the ufrag, wraps the datagram in a tunnel frame and sends it to that node. Everything else a client sends
//! follows a flow the node has confirmed. DTLS and SRTP stay opaque, no state is shared between relays, and nothing
//! the relay keeps is needed to carry a datagram towards a client.
//!
//! - [`classify`]: what a datagram is, from its first byte and its STUN header.
//! - [`ufrag`]: the sealed routing hint.
//! - [`tunnel`]: frames between relay and transceiver, for both ends.
//! - [`flow`]: which client address belongs to which session, and how sure that is.
//! - [`core`]: the relay as a state machine without clock and sockets.
//! - [`shell`]: the threads and the sockets around it.
//! - [`stream`]: the same for callers that come over TCP or TLS.

pub mod classify;
pub mod core;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
pub mod shell;
pub mod stream;
pub mod tunnel;
pub mod ufrag;
