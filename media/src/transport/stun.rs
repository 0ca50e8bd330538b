//! STUN binding requests and responses (RFC 8489, RFC 8445 section 7): check one, answer one, ask one.
//!
//! Nothing here trusts a length field or a byte order of the peer: every read is bounded by the datagram.

mod message;

use std::net::SocketAddr;

use self::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, ERROR_CODE, HEADER, ICE_CONTROLLED, ICE_CONTROLLING,
    MAGIC_COOKIE, MESSAGE_INTEGRITY, Message, PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS,
    attribute, u16_at, verify_integrity, xor_address,
};

/// No check of a real peer is larger; a bigger one is not worth a digest.
const LARGEST_CHECK: usize = 1500;
/// What a peer would rank an address it learns from our check by (RFC 8445 sections 5.1.2 and 7.1.1).
const PEER_REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Identifies one request and its answer.
pub(super) type TransactionId = [u8; 12];

/// A connectivity check whose MESSAGE-INTEGRITY was correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BindingRequest {
    pub(super) transaction: TransactionId,
    /// The peer wants this path to carry the call (USE-CANDIDATE).
    pub(super) nominated: bool,
    /// The peer believes that we control the session; as a lite agent we never do.
    pub(super) peer_is_controlled: bool,
}

/// Why a datagram is not a check we answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum StunRejection {
    #[error("the datagram is not a STUN binding request")]
    NotABindingRequest,
    #[error("the STUN attributes do not add up to the datagram")]
    Malformed,
    #[error("the check names other credentials")]
    Username,
    #[error("the check carries no correct MESSAGE-INTEGRITY")]
    Integrity,
}

impl BindingRequest {
    /// Reads a check; `password_of` knows the password of the user (`local:remote` fragments) it is addressed to.
    pub(super) fn verify<'a>(
        datagram: &[u8],
        mut password_of: impl FnMut(&[u8]) -> Option<&'a str>,
    ) -> Result<Self, StunRejection> {
        let transaction = binding_request_transaction(datagram).ok_or(StunRejection::NotABindingRequest)?;
        let mut seen = Self { transaction, nominated: false, peer_is_controlled: false };
        let mut password = None;
        let mut at = HEADER;
        while let Some((kind, value, next)) = attribute(datagram, at)? {
            match kind {
                USERNAME => password = Some(password_of(value).ok_or(StunRejection::Username)?),
                USE_CANDIDATE => seen.nominated = true,
                ICE_CONTROLLED => seen.peer_is_controlled = true,
                // What follows the digest is not covered by it, so nothing behind it is read.
                MESSAGE_INTEGRITY => {
                    let password = password.ok_or(StunRejection::Username)?;
                    return verify_integrity(datagram, at, value, password).map(|()| seen);
                }
                _ => {}
            }
            at = next;
        }
        Err(StunRejection::Integrity)
    }
}

/// The transaction of a well-framed binding request, whoever signed it.
pub(super) fn binding_request_transaction(datagram: &[u8]) -> Option<TransactionId> {
    transaction_of(datagram, &[BINDING_REQUEST])
}

/// The transaction a well-framed binding response, success or error, belongs to, whoever signed it.
pub(super) fn binding_response_transaction(datagram: &[u8]) -> Option<TransactionId> {
    transaction_of(datagram, &[BINDING_SUCCESS, BINDING_ERROR])
}

fn transaction_of(datagram: &[u8], kinds: &[u16]) -> Option<TransactionId> {
    if datagram.len() < HEADER || datagram.len() > LARGEST_CHECK {
        return None;
    }
    let length = usize::from(u16_at(datagram, 2)?);
    let framed = length % 4 == 0 && HEADER + length == datagram.len();
    let wanted = kinds.contains(&u16_at(datagram, 0)?) && datagram.get(4..8)? == MAGIC_COOKIE.to_be_bytes();
    if !framed || !wanted {
        return None;
    }
    datagram.get(8..HEADER)?.try_into().ok()
}

/// Whether the peer signed a response with `password`, its own.
///
/// What it says does not matter: an error, too, shows that the peer is there. Errors without a digest (RFC 8489
/// section 9.1.3 allows them) could be anybody's and are refused.
pub(super) fn verify_response(datagram: &[u8], password: &str) -> Result<(), StunRejection> {
    let mut at = HEADER;
    while let Some((kind, value, next)) = attribute(datagram, at)? {
        if kind == MESSAGE_INTEGRITY {
            return verify_integrity(datagram, at, value, password);
        }
        at = next;
    }
    Err(StunRejection::Integrity)
}

/// A check of a controlled agent, addressed to `username` (`peer:own` fragments) and signed with the peer's password.
pub(super) fn controlled_check(
    transaction: TransactionId,
    username: &str,
    password: &str,
    tie_breaker: u64,
) -> Vec<u8> {
    let mut message = Message::new(BINDING_REQUEST, transaction);
    message.attribute(USERNAME, username.as_bytes());
    message.attribute(PRIORITY, &PEER_REFLEXIVE_PRIORITY.to_be_bytes());
    message.attribute(ICE_CONTROLLED, &tie_breaker.to_be_bytes());
    message.seal(password)
}

/// A success response that tells `client` its own address (RFC 8489 section 14.2).
pub(super) fn binding_success(transaction: TransactionId, client: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_SUCCESS, transaction);
    message.attribute(XOR_MAPPED_ADDRESS, &xor_address(client, transaction));
    message.seal(password)
}

/// Error 487: the peer took the controlled role, which a lite agent cannot give up (RFC 8445 section 7.3.1.1).
pub(super) fn role_conflict(transaction: TransactionId, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_ERROR, transaction);
    message.attribute(ERROR_CODE, b"\0\0\x04\x57Role Conflict");
    message.seal(password)
}

/// A nominating check of a controlling agent.
pub(super) fn nominating_check(transaction: TransactionId, username: &str, password: &str) -> Vec<u8> {
    let mut message = Message::new(BINDING_REQUEST, transaction);
    message.attribute(USERNAME, username.as_bytes());
    message.attribute(PRIORITY, &1u32.to_be_bytes());
    message.attribute(ICE_CONTROLLING, &1u64.to_be_bytes());
    message.attribute(USE_CANDIDATE, &[]);
    message.seal(password)
}

#[cfg(test)]
mod tests;
