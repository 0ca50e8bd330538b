//! The thread a listener runs on, and the sessions' way to it.
//!
//! A session hands over a question with the sound of its turn and goes on; the verdict rings its bell. The queue is short:
//! a verdict that comes after the caller's patience is worth nothing, so what finds no room is not judged, and counted.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::mpsc;
use voxgate_media::turn::{ListeningRule, Question, TurnListener};
use voxgate_protocol::audio::Pcm;
use voxgate_telemetry::metrics::Metrics;

/// Questions that may wait: more than a model answers within any patience.
const MOST_WAITING: usize = 16;

/// Verdicts a session may leave unread; it asks once in a pause and reads when its bell rings.
const MOST_UNREAD: usize = 8;

/// What rings when there is a verdict.
type Ring = Arc<dyn Fn() + Send + Sync>;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) question: Question,
    pub(crate) probability: Option<f32>,
}

struct Asked {
    question: Question,
    speech: Pcm,
    at: Instant,
    reply: mpsc::Sender<Verdict>,
    ring: Ring,
}

/// The listener of this process. Clones share it; its thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Listener {
    questions: SyncSender<Asked>,
    rule: ListeningRule,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(
        listener: impl TurnListener + 'static,
        rule: ListeningRule,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel(MOST_WAITING);
        let counted = Arc::clone(&metrics);
        let named = std::thread::Builder::new().name("end-of-turn".to_owned());
        named.spawn(move || listen(&listener, rule, &asked, &counted))?;
        Ok(Self { questions, rule, metrics })
    }

    /// A session's way to it. `ring` wakes the session.
    pub(crate) fn ear(&self, ring: Ring) -> Ear {
        let (reply, verdicts) = mpsc::channel(MOST_UNREAD);
        Ear { listener: self.clone(), reply, verdicts, ring }
    }
}

/// A session's way to the listener.
pub(crate) struct Ear {
    listener: Listener,
    reply: mpsc::Sender<Verdict>,
    verdicts: mpsc::Receiver<Verdict>,
    ring: Ring,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("rule", &self.listener.rule).finish_non_exhaustive()
    }
}

impl Ear {
    pub(crate) const fn rule(&self) -> ListeningRule {
        self.listener.rule
    }

    /// Asks, without waiting. False if there is no room: nobody will answer.
    pub(crate) fn ask(&self, at: Instant, question: Question, speech: Pcm) -> bool {
        let (reply, ring) = (self.reply.clone(), Arc::clone(&self.ring));
        let is_asked = self.listener.questions.try_send(Asked { question, speech, at, reply, ring }).is_ok();
        if !is_asked {
            count(&self.listener.metrics, "no_room");
        }
        is_asked
    }

    /// The next verdict.
    pub(crate) fn hear(&mut self) -> Option<Verdict> {
        self.verdicts.try_recv().ok()
    }
}

/// Judges one turn after the other until nobody can ask any more.
fn listen(listener: &dyn TurnListener, rule: ListeningRule, asked: &Receiver<Asked>, metrics: &Metrics) {
    while let Ok(Asked { question, speech, at, reply, ring }) = asked.recv() {
        let began = Instant::now();
        let is_stale = began.saturating_duration_since(at) >= rule.patience;
        let probability = if is_stale { None } else { listener.estimate(&speech) };
        match probability {
            Some(_) => Metrics::observe(&metrics.end_of_turn_seconds, began.elapsed()),
            None if is_stale => count(metrics, "stale"),
            None => count(metrics, "failed"),
        }
        // A session that has ended needs no verdict.
        if reply.try_send(Verdict { question, probability }).is_ok() {
            ring();
        }
    }
}

fn count(metrics: &Metrics, outcome: &str) {
    metrics.end_of_turn_verdicts.with_label_values(&[outcome]).inc();
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use voxgate_protocol::audio::SampleRate;

    use super::*;

    /// Answers what it is told to, when it is told to.
    #[derive(Debug)]
    struct Scripted {
        began: Mutex<Sender<usize>>,
        answers: Mutex<Receiver<Option<f32>>>,
    }

    impl TurnListener for Scripted {
        fn estimate(&self, speech: &Pcm) -> Option<f32> {
            let _ = self.began.lock().unwrap().send(speech.samples.len());
            self.answers.lock().unwrap().recv().unwrap_or_default()
        }
    }

    struct Room {
        listener: Listener,
        began: Receiver<usize>,
        answers: Sender<Option<f32>>,
        rung: Receiver<()>,
        ring: Ring,
    }

    fn room(patience: Duration) -> Room {
        let (began_sender, began) = channel();
        let (answers, answer_receiver) = channel();
        let (bell, rung) = channel();
        let scripted = Scripted { began: Mutex::new(began_sender), answers: Mutex::new(answer_receiver) };
        let rule = ListeningRule { window: Duration::from_secs(8), patience };
        let listener = Listener::start(scripted, rule, Arc::new(Metrics::new().unwrap())).unwrap();
        let ring: Ring = Arc::new(move || {
            let _ = bell.send(());
        });
        Room { listener, began, answers, rung, ring }
    }

    fn speech(samples: usize) -> Pcm {
        Pcm { rate: SampleRate::HZ_16000, samples: vec![1; samples] }
    }

    fn counted(room: &Room, outcome: &str) -> u64 {
        room.listener.metrics.end_of_turn_verdicts.with_label_values(&[outcome]).get()
    }

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_verdict_comes_back_with_a_ring() {
        let room = room(LONG);
        let mut ear = room.listener.ear(Arc::clone(&room.ring));
        assert!(ear.ask(Instant::now(), Question(7), speech(3)));
        assert_eq!(room.began.recv().unwrap(), 3);
        assert_eq!(ear.hear(), None, "nobody waits for it");
        room.answers.send(Some(0.25)).unwrap();
        room.rung.recv().unwrap();
        assert_eq!(ear.hear(), Some(Verdict { question: Question(7), probability: Some(0.25) }));
        assert_eq!(room.listener.metrics.end_of_turn_seconds.get_sample_count(), 1);
    }

    #[test]
    fn a_listener_that_stands_still_is_asked_no_more_than_fits_into_its_queue() {
        let room = room(LONG);
        let ear = room.listener.ear(Arc::clone(&room.ring));
        assert!(ear.ask(Instant::now(), Question(0), speech(1)));
        room.began.recv().unwrap();
        for question in 1..=MOST_WAITING as u64 {
            assert!(ear.ask(Instant::now(), Question(question), speech(1)));
        }
        assert!(!ear.ask(Instant::now(), Question(99), speech(1)));
        assert_eq!(counted(&room, "no_room"), 1);
    }

    #[test]
    fn a_question_older_than_patience_is_answered_without_the_model() {
        let room = room(Duration::ZERO);
        let mut ear = room.listener.ear(Arc::clone(&room.ring));
        assert!(ear.ask(Instant::now(), Question(1), speech(1)));
        room.rung.recv().unwrap();
        assert_eq!(ear.hear(), Some(Verdict { question: Question(1), probability: None }));
        assert!(room.began.try_recv().is_err());
        assert_eq!(counted(&room, "stale"), 1);
    }

    #[test]
    fn a_model_that_fails_is_counted_and_says_so() {
        let room = room(LONG);
        let mut ear = room.listener.ear(Arc::clone(&room.ring));
        assert!(ear.ask(Instant::now(), Question(1), speech(1)));
        room.answers.send(None).unwrap();
        room.rung.recv().unwrap();
        assert_eq!(ear.hear(), Some(Verdict { question: Question(1), probability: None }));
        assert_eq!(counted(&room, "failed"), 1);
    }
}
