use voxgate_policy::guardrail::{Detector, MOST_HIDDEN, Rule};
use voxgate_protocol::conversation::{ItemStatus, Position, Role};

use super::*;

const SORRY: &str = "I am sorry.";

fn rule(name: &str, direction: Direction, word: &str, act: Act) -> Rule {
    let detector = Detector::words([word]).unwrap();
    Rule { name: name.to_owned(), directions: vec![direction], detector, act }
}

fn guard() -> Guard {
    let replace = Act::Replace { say: SORRY.to_owned() };
    let rules = vec![
        rule("advice", Direction::Agent, "lawsuit", replace.clone()),
        rule("abuse", Direction::Caller, "idiot", Act::End),
        rule("topic", Direction::Caller, "weather", replace),
        rule("secret", Direction::ToolArguments, "password", Act::Note),
    ];
    Guard::new(Arc::new(RuleSet::new(rules).unwrap()))
}

fn spoken(response: &str, item: &str, words: &str) -> BridgeEvent {
    BridgeEvent::Output {
        response_id: ResponseId::from(response),
        item_id: ItemId::from(item),
        part: OutputPart::Transcript(words.to_owned()),
    }
}

fn withdrawn(judgement: &Judgement) -> Option<(Option<&str>, &str)> {
    let Some(SessionCommand::WithdrawAnswer { response_id, instead }) = &judgement.command else {
        return None;
    };
    let instructions = instead.as_ref()?.instructions.as_deref()?;
    Some((response_id.as_ref().map(ResponseId::as_str), instructions))
}

#[test]
fn an_answer_that_breaks_a_rule_is_taken_back_with_the_piece_that_does() {
    let mut guard = guard();
    assert_eq!(guard.hear(&spoken("r1", "i1", "You could file a law")), Judgement::default());
    let judgement = guard.hear(&spoken("r1", "i1", "suit against"));
    assert_eq!(withdrawn(&judgement), Some((Some("r1"), "Say exactly: I am sorry.")));
    let (rule, direction, act) = ("advice".to_owned(), "agent", "replace");
    assert_eq!(judgement.notes, [Note { rule, direction, act, is_unheard: false }]);
    assert_eq!(judgement.end, None);
    assert_eq!(guard.hear(&spoken("r1", "i1", " them")), Judgement::default(), "reported once");
}

#[test]
fn a_word_at_the_end_of_an_answer_is_judged_when_the_item_is_done() {
    let mut guard = guard();
    assert_eq!(guard.hear(&spoken("r1", "i1", "a lawsuit")), Judgement::default());
    let done = BridgeEvent::OutputItemDone {
        response_id: ResponseId::from("r1"),
        item_id: ItemId::from("i1"),
        status: ItemStatus::Completed,
    };
    assert_eq!(withdrawn(&guard.hear(&done)).map(|(id, _)| id), Some(Some("r1")));
}

#[test]
fn answers_side_by_side_do_not_mix() {
    let mut guard = guard();
    assert_eq!(guard.hear(&spoken("r1", "i1", "a law")), Judgement::default());
    assert_eq!(guard.hear(&spoken("r2", "i2", "suit, fine ")), Judgement::default());
    assert_eq!(withdrawn(&guard.hear(&spoken("r1", "i1", "suit "))).map(|(id, _)| id), Some(Some("r1")));
}

#[test]
fn the_callers_words_are_judged_with_or_without_pieces() {
    let done = |transcript: &str| BridgeEvent::InputTranscriptDone {
        item_id: ItemId::from("u1"),
        transcript: transcript.to_owned(),
        usage: None,
    };
    let judgement = guard().hear(&done("you idiot"));
    assert_eq!((judgement.command, judgement.end), (None, Some(EndReason::Guardrail)));
    let mut guard = guard();
    let delta = |delta: &str| BridgeEvent::InputTranscriptDelta {
        item_id: ItemId::from("u1"),
        delta: delta.to_owned(),
    };
    assert_eq!(guard.hear(&delta("what is the wea")), Judgement::default());
    assert_eq!(guard.hear(&delta("ther")), Judgement::default());
    assert_eq!(
        withdrawn(&guard.hear(&done("what is the weather"))),
        Some((None, "Say exactly: I am sorry."))
    );
}

#[test]
fn words_the_client_did_not_ask_for_are_judged_too() {
    let event = BridgeEvent::InputWords { item_id: ItemId::from("u1"), words: "you idiot".to_owned() };
    assert_eq!(guard().hear(&event).end, Some(EndReason::Guardrail));
}

#[test]
fn what_a_client_writes_is_judged_like_what_a_caller_says() {
    let item = Item {
        id: ItemId::from("w1"),
        status: ItemStatus::Completed,
        kind: ItemKind::Message { role: Role::User, content: vec![Content::InputText("Idiot!".to_owned())] },
    };
    let judgement = guard().read(&BridgeCommand::CreateItem { item, position: Position::Last });
    assert_eq!(judgement.end, Some(EndReason::Guardrail));
}

#[test]
fn arguments_of_tools_are_looked_at_as_they_come() {
    let arguments = |delta: &str| BridgeEvent::Output {
        response_id: ResponseId::from("r1"),
        item_id: ItemId::from("i1"),
        part: OutputPart::ToolArguments {
            call_id: "c1".into(),
            name: "send".to_owned(),
            delta: delta.to_owned(),
        },
    };
    let mut guard = guard();
    assert_eq!(guard.hear(&arguments("{\"pass")), Judgement::default());
    let judgement = guard.hear(&arguments("word\": 1}"));
    assert_eq!((judgement.notes.len(), judgement.command, judgement.end), (1, None, None));
}

#[test]
fn a_model_that_does_not_stop_ends_the_call_unless_the_caller_had_a_turn() {
    let mut guard = guard();
    let breaks = |guard: &mut Guard, answer: u32| {
        guard.hear(&spoken(&format!("r{answer}"), &format!("i{answer}"), "lawsuit, "))
    };
    for answer in 0..MOST_REPLACED {
        assert!(breaks(&mut guard, answer).command.is_some());
    }
    guard.hear(&BridgeEvent::InputCommitted { item_id: ItemId::from("u1") });
    for answer in 10..10 + MOST_REPLACED {
        assert!(breaks(&mut guard, answer).command.is_some());
    }
    let judgement = breaks(&mut guard, 20);
    assert_eq!((judgement.command, judgement.end), (None, Some(EndReason::Guardrail)));
}

#[test]
fn what_is_watched_stays_bounded() {
    let mut guard = guard();
    for item in 0..100 {
        guard.hear(&spoken("r1", &format!("i{item}"), "word "));
    }
    assert_eq!(guard.watched.len(), MOST_ITEMS);
}

#[test]
fn what_a_rule_hides_is_hidden_where_words_go_on_as_text() {
    let rules = vec![
        rule("secret", Direction::Caller, "swordfish", Act::Mask),
        rule("name", Direction::Agent, "smith", Act::Mask),
    ];
    let guard = Guard::new(Arc::new(RuleSet::new(rules).unwrap()));
    let said = |text: &str, answered: &str| ItemKind::Message {
        role: Role::User,
        content: vec![Content::InputText(text.to_owned()), Content::OutputText(answered.to_owned())],
    };
    let item = |kind| Item { id: ItemId::from("w1"), status: ItemStatus::Completed, kind };
    let create = |kind| BridgeCommand::CreateItem { item: item(kind), position: Position::Last };
    let BridgeCommand::CreateItem { item: hidden, .. } =
        guard.mask(create(said("It is swordfish.", "Mr Smith")))
    else {
        panic!("another command")
    };
    let ItemKind::Message { content, .. } = &hidden.kind else { panic!("another item") };
    let texts: Vec<&str> = content
        .iter()
        .map(|part| match part {
            Content::InputText(text) | Content::OutputText(text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(texts[0].starts_with("It is [") && !texts.concat().to_lowercase().contains("smith"), "{texts:?}");
    assert!(!texts[0].contains("swordfish"));
    let options = ResponseOptions {
        input: Some(vec![InputItem::New(said("swordfish", ""))]),
        ..ResponseOptions::default()
    };
    let asked = guard.mask(BridgeCommand::CreateResponse(Box::new(options)));
    let written = serde_json::to_string(&asked).unwrap();
    assert!(!written.contains("swordfish"), "{written}");
}

#[test]
fn what_a_judge_hides_is_hidden_from_then_on_and_what_cannot_be_ends_the_call() {
    let mut guard = Guard::new(Arc::default());
    let heard = |phrases: Vec<String>| Heard {
        is_unheard: false,
        rule: "vendor".to_owned(),
        direction: Direction::Caller,
        answer: None,
        act: Act::Mask,
        hide: Hidden::new(phrases),
    };
    let mut item = Item {
        id: ItemId::from("w1"),
        status: ItemStatus::Completed,
        kind: ItemKind::Message {
            role: Role::User,
            content: vec![Content::InputText("I am Walther.".to_owned())],
        },
    };
    let said = item.clone();
    guard.mask_item(&mut item);
    assert_eq!(item, said, "nobody asked for it yet");
    let judgement = guard.heed(heard(vec!["Walther".to_owned()]));
    assert_eq!((judgement.notes[0].act, judgement.command, judgement.end), ("mask", None, None));
    guard.mask_item(&mut item);
    let ItemKind::Message { content, .. } = &item.kind else { panic!("another item") };
    assert_eq!(*content, [Content::InputText("I am [hidden].".to_owned())]);
    let more = (0..MOST_HIDDEN).map(|number| format!("<{number}>")).collect();
    let judgement = guard.heed(heard(more));
    assert_eq!((judgement.notes[0].act, judgement.end), ("end", Some(EndReason::Guardrail)));
}
