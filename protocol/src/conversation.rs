//! Items of a conversation and their content.

use serde::{Deserialize, Serialize};

use crate::id::{ItemId, ToolCallId};

/// Who an item speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator or developer of the agent.
    System,
    /// The caller.
    User,
    /// The agent.
    Assistant,
}

/// Whether an item is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// Still being written.
    InProgress,
    /// Written to its end.
    #[default]
    Completed,
    /// Cut off: interrupted, cancelled or failed.
    Incomplete,
}

/// One piece of a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text somebody typed.
    InputText(String),
    /// Speech of the caller; the words are known once recognised.
    InputAudio {
        /// What was said, if recognised.
        transcript: Option<String>,
    },
    /// A picture as a data URI.
    InputImage {
        /// The data URI.
        image_url: String,
    },
    /// Text the model wrote.
    OutputText(String),
    /// Speech of the agent.
    OutputAudio {
        /// What was said; after an interruption, what was heard.
        transcript: String,
    },
}

/// Names the kind only: words of a caller must never reach a log.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InputText(_) => "InputText(..)",
            Self::InputAudio { .. } => "InputAudio(..)",
            Self::InputImage { .. } => "InputImage(..)",
            Self::OutputText(_) => "OutputText(..)",
            Self::OutputAudio { .. } => "OutputAudio(..)",
        })
    }
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// Something said or written.
    Message {
        /// By whom.
        role: Role,
        /// What, in order.
        content: Vec<Content>,
    },
    /// The model asks for a tool.
    ToolCall {
        /// The name of this call, to be repeated in the output.
        call_id: ToolCallId,
        /// The tool.
        name: String,
        /// JSON text.
        arguments: String,
    },
    /// What the tool answered.
    ToolOutput {
        /// The call it answers.
        call_id: ToolCallId,
        /// Free text, usually JSON.
        output: String,
    },
}

/// One item of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// Whether it is finished.
    pub status: ItemStatus,
    /// What it is.
    pub kind: ItemKind,
}

/// What an answer is made from when it is not the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputItem {
    /// An item of the conversation.
    Reference(ItemId),
    /// Something that is said for this answer only, and has no name.
    New(ItemKind),
}

/// Where a new item goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Behind everything.
    #[default]
    Last,
    /// Before everything (`previous_item_id: "root"` in the Realtime API).
    First,
    /// Right behind an item.
    After(ItemId),
}
