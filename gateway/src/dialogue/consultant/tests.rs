use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use voxgate_protocol::conversation::{ItemStatus, Position, Role};

use super::*;
use crate::latency::LatencyDesk;
use crate::webhook::{self, Asked};

fn judge(directions: &[Direction]) -> Judge {
    Judge {
        name: "vendor".to_owned(),
        directions: directions.to_vec(),
        url: "http://127.0.0.1:1/".parse().unwrap(),
        deadline: Duration::from_secs(1),
        unanswered: None,
        say: Some("Sorry.".to_owned()),
        masks: false,
        is_optional: false,
        secret: None,
        http: webhook::client(Vec::new()).unwrap(),
    }
}

struct World {
    consultant: Consultant,
    questions: mpsc::Receiver<Asked>,
    rung: Arc<AtomicU32>,
}

impl World {
    fn new(directions: &[Direction], unanswered: Option<Act>) -> Self {
        Self::with_room(directions, unanswered, 64)
    }

    fn with_room(directions: &[Direction], unanswered: Option<Act>, room: usize) -> Self {
        Self::relieved(Judge { unanswered, ..judge(directions) }, LatencyDesk::idle(), room)
    }

    fn relieved(judge: Judge, latency: Arc<LatencyDesk>, room: usize) -> Self {
        let (webhooks, questions) = Webhooks::answered_by_hand(room);
        let rung = Arc::new(AtomicU32::new(0));
        let bell = Arc::clone(&rung);
        let ring: Ring = Arc::new(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        });
        let judges = Arc::from([Arc::new(judge)]);
        let relief = Relief::new(latency, "m".to_owned());
        let consultant = Consultant::new(judges, webhooks, SessionId::from("sess_1"), relief, ring);
        Self { consultant, questions, rung }
    }

    fn hear(&mut self, event: &BridgeEvent) {
        self.consultant.hear(event);
    }

    /// What was to be written down since this was called last.
    fn noted(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.consultant.poll_note()).map(|note| note.text).collect()
    }

    /// What was asked since this was called last, each with what answers it.
    fn asked(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.questions.try_recv().ok()).collect()
    }
}

fn answer(asked: &Asked, opinion: Option<Opinion>) {
    asked.reply.try_send(Answered { number: asked.number, opinion }).unwrap();
}

fn spoken(item: &str, words: &str) -> BridgeEvent {
    let part = OutputPart::Transcript(words.to_owned());
    BridgeEvent::Output { response_id: ResponseId::from("r1"), item_id: ItemId::from(item), part }
}

fn item_done(item: &str) -> BridgeEvent {
    let status = ItemStatus::Completed;
    BridgeEvent::OutputItemDone { response_id: ResponseId::from("r1"), item_id: ItemId::from(item), status }
}

#[test]
fn an_answer_is_shown_sentence_by_sentence_and_an_opinion_names_it() {
    let mut world = World::new(&[Direction::Agent], None);
    world.hear(&spoken("i1", "You could"));
    assert!(world.asked().is_empty());
    world.hear(&spoken("i1", " sue them."));
    let asked = world.asked();
    assert_eq!((asked.len(), asked[0].shown.words.as_str()), (1, "You could sue them."));
    assert_eq!((asked[0].shown.direction, asked[0].shown.is_complete), ("agent", false));
    world.hear(&spoken("i1", " It pays."));
    assert!(world.asked().is_empty(), "one question at a time");
    assert_eq!(world.consultant.poll(), None, "nothing waits for the judge");
    answer(&asked[0], Some(Opinion::Replace { say: None }));
    let heard = world.consultant.poll().unwrap();
    assert_eq!(heard.act, Act::Replace { say: "Sorry.".to_owned() });
    assert_eq!((heard.rule.as_str(), heard.answer), ("vendor", Some(ResponseId::from("r1"))));
    let next = world.asked();
    assert_eq!(next[0].shown.words, "You could sue them. It pays.");
    answer(&next[0], Some(Opinion::Pass));
    assert_eq!(world.consultant.poll(), None);
    world.hear(&item_done("i1"));
    assert!(world.asked().is_empty() && world.consultant.open.is_empty(), "everything was shown");
}

#[test]
fn only_the_configured_direction_is_shown() {
    let mut world = World::new(&[Direction::Caller], None);
    world.hear(&spoken("i1", "You could sue."));
    world.hear(&item_done("i1"));
    assert!(world.asked().is_empty());
    let delta = BridgeEvent::InputTranscriptDelta { item_id: ItemId::from("u1"), delta: "Hello".to_owned() };
    world.hear(&delta);
    let transcript = "Hello there".to_owned();
    world.hear(&BridgeEvent::InputTranscriptDone { item_id: ItemId::from("u1"), transcript, usage: None });
    world.hear(&BridgeEvent::InputWords { item_id: ItemId::from("u2"), words: "unseen words".to_owned() });
    let content = vec![Content::InputText("typed".to_owned())];
    let kind = ItemKind::Message { role: Role::User, content };
    let item = Item { id: ItemId::from("u3"), status: ItemStatus::Completed, kind };
    world.consultant.read(&BridgeCommand::CreateItem { item, position: Position::Last });
    let shown: Vec<_> = world.asked().into_iter().map(|asked| asked.shown).collect();
    let words: Vec<_> = shown.iter().map(|shown| shown.words.as_str()).collect();
    assert_eq!(words, ["Hello", "unseen words", "typed"], "pieces are whole when their end is known");
    assert!(shown.iter().all(|shown| shown.is_complete && shown.direction == "caller"));
}

#[test]
fn no_answer_counts_as_the_configuration_says() {
    for unanswered in [None, Some(Act::End)] {
        let mut world = World::new(&[Direction::Agent], unanswered.clone());
        world.hear(&spoken("i1", "Well."));
        let asked = world.asked();
        answer(&asked[0], None);
        let heard = world.consultant.poll();
        assert!(heard.as_ref().is_none_or(|heard| heard.is_unheard));
        assert_eq!(heard.map(|heard| heard.act), unanswered);
    }
}

#[test]
fn a_judge_that_is_not_heard_is_written_down_until_it_is_if_words_go_on_without_it() {
    for (unanswered, expected) in [(None, 1), (Some(Act::End), 0)] {
        let mut world = World::new(&[Direction::Agent], unanswered);
        for item in ["i1", "i2"] {
            world.hear(&spoken(item, "Well."));
            answer(&world.asked()[0], None);
            let _ = world.consultant.poll();
        }
        assert_eq!(world.noted().len(), expected, "what is done is written down where it is done");
        world.hear(&spoken("i3", "Well."));
        answer(&world.asked()[0], Some(Opinion::Pass));
        assert_eq!(world.consultant.poll(), None);
        let back = "The guardrail vendor gives opinions again; 2 are missing.";
        assert_eq!(world.noted(), [back].repeat(expected));
    }
}

#[test]
fn a_judge_that_cannot_be_asked_counts_as_one_that_does_not_answer() {
    let mut world = World::with_room(&[Direction::Agent], Some(Act::End), 1);
    world.hear(&spoken("i1", "Well."));
    world.hear(&spoken("i2", "Well."));
    assert_eq!(world.rung.load(Ordering::Relaxed), 1);
    assert_eq!(world.consultant.poll().map(|heard| heard.act), Some(Act::End));
    assert_eq!(world.consultant.poll(), None);
}

#[test]
fn what_is_shown_side_by_side_stays_bounded() {
    let mut world = World::new(&[Direction::Agent], None);
    for item in 0..200 {
        world.hear(&spoken(&format!("i{item}"), "Well."));
    }
    assert_eq!(world.consultant.open.len(), MOST_ITEMS);
    for asked in world.asked().into_iter().take(MOST_UNREAD) {
        answer(&asked, Some(Opinion::End));
    }
    assert_eq!(world.consultant.poll(), None, "what is forgotten has no opinion");
}

#[test]
fn a_judge_that_is_optional_is_not_asked_while_turns_are_slow_and_any_other_is() {
    for (is_optional, expected) in [(true, 0), (false, 1)] {
        let judge = Judge { is_optional, ..judge(&[Direction::Agent]) };
        let mut world = World::relieved(judge, LatencyDesk::shedding("m"), 64);
        world.hear(&spoken("i1", "You could sue them."));
        assert_eq!(world.asked().len(), expected);
        world.hear(&item_done("i1"));
        assert_eq!(world.consultant.poll(), None);
        assert_eq!(world.consultant.open.is_empty(), is_optional, "what is not asked is not waited for");
        let noted = world.noted();
        assert_eq!(noted.len(), usize::from(is_optional), "once, however often");
        for text in noted {
            assert!(text.starts_with("Left out, since pacing has been over its budget"), "{text}");
            assert!(text.ends_with("the guardrail vendor is not asked."), "{text}");
        }
    }
}
