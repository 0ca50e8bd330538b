//! Names of calls, items, responses and nodes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The characters of a minted id. 32 of them, so five random bits make one character without bias.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Number of random characters behind the prefix: 20 × 5 bits = 100 bits.
const RANDOM_CHARACTERS: usize = 20;

fn mint(prefix: &str, random: u128) -> Arc<str> {
    let mut text = String::with_capacity(prefix.len() + RANDOM_CHARACTERS);
    text.push_str(prefix);
    for index in 0..RANDOM_CHARACTERS {
        let bits = (random >> (index * 5)) & 31;
        // The mask keeps `bits` below 32, the length of the alphabet.
        text.push(char::from(ALPHABET[bits as usize]));
    }
    text.into()
}

macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The prefix of an id minted by voxgate.
            pub const PREFIX: &'static str = $prefix;

            /// Mints an id from 100 of the given random bits.
            #[must_use]
            pub fn from_random(random: u128) -> Self {
                Self(mint(Self::PREFIX, random))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Takes an id somebody else chose, as it stands.
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

named_id!(
    /// One call: a WebRTC connection or a client WebSocket.
    CallId, "rtc_"
);
named_id!(
    /// One Realtime session.
    SessionId, "sess_"
);
named_id!(
    /// One item of a conversation.
    ItemId, "item_"
);
named_id!(
    /// One response of the model.
    ResponseId, "resp_"
);
named_id!(
    /// One event sent to a client.
    EventId, "event_"
);
named_id!(
    /// One call of a tool, as the model named it.
    ToolCallId, "call_"
);
named_id!(
    /// One call of a tool that waits for a person.
    ApprovalId, "appr_"
);
named_id!(
    /// One conversation.
    ConversationId, "conv_"
);

/// The index of a transceiver node in the allow-list signaling publishes. Never an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u32);

/// The identity of a relay, as tunnel frames carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayId(pub u32);

/// Mints ids from a seed, deterministically, so that a replayed session names everything as before.
///
/// The sequence is a SplitMix64 generator; ids are names, not secrets. Secrets come from the operating system.
#[derive(Clone, Debug)]
pub struct IdSource {
    state: u64,
}

impl IdSource {
    /// Starts a sequence at a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 128 bits of the sequence.
    pub fn next_bits(&mut self) -> u128 {
        (u128::from(self.next_word()) << 64) | u128::from(self.next_word())
    }

    /// A seed for a further sequence. Two sequences of one seed would give two things the same name.
    pub fn next_seed(&mut self) -> u64 {
        self.next_word()
    }

    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_prefix_and_a_hundred_random_bits() {
        let id = CallId::from_random(u128::MAX);
        assert_eq!(id.as_str(), "rtc_zzzzzzzzzzzzzzzzzzzz");
        assert_eq!(CallId::from_random(0).as_str(), "rtc_00000000000000000000");
    }

    #[test]
    fn the_same_seed_names_the_same_things() {
        let mut first = IdSource::new(7);
        let mut second = IdSource::new(7);
        let names: Vec<_> = (0..100).map(|_| ItemId::from_random(first.next_bits())).collect();
        let again: Vec<_> = (0..100).map(|_| ItemId::from_random(second.next_bits())).collect();
        assert_eq!(names, again);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), 100);
    }

    #[test]
    fn sequences_of_one_seed_share_no_name() {
        let mut seeds = IdSource::new(7);
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let mut sequence = IdSource::new(seeds.next_seed());
            names.extend((0..100).map(|_| sequence.next_bits()));
        }
        assert_eq!(names.len(), 1000);
    }
}
