use serde_json::json;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id}})
}

fn done(id: &str, status: &str) -> Value {
    json!({"type": "response.done", "response": {"id": id, "status": status}})
}

fn sound(what: &str, id: &str) -> Value {
    json!({"type": format!("output_audio_buffer.{what}"), "response_id": id})
}

/// Feeds events a millisecond apart and gives the state after the last.
fn after(watch: &mut AnswerWatch, start: Instant, events: &[Value]) -> AnswerState {
    let mut now = start;
    for event in events {
        now += MS;
        watch.handle(event, now);
    }
    watch.state(now)
}

#[test]
fn a_spoken_answer_is_complete_when_it_is_done_and_has_sounded() {
    let start = Instant::now();
    let mut watch = AnswerWatch::default();
    watch.question_ended(start);
    let events = [created("a"), sound("started", "a"), done("a", "completed")];
    assert_eq!(after(&mut watch, start, &events), AnswerState::Open);
    assert_eq!(watch.deadline(), None);
    assert_eq!(after(&mut watch, start + MS * 9, &[sound("stopped", "a")]), AnswerState::Complete);
}

#[test]
fn an_answer_without_sound_is_complete_after_a_moment() {
    let start = Instant::now();
    let mut watch = AnswerWatch::default();
    watch.question_ended(start);
    assert_eq!(after(&mut watch, start, &[created("a"), done("a", "completed")]), AnswerState::Open);
    assert_eq!(watch.state(watch.deadline().unwrap()), AnswerState::Complete);
}

#[test]
fn an_answer_that_was_over_before_the_last_word_is_not_the_answer() {
    let start = Instant::now();
    let mut watch = AnswerWatch::default();
    let first = [created("a"), sound("started", "a"), done("a", "completed"), sound("stopped", "a")];
    assert_eq!(after(&mut watch, start, &first), AnswerState::Open);
    watch.question_ended(start + MS * 1_000);
    assert_eq!(watch.state(start + MS * 9_000), AnswerState::Open);
    let second = [created("b"), sound("started", "b"), done("b", "completed"), sound("stopped", "b")];
    assert_eq!(after(&mut watch, start + MS * 9_000, &second), AnswerState::Complete);
}

#[test]
fn a_cancelled_answer_waits_for_the_next_one() {
    let start = Instant::now();
    let mut watch = AnswerWatch::default();
    watch.question_ended(start);
    let interrupted = [created("a"), sound("started", "a"), sound("cleared", "a"), done("a", "cancelled")];
    assert_eq!(after(&mut watch, start, &interrupted), AnswerState::Open);
    let events = [created("b"), sound("stopped", "a"), sound("started", "b"), done("b", "completed")];
    assert_eq!(after(&mut watch, start + MS * 20, &events), AnswerState::Open);
    assert_eq!(after(&mut watch, start + MS * 40, &[sound("stopped", "b")]), AnswerState::Complete);
}

#[test]
fn a_failed_answer_brings_its_reason() {
    let start = Instant::now();
    let mut watch = AnswerWatch::default();
    watch.question_ended(start);
    let mut failed = done("a", "failed");
    failed["response"]["status_details"] = json!({"error": {"message": "overloaded"}});
    let state = after(&mut watch, start, &[created("a"), failed]);
    assert_eq!(state, AnswerState::Failed("overloaded".to_owned()));
}
