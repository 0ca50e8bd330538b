//! What a new connection to a model is told of a conversation that began on another.

use std::collections::HashSet;

use voxgate_protocol::conversation::{Content, Item, ItemKind, ItemStatus, Role};
use voxgate_protocol::id::ItemId;

/// Most items of the caller and the agent handed on; a bridge takes 512 commands at once.
const MOST_ITEMS: usize = 256;

/// Most of their words handed on, in bytes: four to a token, this fills the 32,000 tokens a `gpt-realtime` remembers.
const MOST_WORDS: usize = 128 * 1024;

/// Most messages of the system handed on, and their bytes.
const MOST_TASKS: usize = 64;
const MOST_TASK_WORDS: usize = 64 * 1024;

/// Most bytes of pictures handed on: a few photographs. A vendor takes no message of more than 15 MiB.
const MOST_PICTURES: usize = 4 * 1024 * 1024;

/// An item and what a model that was not there can be given of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextItem {
    /// Its name.
    pub id: ItemId,
    /// Speech as the words that were recognised or heard, everything else as it is. `None` for what has no words, for
    /// a tool's output whose call is not handed on, and for what is older than the limits allow.
    pub item: Option<Item>,
}

/// The newest items within the limits; messages of the system, which are part of the task, whatever their age.
/// With each item come the caller's words that it does not show.
pub(crate) fn of<'a>(
    items: impl DoubleEndedIterator<Item = (&'a Item, Option<&'a str>)>,
) -> Vec<ContextItem> {
    let mut room = Room {
        talk: Share { items: MOST_ITEMS, words: MOST_WORDS, is_full: false },
        task: Share { items: MOST_TASKS, words: MOST_TASK_WORDS, is_full: false },
        pictures: MOST_PICTURES,
    };
    let mut context: Vec<ContextItem> = items
        .rev()
        .map(|(item, words)| ContextItem { id: item.id.clone(), item: room.take(item, words) })
        .collect();
    context.reverse();
    leave_out_answers_without_calls(&mut context);
    context
}

/// A vendor refuses the output of a call it has not seen.
fn leave_out_answers_without_calls(context: &mut [ContextItem]) {
    let mut calls = HashSet::new();
    for entry in context {
        match entry.item.as_ref().map(|item| &item.kind) {
            Some(ItemKind::ToolCall { call_id, .. }) => {
                calls.insert(call_id.clone());
            }
            Some(ItemKind::ToolOutput { call_id, .. }) if !calls.contains(call_id) => entry.item = None,
            _ => {}
        }
    }
}

struct Room {
    talk: Share,
    task: Share,
    pictures: usize,
}

struct Share {
    items: usize,
    words: usize,
    /// An item did not fit: what is older is left out, so that the memory has a beginning and no holes.
    is_full: bool,
}

impl Share {
    fn fits(&mut self, weight: usize) -> bool {
        self.is_full |= self.items == 0 || weight > self.words;
        if !self.is_full {
            self.items -= 1;
            self.words -= weight;
        }
        !self.is_full
    }
}

impl Room {
    fn take(&mut self, item: &Item, words: Option<&str>) -> Option<Item> {
        let kind = match &item.kind {
            ItemKind::Message { role, content } => {
                let content: Vec<Content> =
                    content.iter().filter_map(|part| self.in_words(part, words)).collect();
                if content.is_empty() {
                    return None;
                }
                ItemKind::Message { role: *role, content }
            }
            // Arguments that were never written to their end are not a call.
            ItemKind::ToolCall { .. } if item.status != ItemStatus::Completed => return None,
            other => other.clone(),
        };
        let is_task = matches!(&kind, ItemKind::Message { role: Role::System, .. });
        let share = if is_task { &mut self.task } else { &mut self.talk };
        let fits = share.fits(words_of(&kind));
        fits.then(|| Item { id: item.id.clone(), status: ItemStatus::Completed, kind })
    }

    fn in_words(&mut self, part: &Content, unseen: Option<&str>) -> Option<Content> {
        let words = match part {
            Content::InputText(text) | Content::InputAudio { transcript: Some(text) } => {
                Content::InputText(text.clone())
            }
            Content::OutputText(text) | Content::OutputAudio { transcript: text } => {
                Content::OutputText(text.clone())
            }
            Content::InputAudio { transcript: None } => Content::InputText(unseen?.to_owned()),
            Content::InputImage { image_url } => {
                self.pictures = self.pictures.checked_sub(image_url.len())?;
                return Some(part.clone());
            }
        };
        match &words {
            Content::InputText(text) | Content::OutputText(text) if text.trim().is_empty() => None,
            _ => Some(words),
        }
    }
}

fn words_of(kind: &ItemKind) -> usize {
    match kind {
        ItemKind::Message { content, .. } => content
            .iter()
            .map(|part| match part {
                Content::InputText(text) | Content::OutputText(text) => text.len(),
                _ => 0,
            })
            .sum(),
        ItemKind::ToolCall { name, arguments, .. } => name.len() + arguments.len(),
        ItemKind::ToolOutput { output, .. } => output.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, role: Role, content: Content) -> Item {
        let kind = ItemKind::Message { role, content: vec![content] };
        Item { id: id.into(), status: ItemStatus::Completed, kind }
    }

    fn typed(id: &str, text: &str) -> Item {
        message(id, Role::User, Content::InputText(text.into()))
    }

    fn handed_on(items: &[Item]) -> Vec<String> {
        let context = of(items.iter().map(|item| (item, None)));
        assert_eq!(context.len(), items.len(), "every item is named");
        context.into_iter().filter_map(|entry| Some(entry.item?.id.as_str().to_owned())).collect()
    }

    #[test]
    fn speech_becomes_its_words_and_silence_is_left_out() {
        let spoken = |words: &str| Content::OutputAudio { transcript: words.to_owned() };
        let items = [
            message("u", Role::User, Content::InputAudio { transcript: Some("what time is it".into()) }),
            message("a", Role::Assistant, spoken("Ten past")),
            message("never-heard", Role::Assistant, spoken(" ")),
            message("not-recognised", Role::User, Content::InputAudio { transcript: None }),
        ];
        let told: Vec<_> =
            of(items.iter().map(|item| (item, None))).into_iter().filter_map(|entry| entry.item).collect();
        assert_eq!(
            told,
            [
                typed("u", "what time is it"),
                message("a", Role::Assistant, Content::OutputText("Ten past".into()))
            ]
        );
        assert_eq!(handed_on(&items), ["u", "a"]);
    }

    #[test]
    fn words_the_client_does_not_see_are_handed_on_and_those_it_sees_win() {
        let heard =
            |transcript: Option<&str>| Content::InputAudio { transcript: transcript.map(str::to_owned) };
        let items = [message("a", Role::User, heard(None)), message("b", Role::User, heard(Some("shown")))];
        let told = of(items.iter().map(|item| (item, Some("unseen"))));
        let told: Vec<_> = told.into_iter().filter_map(|entry| entry.item).collect();
        assert_eq!(told, [typed("a", "unseen"), typed("b", "shown")]);
    }

    #[test]
    fn the_oldest_are_left_out_when_there_is_too_much_but_never_the_task() {
        let mut items = vec![message("task", Role::System, Content::InputText("be kind".into()))];
        items.extend((0..400).map(|number| typed(&format!("u{number}"), "hello")));
        let told = handed_on(&items);
        assert_eq!(told[..2], ["task", "u144"], "the newest 256");
        let long = "x".repeat(MOST_WORDS / 2 - 8);
        let items = [
            message("task", Role::System, Content::InputText("be kind".into())),
            typed("old", &long),
            typed("mid", &long),
            typed("new", &long),
        ];
        assert_eq!(handed_on(&items), ["task", "mid", "new"]);
    }

    #[test]
    fn a_tools_output_comes_with_its_call_or_not_at_all() {
        let call = |id: &str, status| {
            let kind =
                ItemKind::ToolCall { call_id: id.into(), name: "weather".into(), arguments: "{}".into() };
            Item { id: format!("call-{id}").as_str().into(), status, kind }
        };
        let output = |id: &str| {
            let kind = ItemKind::ToolOutput { call_id: id.into(), output: "sun".into() };
            Item { id: format!("output-{id}").as_str().into(), status: ItemStatus::Completed, kind }
        };
        let items = [
            output("1"),
            call("2", ItemStatus::Completed),
            output("2"),
            call("3", ItemStatus::Incomplete),
            output("3"),
        ];
        assert_eq!(handed_on(&items), ["call-2", "output-2"]);
    }

    #[test]
    fn pictures_are_bounded_and_words_beside_them_stay() {
        let picture = |size| Content::InputImage { image_url: "x".repeat(size) };
        let kind = ItemKind::Message {
            role: Role::User,
            content: vec![Content::InputText("look".into()), picture(MOST_PICTURES)],
        };
        let newest = message("newest", Role::User, picture(10));
        let items = [Item { id: "old".into(), status: ItemStatus::Completed, kind }, newest];
        let told: Vec<_> =
            of(items.iter().map(|item| (item, None))).into_iter().filter_map(|entry| entry.item).collect();
        assert_eq!(told.first(), Some(&typed("old", "look")));
        assert_eq!(told.len(), 2);
    }
}
