//! What happened in one session: its turns, its network, who spoke when, what was said as far as it may be kept, and what
//! else happened, in one place that a page, a download and an export can read while the session runs.
//!
//! [`SessionRecord`] is a handle; clones share the record. Who writes says when, as a duration since the session
//! began: nothing here reads a clock. A write takes one short lock and copies nothing; a reader copies references under
//! it and opens them afterwards, so a page that looks at a session does not hold it up. Every list is bounded
//! ([`RecordLimits`]); the oldest entries go, and the view says so.
//!
//! - [`facts`]: what is told to a record.
//! - [`view`]: what readers get of it.
//! - [`quality`]: how a call sounds, as an estimate.
//! - [`badness`]: which session to look at first.

pub mod badness;
mod book;
pub mod facts;
mod kept;
mod levels;
pub mod quality;
#[cfg(test)]
mod tests;
mod transcript;
mod turns;
pub mod view;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::usage::TokenUsage;

use badness::Badness;
use book::Book;
pub use book::RecordLimits;
use facts::{EventNote, NetworkNote, Serving, SessionFacts, TurnNote, WordsChange};
pub use levels::LEVEL_STEP;
use view::{Lane, MarkKind, RecordView, RecordingView, SummaryView, TurnView};

/// Hears of every session's turns and end. Called on the path of the session: it must return at once, so what takes time
/// is queued, and what does not fit the queue is dropped and counted.
pub trait SessionSink: Send + Sync {
    /// A session begins.
    fn began(&self, _record: &SessionRecord) {}

    /// A turn was measured; it is in the record. What it cost, and whether it is cut off, may follow.
    fn turn(&self, _record: &SessionRecord, _turn: u32) {}

    /// The session is over; nothing is written any more.
    fn ended(&self, _record: &SessionRecord) {}
}

struct Shared {
    facts: SessionFacts,
    sinks: Arc<[Arc<dyn SessionSink>]>,
    revision: AtomicU64,
    book: Mutex<Book>,
}

/// The record of one session. Clones share it.
#[derive(Clone)]
pub struct SessionRecord(Arc<Shared>);

/// The name only.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionRecord").field(&self.0.facts.session).finish()
    }
}

impl SessionRecord {
    /// An empty record, of whose turns and end these hear.
    #[must_use]
    pub fn new(facts: SessionFacts, limits: RecordLimits, sinks: Arc<[Arc<dyn SessionSink>]>) -> Self {
        let book = Book::new(limits);
        let revision = AtomicU64::new(book.revision());
        let record = Self(Arc::new(Shared { facts, sinks, revision, book: Mutex::new(book) }));
        record.0.sinks.iter().for_each(|sink| sink.began(&record));
        record
    }

    /// What was known from the beginning.
    #[must_use]
    pub fn facts(&self) -> &SessionFacts {
        &self.0.facts
    }

    /// Rises with every change. Takes no lock.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }

    /// The session in a few figures.
    #[must_use]
    pub fn summary(&self) -> SummaryView {
        self.read(|book| book.summary(&self.0.facts))
    }

    /// How bad it is, for lists with the worst first.
    #[must_use]
    pub fn badness(&self) -> Badness {
        self.read(Book::badness)
    }

    /// All that changed after a revision; everything with 0.
    #[must_use]
    pub fn view_since(&self, revision: u64) -> RecordView {
        self.read(|book| book.since(&self.0.facts, revision)).open()
    }

    /// The last turns that are kept, the newest first.
    #[must_use]
    pub fn newest_turns(&self, most: usize) -> Vec<TurnView> {
        self.read(|book| book.newest_turns(most))
    }

    /// Roughly how many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Shared>() + self.read(Book::size)
    }

    /// The client is connected.
    pub fn opened(&self, at: Duration) {
        self.write(|book| book.opened(at));
    }

    /// It goes on: what is said of its length is true up to `at`.
    pub fn lasts(&self, at: Duration) {
        self.write(|book| book.lasts(at));
    }

    /// Somebody wants it to end.
    pub fn ending(&self) {
        self.write(Book::ending);
    }

    /// It is over. `None` for one that never began. Only the first reason counts; the sinks hear of it once.
    pub fn ended(&self, at: Duration, reason: Option<EndReason>) {
        let is_news = self.write(|book| {
            let is_news = !book.is_over();
            book.ended(at, reason);
            is_news
        });
        if is_news {
            self.0.sinks.iter().for_each(|sink| sink.ended(self));
        }
    }

    /// What may be kept of it. Before this is said no words are.
    pub fn keeps(&self, recording: RecordingView) {
        self.write(|book| book.keeps(recording));
    }

    /// Nobody measures it: turns, network, levels, marks and words are not told.
    pub fn leaves_out_measures(&self) {
        self.write(Book::leaves_out_measures);
    }

    /// Who serves it from now on.
    pub fn served_by(&self, at: Duration, serving: Serving) {
        self.write(|book| book.served_by(at, serving));
    }

    /// Which relay carries the call from now on; `None` for none.
    pub fn carried_by(&self, at: Duration, relay: Option<&str>) {
        self.write(|book| book.carried_by(at, relay));
    }

    /// An answer was completed.
    pub fn answered(&self, at: Duration) {
        self.write(|book| book.answered(at));
    }

    /// What the session has cost so far.
    pub fn cost(&self, at: Duration, total: NanoDollars) {
        self.write(|book| book.cost(at, total));
    }

    /// A turn was measured, the caller's last word of which was at `at`.
    pub fn turn(&self, at: Duration, note: TurnNote<'_>) {
        self.write(|book| book.turn(at, note));
        self.0.sinks.iter().for_each(|sink| sink.turn(self, note.account.turn));
    }

    /// One more second on the network, which ended at `at`.
    pub fn network(&self, at: Duration, note: NetworkNote) {
        self.write(|book| book.network(at, note));
    }

    /// How loud both sides were since `from`, a value for every [`LEVEL_STEP`], 0 to 100. What is known already stays.
    pub fn levels(&self, from: Duration, caller: &[u8], agent: &[u8]) {
        self.write(|book| book.levels(from, caller, agent));
    }

    /// Somebody begins to speak, or cuts somebody off.
    pub fn mark(&self, at: Duration, lane: Lane, kind: MarkKind) {
        self.write(|book| book.mark(at, lane, kind));
    }

    /// That is over; an interruption with the time the agent took to fall silent. Nothing happens if none goes on.
    pub fn mark_ended(&self, at: Duration, lane: Lane, kind: MarkKind, stop: Option<Duration>) {
        self.write(|book| book.mark_ended(at, lane, kind, stop));
    }

    /// What became known of the words of an item. Nothing is kept unless [`SessionRecord::keeps`] allows it.
    pub fn words(&self, at: Duration, item: &str, who: Lane, change: WordsChange<'_>) {
        self.write(|book| book.words(at, (item, who), change));
    }

    /// Something happened. Gives its number.
    pub fn event(&self, at: Duration, note: EventNote) -> u64 {
        self.write(|book| book.event(at, note))
    }

    /// What happened went on until `at`: its detail gets `until_ms`.
    pub fn event_ended(&self, at: Duration, number: u64) {
        self.write(|book| book.event_ended(at, number));
    }

    /// What an answer used. It counts for the turn that is answered.
    pub fn tokens(&self, at: Duration, usage: &TokenUsage) {
        self.write(|book| book.tokens(at, usage));
    }

    fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.0.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut book);
        self.0.revision.store(book.revision(), Ordering::Release);
        result
    }
}
