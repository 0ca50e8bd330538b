use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::time::Instant;

use super::*;

/// What comes of one attempt.
#[derive(Clone, Copy)]
enum Outcome {
    Moved,
    /// Answered, and no path of the answer works.
    Pathless,
    Refused(u16),
    KeyRefused,
    Silent,
    /// Moved, while so many more notices come.
    MovedAmidNotices(u64),
}

/// The call of a test: attempts end as planned, all beyond the plan move it.
struct Plan {
    outcomes: Mutex<VecDeque<Outcome>>,
    last: Mutex<Outcome>,
    attempts: watch::Sender<Vec<Duration>>,
    notices: watch::Sender<u64>,
    started: Instant,
}

impl Mover for Arc<Plan> {
    async fn restart(&mut self) -> Result<(), CallError> {
        let outcome = self.outcomes.lock().unwrap().pop_front().unwrap_or(Outcome::Moved);
        *self.last.lock().unwrap() = outcome;
        self.attempts.send_modify(|attempts| attempts.push(self.started.elapsed()));
        let message = String::new();
        match outcome {
            Outcome::Moved | Outcome::Pathless => Ok(()),
            Outcome::MovedAmidNotices(count) => {
                self.notices.send_modify(|notices| *notices += count);
                Ok(())
            }
            Outcome::Refused(status) => Err(CallError::Refused { what: "move a call", status, message }),
            Outcome::KeyRefused => Err(CallError::KeyRefused { status: 401, message }),
            Outcome::Silent => Err(CallError::Unreachable { url: String::new(), reason: message }),
        }
    }

    async fn connected(&mut self) {
        if matches!(*self.last.lock().unwrap(), Outcome::Pathless) {
            std::future::pending::<()>().await;
        }
    }
}

/// A call that is followed, on virtual time.
struct Followed {
    plan: Arc<Plan>,
    stop: Option<watch::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    fn new(outcomes: &[Outcome]) -> Self {
        let (notices, heard) = watch::channel(0);
        let (stop, stopped) = watch::channel(());
        let plan = Arc::new(Plan {
            outcomes: Mutex::new(outcomes.iter().copied().collect()),
            last: Mutex::new(Outcome::Moved),
            attempts: watch::channel(Vec::new()).0,
            notices,
            started: Instant::now(),
        });
        let task = tokio::spawn(follow(Arc::clone(&plan), heard, stopped));
        Self { plan, stop: Some(stop), task }
    }

    fn notice(&self) {
        self.plan.notices.send_modify(|count| *count += 1);
    }

    async fn attempted(&self, count: usize) {
        self.plan.attempts.subscribe().wait_for(|attempts| attempts.len() >= count).await.unwrap();
    }

    /// When attempts were made, in milliseconds from the start, once nothing happens any more.
    async fn attempts(&self) -> Vec<u128> {
        // Virtual time passes when every task waits.
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.plan.attempts.borrow().iter().map(Duration::as_millis).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_moves_the_call_at_once_and_once() {
    let call = Followed::new(&[]);
    call.notice();
    assert_eq!(call.attempts().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_notice_is_left_alone() {
    assert!(Followed::new(&[]).attempts().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_repeated_after_longer_and_longer_waits_until_one_succeeds() {
    let call = Followed::new(&[Outcome::Silent, Outcome::Refused(503), Outcome::Refused(429)]);
    call.notice();
    assert_eq!(call.attempts().await, [0, 300, 1_300, 3_300]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_another_notice_tries_again() {
    let call = Followed::new(&[Outcome::Silent; WAITS.len()]);
    call.notice();
    assert_eq!(call.attempts().await.len(), WAITS.len());
    call.notice();
    assert_eq!(call.attempts().await.len(), WAITS.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_paths_do_not_work_is_given_up_for_another_try() {
    let call = Followed::new(&[Outcome::Pathless]);
    call.notice();
    let again = SETTLE + WAITS[1];
    assert_eq!(call.attempts().await, [0, again.as_millis()]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_gone_or_a_key_that_may_not_speak_for_it_is_not_tried_again() {
    let refusals = [400, 404, 405, 410].map(Outcome::Refused);
    for refusal in refusals.into_iter().chain([Outcome::KeyRefused]) {
        let call = Followed::new(&[refusal]);
        call.notice();
        assert_eq!(call.attempts().await, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn notices_during_an_attempt_need_one_more_restart_however_many_they_are() {
    let call = Followed::new(&[Outcome::MovedAmidNotices(3)]);
    call.notice();
    assert_eq!(call.attempts().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_notice_while_the_new_paths_are_checked_restarts_at_once() {
    let call = Followed::new(&[Outcome::Pathless]);
    call.notice();
    call.attempted(1).await;
    call.notice();
    assert_eq!(call.attempts().await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_notice_during_a_wait_ends_the_wait_and_is_answered_by_the_attempt_after_it() {
    let call = Followed::new(&[Outcome::Silent, Outcome::Silent]);
    call.notice();
    call.attempted(2).await;
    call.notice();
    assert_eq!(call.attempts().await, [0, 300, 300]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_call_ends_the_attempts() {
    let mut call = Followed::new(&[Outcome::Silent; WAITS.len()]);
    call.notice();
    call.attempted(1).await;
    call.stop = None;
    assert_eq!(call.attempts().await, [0]);
    assert!(call.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn when_no_more_notices_can_come_nothing_is_waited_for() {
    let (notices, heard) = watch::channel(0_u64);
    let (_stop, stopped) = watch::channel(());
    let idle = Followed::new(&[]);
    drop(notices);
    follow(Arc::clone(&idle.plan), heard, stopped).await;
    assert!(idle.attempts().await.is_empty());
}
