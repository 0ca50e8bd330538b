//! A conversation whose client is gone and may come back.

use serde::{Deserialize, Serialize};
use voxgate_protocol::id::ConversationId;
use voxgate_protocol::settings::SessionSettings;

use crate::conversation::Conversation;

/// What one session leaves to the next: settings, items with their names, transcripts and lengths. It can be written
/// down, for the log of the session that goes on with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct ParkedConversation {
    pub(crate) settings: SessionSettings,
    pub(crate) conversation_id: ConversationId,
    pub(crate) conversation: Conversation,
    pub(crate) has_spoken: bool,
}

impl ParkedConversation {
    /// The settings in effect when the client was lost.
    #[must_use]
    pub const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// What it weighs, in bytes of text and pictures.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.conversation.bytes()
    }
}

/// Shows no words.
impl std::fmt::Debug for ParkedConversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParkedConversation").field("items", &self.conversation.len()).finish_non_exhaustive()
    }
}
