//! What the caller and the client said since the last answer.

use std::collections::BTreeMap;

use voxgate_protocol::conversation::{Content, Item, ItemKind, Role};
use voxgate_protocol::id::{ItemId, ToolCallId};

use super::brain::{BrainInput, ToolAnswer};

/// Items kept; older ones are forgotten.
const MOST_ITEMS: usize = 256;

#[derive(Clone, Debug)]
enum Said {
    Words(String),
    Unheard,
    Silence,
    Tool(ToolAnswer),
}

/// Items that ask for an answer, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered {
    items: Vec<(ItemId, Said)>,
}

impl Unanswered {
    /// The words of a turn.
    pub(super) fn add_words(&mut self, item_id: ItemId, words: String) {
        self.add(item_id, Said::Words(words));
    }

    /// A turn whose words nobody knows.
    pub(super) fn add_unheard(&mut self, item_id: ItemId) {
        self.add(item_id, Said::Unheard);
    }

    /// The idle timeout has waited for the caller in vain.
    pub(super) fn add_silence(&mut self, item_id: ItemId) {
        self.add(item_id, Said::Silence);
    }

    /// What another list has of an item, if it is there.
    pub(super) fn add_from(&mut self, item_id: &ItemId, other: &Self) {
        if let Some((_, said)) = other.items.iter().rev().find(|(name, _)| name == item_id) {
            self.add(item_id.clone(), said.clone());
        }
    }

    /// An item a client wrote. Only what a user says and what tools answer asks for an answer.
    pub(super) fn add_item(&mut self, item: &Item, tools: &BTreeMap<ToolCallId, String>) {
        self.add_kind(item.id.clone(), &item.kind, tools);
    }

    /// The same of an item that may have no name.
    pub(super) fn add_kind(&mut self, id: ItemId, kind: &ItemKind, tools: &BTreeMap<ToolCallId, String>) {
        match kind {
            ItemKind::Message { role: Role::User, content } => self.add(id, Said::Words(text_of(content))),
            ItemKind::ToolOutput { call_id, output } => {
                let name = tools.get(call_id).cloned().unwrap_or_default();
                self.add(id, Said::Tool(ToolAnswer { name, output: output.clone() }));
            }
            ItemKind::Message { .. } | ItemKind::ToolCall { .. } => {}
        }
    }

    fn add(&mut self, item_id: ItemId, said: Said) {
        if self.items.len() == MOST_ITEMS {
            self.items.remove(0);
        }
        self.items.push((item_id, said));
    }

    /// Forgets an item the client removed.
    pub(super) fn remove(&mut self, item_id: &ItemId) {
        self.items.retain(|(name, _)| name != item_id);
    }

    /// Everything is answered.
    pub(super) fn clear(&mut self) {
        self.items.clear();
    }

    /// Everything, as one question. What came last decides: tools are answered if nobody spoke after them.
    pub(super) fn question(&self) -> BrainInput {
        let items = &self.items;
        match items.last() {
            None => BrainInput::Opening,
            Some((_, Said::Silence)) => BrainInput::Silence,
            Some((_, Said::Tool(_))) => {
                let tools = items.iter().filter_map(|(_, said)| match said {
                    Said::Tool(answer) => Some(answer.clone()),
                    Said::Words(_) | Said::Unheard | Said::Silence => None,
                });
                BrainInput::ToolOutputs(tools.collect())
            }
            Some((_, Said::Words(_) | Said::Unheard)) => {
                let spoken: Vec<_> = items
                    .iter()
                    .filter_map(|(_, said)| match said {
                        Said::Words(words) => Some(words.as_str()),
                        Said::Unheard | Said::Silence | Said::Tool(_) => None,
                    })
                    .collect();
                if spoken.is_empty() { BrainInput::Unheard } else { BrainInput::Words(spoken.join(" ")) }
            }
        }
    }
}

fn text_of(content: &[Content]) -> String {
    let texts = content.iter().filter_map(|part| match part {
        Content::InputText(text) | Content::OutputText(text) => Some(text.as_str()),
        Content::InputAudio { transcript } => transcript.as_deref(),
        Content::OutputAudio { .. } | Content::InputImage { .. } => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::conversation::ItemStatus;

    use super::*;

    fn item(name: &str, kind: ItemKind) -> Item {
        Item { id: name.into(), status: ItemStatus::Completed, kind }
    }

    fn typed(name: &str, role: Role, text: &str) -> Item {
        item(name, ItemKind::Message { role, content: vec![Content::InputText(text.to_owned())] })
    }

    #[test]
    fn several_items_are_one_question_and_only_the_users_count() {
        let mut unanswered = Unanswered::default();
        assert_eq!(unanswered.question(), BrainInput::Opening);
        unanswered.add_unheard("a".into());
        unanswered.add_item(&typed("b", Role::System, "be brief"), &BTreeMap::new());
        unanswered.add_item(&typed("c", Role::User, "what time"), &BTreeMap::new());
        unanswered.add_words("d".into(), "is it".to_owned());
        unanswered.add_words("e".into(), "never mind".to_owned());
        unanswered.remove(&"e".into());
        assert_eq!(unanswered.question(), BrainInput::Words("what time is it".to_owned()));
        unanswered.clear();
        unanswered.add_unheard("f".into());
        assert_eq!(unanswered.question(), BrainInput::Unheard);
        unanswered.add_silence("g".into());
        assert_eq!(unanswered.question(), BrainInput::Silence);
    }

    #[test]
    fn the_output_of_a_tool_carries_the_name_of_its_call() {
        let mut unanswered = Unanswered::default();
        let tools = BTreeMap::from([(ToolCallId::from("call_1"), "clock".to_owned())]);
        for call in ["call_1", "call_2"] {
            let kind = ItemKind::ToolOutput { call_id: call.into(), output: "12".to_owned() };
            unanswered.add_item(&item(call, kind), &tools);
        }
        let answer = |name: &str| ToolAnswer { name: name.to_owned(), output: "12".to_owned() };
        assert_eq!(unanswered.question(), BrainInput::ToolOutputs(vec![answer("clock"), answer("")]));
    }
}
