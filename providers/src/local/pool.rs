//! The decoders of a process, shared by its sessions.
//!
//! Each decoder lives on a thread of its own and serves one utterance at a time; utterances wait in one line. A
//! session never waits for a lock or a decoder on its own task: it sends audio into the utterance's queue, and the
//! words come back through a oneshot channel.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::pocketsphinx::Sphinx;
use super::recogniser::{Heard, Recogniser};
use super::{LocalError, RecogniserModels};

/// Utterances that may wait for a decoder. One more is refused.
const LONGEST_LINE: usize = 64;

enum Piece {
    Samples(Vec<i16>),
    Ask {
        /// The last word is not whole.
        inside_speech: bool,
    },
    End,
}

/// The words of an utterance that goes on.
pub(super) struct Interim {
    /// Which utterance, as its session counts them.
    pub(super) utterance: u64,
    /// Its words so far; empty if none were heard.
    pub(super) words: String,
}

/// Where the words of an utterance go before it ends. If the session does not take them they are dropped.
pub(super) struct InterimSink {
    /// Which utterance.
    pub(super) utterance: u64,
    /// The session's queue.
    pub(super) sender: Sender<Interim>,
}

struct Job {
    pieces: mpsc::Receiver<Piece>,
    interim: InterimSink,
    reply: oneshot::Sender<Result<Heard, LocalError>>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    ready: usize,
    failed: usize,
    closed: bool,
}

struct Shared {
    decoders: usize,
    line: Mutex<Line>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next utterance somebody still waits for; `None` when the pool is gone.
    fn next(&self) -> Option<Job> {
        let mut line = self.lock();
        loop {
            if line.closed {
                return None;
            }
            match line.jobs.pop_front() {
                Some(job) if !job.reply.is_closed() => return Some(job),
                Some(_) => {}
                None => line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The decoders. Dropping it ends their threads.
pub(super) struct DecoderPool {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for DecoderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecoderPool").field("decoders", &self.shared.decoders).finish_non_exhaustive()
    }
}

impl DecoderPool {
    /// Starts the threads; each loads its models in the background.
    ///
    /// # Errors
    ///
    /// [`LocalError::Thread`] if there can be no thread.
    pub(super) fn start(
        sphinx: &Arc<Sphinx>,
        models: &RecogniserModels,
        decoders: usize,
    ) -> Result<Self, LocalError> {
        let shared =
            Arc::new(Shared { decoders, line: Mutex::new(Line::default()), changed: Condvar::new() });
        // From here on, so that an error below ends the threads already started.
        let pool = Self { shared };
        for index in 0..decoders {
            let (shared, sphinx, models) = (Arc::clone(&pool.shared), Arc::clone(sphinx), models.clone());
            thread::Builder::new()
                .name(format!("local-ear-{index}"))
                .spawn(move || work(&shared, &sphinx, &models))
                .map_err(LocalError::Thread)?;
        }
        Ok(pool)
    }

    /// Begins an utterance. The words come once it is ended and a decoder was free for it; before, where `interim` leads
    /// whenever [`Utterance::ask`] asks.
    pub(super) fn begin(&self, interim: InterimSink) -> (Utterance, Words) {
        let (sender, pieces) = mpsc::channel();
        let (reply, words) = oneshot::channel();
        let mut line = self.shared.lock();
        if line.jobs.len() < LONGEST_LINE {
            line.jobs.push_back(Job { pieces, interim, reply });
            self.shared.changed.notify_one();
        } else {
            let _ = reply.send(Err(LocalError::Busy));
        }
        (Utterance { pieces: sender }, words)
    }

    /// Waits until the first decoder has loaded its models.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if none can load them, [`LocalError::Busy`] if they take longer than `limit`.
    pub(super) fn wait_until_ready(&self, limit: Duration) -> Result<(), LocalError> {
        let end = Instant::now() + limit;
        let mut line = self.shared.lock();
        while line.ready == 0 {
            if line.failed == self.shared.decoders {
                return Err(LocalError::DecoderRefused);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LocalError::Busy);
            }
            line = self.shared.changed.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for DecoderPool {
    fn drop(&mut self) {
        let mut line = self.shared.lock();
        line.closed = true;
        line.jobs.clear();
        self.shared.changed.notify_all();
    }
}

/// The words of an utterance, or why there are none.
pub(super) type Words = oneshot::Receiver<Result<Heard, LocalError>>;

/// The session's end of an utterance. Dropping it without [`Utterance::end`] forgets the utterance.
#[derive(Debug)]
pub(super) struct Utterance {
    pieces: mpsc::Sender<Piece>,
}

impl Utterance {
    /// Adds samples of 16 kHz.
    pub(super) fn hear(&self, samples: Vec<i16>) {
        // A decoder that is gone reports it through the words.
        let _ = self.pieces.send(Piece::Samples(samples));
    }

    /// Asks for the words so far.
    pub(super) fn ask(&self, inside_speech: bool) {
        let _ = self.pieces.send(Piece::Ask { inside_speech });
    }

    /// The utterance is complete.
    pub(super) fn end(self) {
        let _ = self.pieces.send(Piece::End);
    }
}

fn work(shared: &Shared, sphinx: &Arc<Sphinx>, models: &RecogniserModels) {
    let loaded = Recogniser::load(sphinx, models);
    let mut line = shared.lock();
    let Ok(mut recogniser) = loaded else {
        line.failed += 1;
        let is_last = line.failed == shared.decoders;
        drop(line);
        shared.changed.notify_all();
        if is_last {
            refuse_all(shared);
        }
        return;
    };
    line.ready += 1;
    drop(line);
    shared.changed.notify_all();
    while let Some(job) = shared.next() {
        decode(&mut recogniser, job);
    }
}

/// With no decoder at all every utterance is refused, so that nobody waits in vain.
fn refuse_all(shared: &Shared) {
    while let Some(job) = shared.next() {
        let _ = job.reply.send(Err(LocalError::DecoderRefused));
    }
}

fn decode(recogniser: &mut Recogniser, job: Job) {
    if let Err(error) = recogniser.start() {
        let _ = job.reply.send(Err(error));
        return;
    }
    while let Ok(piece) = job.pieces.recv() {
        match piece {
            Piece::Samples(samples) => recogniser.feed(&samples),
            Piece::Ask { inside_speech } => {
                let words = recogniser.so_far();
                let certain = if inside_speech { whole_words(&words) } else { Some(words.as_str()) };
                let Some(words) = certain else { continue };
                let interim = Interim { utterance: job.interim.utterance, words: words.to_owned() };
                // A session that is busy with other things has no use for old words.
                let _ = job.interim.sender.try_send(interim);
            }
            Piece::End => {
                let _ = job.reply.send(Ok(recogniser.finish()));
                break;
            }
        }
    }
    recogniser.rest();
}

/// The words without the last one, which is guessed from its beginning; `None` if that leaves nothing.
fn whole_words(words: &str) -> Option<&str> {
    let (whole, _) = words.trim_end().rsplit_once(' ')?;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> InterimSink {
        InterimSink { utterance: 1, sender: tokio::sync::mpsc::channel(1).0 }
    }

    fn shared(decoders: usize) -> DecoderPool {
        let shared =
            Arc::new(Shared { decoders, line: Mutex::new(Line::default()), changed: Condvar::new() });
        DecoderPool { shared }
    }

    #[test]
    fn the_word_that_is_being_spoken_is_no_word_yet() {
        assert_eq!(whole_words("stop please st"), Some("stop please"));
        assert_eq!(whole_words("oh"), None);
        assert_eq!(whole_words(""), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_at_once() {
        let pool = shared(1);
        let mut waiting: Vec<_> = (0..LONGEST_LINE).map(|_| pool.begin(sink())).collect();
        assert!(waiting.iter_mut().all(|(_, words)| words.try_recv().is_err()));
        let (_utterance, mut words) = pool.begin(sink());
        assert!(matches!(words.try_recv(), Ok(Err(LocalError::Busy))));
    }

    #[test]
    fn an_utterance_nobody_waits_for_is_skipped() {
        let pool = shared(1);
        let (first, forgotten) = pool.begin(sink());
        drop(forgotten);
        let (second, mut words) = pool.begin(sink());
        second.end();
        let job = pool.shared.next().unwrap();
        assert!(matches!(job.pieces.recv(), Ok(Piece::End)));
        job.reply.send(Ok(Heard { words: "second".to_owned() })).unwrap();
        assert_eq!(words.try_recv().unwrap().unwrap().words, "second");
        first.end();
    }

    #[test]
    fn a_pool_that_is_gone_tells_whoever_waits() {
        let pool = shared(1);
        let (_utterance, mut words) = pool.begin(sink());
        drop(pool);
        assert!(matches!(words.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
