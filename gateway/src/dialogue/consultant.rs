//! What the judges outside are shown of a session, and what they say.
//!
//! Words are shown as they come, and nothing waits: an opinion that comes when its answer is over takes back what is still
//! heard of it, and what is said instead is said all the same.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use voxgate_policy::guardrail::{Act, Consultation, Direction, Hidden, Opinion};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart};
use voxgate_protocol::conversation::{Content, Item, ItemKind};
use voxgate_protocol::id::{ItemId, ResponseId, SessionId};
use voxgate_telemetry::session::facts::EventNote;

use crate::approvals::Ring;
use crate::latency::{Optional, Relief};
use crate::webhook::{Answered, Judge, Shown, Webhooks};

use super::chronicle::JudgeNews;

/// Items shown to a judge side by side; of more the oldest are shown no further.
const MOST_ITEMS: usize = 32;

/// Opinions a session may leave unread: one of each item.
const MOST_UNREAD: usize = MOST_ITEMS;

/// What a judge wants done.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    /// The name of its rule.
    pub(super) rule: String,
    pub(super) direction: Direction,
    /// The answer the words were part of.
    pub(super) answer: Option<ResponseId>,
    /// What is to be done.
    pub(super) act: Act,
    /// With [`Act::Mask`], the words.
    pub(super) hide: Hidden,
    /// The judge gave no opinion.
    pub(super) is_unheard: bool,
}

/// An item a judge is shown.
struct Open {
    number: u64,
    judge: Arc<Judge>,
    item_id: ItemId,
    direction: Direction,
    answer: Option<ResponseId>,
    consultation: Consultation,
}

/// The judges of one session.
pub(super) struct Consultant {
    judges: Arc<[Arc<Judge>]>,
    webhooks: Webhooks,
    session_id: SessionId,
    relief: Relief,
    ring: Ring,
    reply: mpsc::Sender<Answered>,
    answered: mpsc::Receiver<Answered>,
    /// Oldest first.
    open: VecDeque<Open>,
    numbers: u64,
    /// What could not be asked.
    unasked: VecDeque<Heard>,
    news: JudgeNews,
}

impl Consultant {
    /// The judges of a session, which `ring` wakes when one of them has an opinion.
    pub(super) fn new(
        judges: Arc<[Arc<Judge>]>,
        webhooks: Webhooks,
        session_id: SessionId,
        relief: Relief,
        ring: Ring,
    ) -> Self {
        let (reply, answered) = mpsc::channel(MOST_UNREAD);
        let (open, unasked, news) = (VecDeque::new(), VecDeque::new(), JudgeNews::default());
        Self { judges, webhooks, session_id, relief, ring, reply, answered, open, numbers: 0, unasked, news }
    }

    /// Shows what the provider says.
    pub(super) fn hear(&mut self, event: &BridgeEvent) {
        if self.judges.is_empty() {
            return;
        }
        match event {
            BridgeEvent::InputTranscriptDelta { item_id, delta } => {
                self.push(Direction::Caller, item_id, None, delta);
            }
            BridgeEvent::InputTranscriptDone { item_id, transcript, .. } => {
                self.finish(Direction::Caller, item_id, transcript);
            }
            BridgeEvent::InputWords { item_id, words } => self.finish(Direction::Caller, item_id, words),
            BridgeEvent::Output { response_id, item_id, part } => {
                let (direction, piece) = match part {
                    OutputPart::Audio(_) => return,
                    OutputPart::Transcript(piece) | OutputPart::Text(piece) => (Direction::Agent, piece),
                    OutputPart::ToolArguments { delta, .. } => (Direction::ToolArguments, delta),
                };
                self.push(direction, item_id, Some(response_id), piece);
            }
            BridgeEvent::OutputItemDone { item_id, .. } => {
                self.finish(Direction::Agent, item_id, "");
                self.finish(Direction::ToolArguments, item_id, "");
            }
            _ => {}
        }
    }

    /// Shows what a client writes to the conversation.
    pub(super) fn read(&mut self, command: &BridgeCommand) {
        let BridgeCommand::CreateItem {
            item: Item { id, kind: ItemKind::Message { content, .. }, .. }, ..
        } = command
        else {
            return;
        };
        let written = content.iter().filter_map(|content| match content {
            Content::InputText(text) => Some(text.as_str()),
            _ => None,
        });
        let written: Vec<&str> = written.collect();
        if !self.judges.is_empty() && !written.is_empty() {
            self.finish(Direction::Caller, id, &written.join("\n"));
        }
    }

    /// The next thing a judge wants done.
    pub(super) fn poll(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = self.unasked.pop_front() {
                return Some(heard);
            }
            let Answered { number, opinion } = self.answered.try_recv().ok()?;
            let Some(at) = self.open.iter().position(|open| open.number == number) else { continue };
            let open = &mut self.open[at];
            open.consultation.answered();
            match &opinion {
                Some(_) => self.news.heard(&open.judge.name),
                None => open.unheard(&mut self.news),
            }
            let heard = open.heard(opinion);
            self.ask(at);
            if self.open[at].consultation.is_over() {
                self.open.remove(at);
            }
            if heard.is_some() {
                return heard;
            }
        }
    }

    /// What is to be written down of the judges next.
    pub(super) fn poll_note(&mut self) -> Option<EventNote> {
        self.news.poll()
    }

    fn push(&mut self, direction: Direction, item_id: &ItemId, answer: Option<&ResponseId>, piece: &str) {
        for judge in Arc::clone(&self.judges).iter() {
            if judge.directions.contains(&direction) {
                let at = self.place(judge, direction, item_id, answer);
                self.open[at].consultation.push(piece);
                self.ask(at);
            }
        }
    }

    /// The words of an item are complete: those that came in pieces, or else these.
    fn finish(&mut self, direction: Direction, item_id: &ItemId, whole: &str) {
        for judge in Arc::clone(&self.judges).iter() {
            let is_known = self.known(judge, direction, item_id).is_some();
            if !judge.directions.contains(&direction) || (!is_known && whole.is_empty()) {
                continue;
            }
            let at = self.place(judge, direction, item_id, None);
            let consultation = &mut self.open[at].consultation;
            if consultation.is_empty() {
                consultation.push(whole);
            }
            consultation.finish();
            self.ask(at);
            if self.open[at].consultation.is_over() {
                self.open.remove(at);
            }
        }
    }

    fn known(&self, judge: &Arc<Judge>, direction: Direction, item_id: &ItemId) -> Option<usize> {
        self.open.iter().position(|open| {
            Arc::ptr_eq(&open.judge, judge) && open.direction == direction && open.item_id == *item_id
        })
    }

    fn place(
        &mut self,
        judge: &Arc<Judge>,
        direction: Direction,
        item_id: &ItemId,
        answer: Option<&ResponseId>,
    ) -> usize {
        if let Some(at) = self.known(judge, direction, item_id) {
            return at;
        }
        if self.open.len() == MOST_ITEMS {
            self.open.pop_front();
        }
        self.numbers += 1;
        self.open.push_back(Open {
            number: self.numbers,
            judge: Arc::clone(judge),
            item_id: item_id.clone(),
            direction,
            answer: answer.cloned(),
            consultation: Consultation::default(),
        });
        self.open.len() - 1
    }

    fn ask(&mut self, at: usize) {
        let Self { open, webhooks, session_id, relief, ring, reply, unasked, news, .. } = self;
        let open = &mut open[at];
        let Some(question) = open.consultation.poll_question() else { return };
        if open.judge.is_optional && relief.leaves_out(Optional::Opinion) {
            open.consultation.answered();
            return news.left_out(&open.judge.name, || relief.grounds());
        }
        news.asked(&open.judge.name);
        let shown = Shown {
            version: 1,
            rule: open.judge.name.clone(),
            session_id: session_id.clone(),
            direction: open.direction.as_str(),
            item_id: open.item_id.clone(),
            words: question.words,
            is_complete: question.is_complete,
        };
        if !webhooks.ask(&open.judge, (open.number, shown), reply.clone(), Arc::clone(ring)) {
            open.consultation.answered();
            open.unheard(news);
            unasked.extend(open.heard(None));
            ring();
        }
    }
}

impl Open {
    /// What is to be done about an opinion, if anything is.
    fn heard(&self, mut opinion: Option<Opinion>) -> Option<Heard> {
        let is_unheard = opinion.is_none();
        let hide = match &mut opinion {
            Some(Opinion::Mask { words }) => std::mem::take(words),
            _ => Hidden::default(),
        };
        let act = wanted(&self.judge, opinion)?;
        let (rule, answer) = (self.judge.name.clone(), self.answer.clone());
        Some(Heard { rule, direction: self.direction, answer, act, hide, is_unheard })
    }

    /// There is no opinion. What the rule then demands is told when it is done.
    fn unheard(&self, news: &mut JudgeNews) {
        if self.judge.unanswered.is_none() {
            news.silent(&self.judge.name);
        }
    }
}

/// What an opinion asks for; without one, what the configuration says.
fn wanted(judge: &Judge, opinion: Option<Opinion>) -> Option<Act> {
    match opinion {
        None => judge.unanswered.clone(),
        Some(Opinion::Pass) => None,
        Some(Opinion::Note) => Some(Act::Note),
        Some(Opinion::Mask { .. }) => Some(Act::Mask),
        Some(Opinion::End) => Some(Act::End),
        Some(Opinion::Replace { say }) => match say.or_else(|| judge.say.clone()) {
            Some(say) => Some(Act::Replace { say }),
            // Nothing to say instead: what must not be said ends the call.
            None => Some(Act::End),
        },
    }
}

#[cfg(test)]
mod tests;
