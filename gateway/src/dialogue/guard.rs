//! What may be said in a session: its rules, over the words of both sides as they come.
//!
//! Pure, and outside the session core: what a rule asks for reaches the core as a command, so a replay log has it like
//! any other and needs no rules. Words are looked at before the core has them. An answer is therefore taken back before
//! the piece that broke a rule reaches anybody.

use std::collections::VecDeque;
use std::sync::Arc;

use voxgate_policy::guardrail::{Act, Direction, Finding, Hidden, RuleSet, Scanner};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::conversation::{Content, InputItem, Item, ItemKind};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::{EndReason, SessionCommand};
use voxgate_protocol::settings::{ResponseOptions, ToolChoice};

use voxgate_telemetry::session::view::Lane;

use super::consultant::Heard;
use super::sight::SaidWords;

/// Items looked at side by side: an answer, answers beside the conversation, the caller's turn.
const MOST_ITEMS: usize = 8;

/// Answers replaced in a row. A model that goes on then will not stop.
const MOST_REPLACED: u32 = 3;

/// A rule that matched, for the operator: no words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) rule: String,
    pub(super) direction: &'static str,
    pub(super) act: &'static str,
    /// Its judge gave no opinion; this is what the rule demands then.
    pub(super) is_unheard: bool,
}

/// What has to happen before the words go on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judgement {
    pub(super) notes: Vec<Note>,
    pub(super) command: Option<SessionCommand>,
    pub(super) end: Option<EndReason>,
}

/// An item whose words are still coming.
struct Watched {
    item_id: ItemId,
    direction: Direction,
    scanner: Scanner,
}

/// The rules of one session at work.
pub(super) struct Guard {
    rules: Arc<RuleSet>,
    /// Oldest first.
    watched: VecDeque<Watched>,
    /// What judges outside want hidden.
    hidden: Hidden,
    /// Answers replaced since the caller's last turn.
    replaced: u32,
}

impl Guard {
    pub(super) fn new(rules: Arc<RuleSet>) -> Self {
        Self { rules, watched: VecDeque::new(), hidden: Hidden::default(), replaced: 0 }
    }

    /// Looks at what the provider says.
    pub(super) fn hear(&mut self, event: &BridgeEvent) -> Judgement {
        match event {
            BridgeEvent::InputTranscriptDelta { item_id, delta } => {
                let findings = self.push(item_id, Direction::Caller, delta);
                self.judge(&findings, Direction::Caller, None)
            }
            BridgeEvent::InputTranscriptDone { item_id, transcript, .. } => {
                let findings = match self.finish(item_id) {
                    Some((findings, _)) => findings,
                    None => self.rules.scan(Direction::Caller, transcript),
                };
                self.judge(&findings, Direction::Caller, None)
            }
            // Words the client did not ask for are said none the less.
            BridgeEvent::InputWords { words, .. } => {
                let findings = self.rules.scan(Direction::Caller, words);
                self.judge(&findings, Direction::Caller, None)
            }
            BridgeEvent::InputCommitted { .. } => {
                self.replaced = 0;
                Judgement::default()
            }
            BridgeEvent::Output { response_id, item_id, part } => {
                let (direction, piece) = match part {
                    OutputPart::Audio(_) => return Judgement::default(),
                    OutputPart::Transcript(piece) | OutputPart::Text(piece) => (Direction::Agent, piece),
                    OutputPart::ToolArguments { delta, .. } => (Direction::ToolArguments, delta),
                };
                let findings = self.push(item_id, direction, piece);
                self.judge(&findings, direction, Some(response_id))
            }
            BridgeEvent::OutputItemDone { response_id, item_id, .. } => match self.finish(item_id) {
                Some((findings, direction)) => self.judge(&findings, direction, Some(response_id)),
                None => Judgement::default(),
            },
            _ => Judgement::default(),
        }
    }

    /// Looks at what a client writes to the conversation.
    pub(super) fn read(&mut self, command: &BridgeCommand) -> Judgement {
        let BridgeCommand::CreateItem { item: Item { kind: ItemKind::Message { content, .. }, .. }, .. } =
            command
        else {
            return Judgement::default();
        };
        let written = content.iter().filter_map(|content| match content {
            Content::InputText(text) => Some(text.as_str()),
            _ => None,
        });
        let findings: Vec<Finding> =
            written.flat_map(|text| self.rules.scan(Direction::Caller, text)).collect();
        self.judge(&findings, Direction::Caller, None)
    }

    /// The command as the provider gets it: without what a rule or a judge hides in written words.
    pub(super) fn mask(&self, mut command: BridgeCommand) -> BridgeCommand {
        match &mut command {
            BridgeCommand::CreateItem { item, .. } | BridgeCommand::RestoreItem { item, .. } => {
                self.mask_item(item);
            }
            BridgeCommand::CreateResponse(options) => {
                for item in options.input.iter_mut().flatten() {
                    if let InputItem::New(kind) = item {
                        self.mask_kind(kind);
                    }
                }
            }
            _ => {}
        }
        command
    }

    /// Words as they may be written down.
    pub(super) fn mask_words(&self, who: Lane, words: SaidWords) -> SaidWords {
        let direction = match who {
            Lane::Caller => Direction::Caller,
            Lane::Agent => Direction::Agent,
        };
        let mask = |text: String| {
            let mut text = if self.rules.masks() { self.rules.mask(direction, &text) } else { text };
            self.hidden.hide(&mut text);
            text
        };
        match words {
            SaidWords::Added(text) => SaidWords::Added(mask(text)),
            SaidWords::Complete(text) => SaidWords::Complete(mask(text)),
            SaidWords::Cut(text) => SaidWords::Cut(mask(text)),
            SaidWords::TakenBack => SaidWords::TakenBack,
        }
    }

    /// An item of a conversation that is told again.
    pub(super) fn mask_item(&self, item: &mut Item) {
        self.mask_kind(&mut item.kind);
    }

    fn mask_kind(&self, kind: &mut ItemKind) {
        let ItemKind::Message { content, .. } = kind else { return };
        for part in content {
            let (direction, text) = match part {
                Content::InputText(text) => (Direction::Caller, text),
                Content::OutputText(text) => (Direction::Agent, text),
                _ => continue,
            };
            if self.rules.masks() {
                *text = self.rules.mask(direction, text);
            }
            self.hidden.hide(text);
        }
    }

    fn push(&mut self, item_id: &ItemId, direction: Direction, piece: &str) -> Vec<Finding> {
        if self.rules.is_silent_about(direction) {
            return Vec::new();
        }
        let place = self.watched.iter().position(|watched| watched.item_id == *item_id);
        let place = place.unwrap_or_else(|| {
            if self.watched.len() == MOST_ITEMS {
                self.watched.pop_front();
            }
            let scanner = Scanner::new(Arc::clone(&self.rules), direction);
            self.watched.push_back(Watched { item_id: item_id.clone(), direction, scanner });
            self.watched.len() - 1
        });
        self.watched[place].scanner.push(piece)
    }

    fn finish(&mut self, item_id: &ItemId) -> Option<(Vec<Finding>, Direction)> {
        let place = self.watched.iter().position(|watched| watched.item_id == *item_id)?;
        let mut watched = self.watched.remove(place)?;
        Some((watched.scanner.finish(), watched.direction))
    }

    fn judge(
        &mut self,
        findings: &[Finding],
        direction: Direction,
        answer: Option<&ResponseId>,
    ) -> Judgement {
        let notes = findings.iter().map(|finding| {
            let rule = self.rules.rule(finding.rule);
            let (name, direction, act) = (rule.name.clone(), direction.as_str(), rule.act.as_str());
            Note { rule: name, direction, act, is_unheard: false }
        });
        let notes = notes.collect();
        let act = self.rules.strongest(findings).map(|(_, act)| act.clone());
        act.map_or_else(Judgement::default, |act| self.act(notes, &act, answer))
    }

    /// What a judge outside wants done.
    pub(super) fn heed(&mut self, heard: Heard) -> Judgement {
        let Heard { rule, direction, answer, act, hide, is_unheard } = heard;
        // What must be hidden and cannot be ends the call.
        let act = if self.hidden.add(hide) { act } else { Act::End };
        let note = Note { rule, direction: direction.as_str(), act: act.as_str(), is_unheard };
        self.act(vec![note], &act, answer.as_ref())
    }

    fn act(&mut self, notes: Vec<Note>, act: &Act, answer: Option<&ResponseId>) -> Judgement {
        match act {
            Act::End => Judgement { notes, command: None, end: Some(EndReason::Guardrail) },
            Act::Replace { .. } if self.replaced == MOST_REPLACED => {
                Judgement { notes, command: None, end: Some(EndReason::Guardrail) }
            }
            Act::Replace { say } => {
                self.replaced += 1;
                let command = SessionCommand::WithdrawAnswer {
                    response_id: answer.cloned(),
                    instead: Some(Box::new(saying(say))),
                };
                Judgement { notes, command: Some(command), end: None }
            }
            Act::Note | Act::Mask => Judgement { notes, command: None, end: None },
        }
    }
}

/// An answer that is one sentence, word for word.
fn saying(sentence: &str) -> ResponseOptions {
    ResponseOptions {
        instructions: Some(format!("Say exactly: {sentence}")),
        tool_choice: Some(ToolChoice::None),
        ..ResponseOptions::default()
    }
}

#[cfg(test)]
mod tests;
