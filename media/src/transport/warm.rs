//! Keeps the ways that carry nothing at the moment usable, by asking along them.
//!
//! A browser checks an idle path every 25 s and drops one on which nothing comes; in calls of a minute the path
//! through the second relay was then gone when the first relay died. A check of ours once a second, which a full ICE
//! agent must answer whichever role we have (RFC 8445 section 7.3), keeps the path in the browser, in the NATs and in
//! the relay, and the answer proves that it works. The current path is asked as well when it falls silent, so that
//! silence is told from loss within two seconds.

use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use super::stun::TransactionId;

/// Between two questions on a path that is not current, or answers.
pub(super) const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// How long the current path may be silent before it is asked, and before it is asked again if it does not answer.
/// Media come every 20 ms; a browser's stalls stay below 300 ms.
pub(super) const CURRENT_PAUSE: Duration = Duration::from_millis(500);
/// A path that leaves a question unanswered for this long, and says nothing else, is lost. More than any round trip a
/// conversation bears.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Unanswered questions after which a path is asked no more, until the caller checks it again.
pub(super) const MOST_UNANSWERED: u8 = 5;
/// Idle paths asked at a time: the newest ones of a caller that has many.
pub(super) const MOST_ASKED: usize = 4;
/// Questions of one path that may still be answered.
const MOST_OPEN: usize = 3;
/// Bounds of the pause between two looks at the paths.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// What was asked on one path and is not answered yet.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// Oldest first.
    open: Vec<TransactionId>,
    asked: Option<Instant>,
    /// The first question since anything was heard.
    waiting_since: Option<Instant>,
    unanswered: u8,
}

impl Inquiry {
    pub(super) fn ask(&mut self, now: Instant, transaction: TransactionId) {
        if self.open.len() == MOST_OPEN {
            self.open.remove(0);
        }
        self.open.push(transaction);
        self.asked = Some(now);
        self.waiting_since.get_or_insert(now);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    pub(super) fn expects(&self, transaction: TransactionId) -> bool {
        self.open.contains(&transaction)
    }

    /// The question was answered; a repeated answer is not expected any more.
    pub(super) fn answered(&mut self, transaction: TransactionId) {
        self.open.retain(|open| *open != transaction);
    }

    /// Something authentic came on the path.
    pub(super) fn heard(&mut self) {
        self.waiting_since = None;
        self.unanswered = 0;
    }

    /// When the next question may be put, `urgent` after one that was not answered; `None` once enough went
    /// unanswered.
    pub(super) fn next(&self, urgent: Duration) -> Option<Due> {
        if self.unanswered >= MOST_UNANSWERED {
            return None;
        }
        let pause = if self.unanswered == 0 { IDLE_PAUSE } else { urgent };
        Some(self.asked.map_or(Due::Now, |asked| Due::At(asked + pause)))
    }

    /// When the path is lost if nothing comes until then.
    pub(super) fn lost_at(&self, patience: Duration) -> Option<Instant> {
        self.waiting_since.map(|since| since + patience)
    }
}

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
}

impl Due {
    /// As an instant, not before `earliest`.
    pub(super) fn not_before(self, earliest: Instant) -> Instant {
        match self {
            Self::Now => earliest,
            Self::At(at) => at.max(earliest),
        }
    }
}

/// Writes this call's questions and knows when to look for the next.
///
/// Transaction ids need not be secret, because an answer counts only with the caller's digest, but they must differ
/// between calls. They are drawn from the call's password, which does.
pub(super) struct Asker {
    seed: [u8; 20],
    count: u64,
    next: Option<Instant>,
}

impl Asker {
    pub(super) fn new(password: &str) -> Self {
        Self { seed: draw(password.as_bytes(), 0), count: 0, next: None }
    }

    /// Starts looking, at once.
    pub(super) fn start(&mut self, now: Instant) {
        self.next = Some(now);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now >= next)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Looks again at `at`, if that is soon. A path that is proven meanwhile waits for the next look.
    pub(super) fn look_again(&mut self, now: Instant, at: Option<Instant>) {
        let latest = now + IDLE_PAUSE;
        self.next = Some(at.map_or(latest, |at| at.clamp(now + SHORTEST_PAUSE, latest)));
    }

    pub(super) fn transaction(&mut self) -> TransactionId {
        self.count += 1;
        let drawn = draw(&self.seed, self.count);
        std::array::from_fn(|index| drawn[index])
    }

    /// For the role attribute; never compared, because we answer a conflict before it is read.
    pub(super) fn tie_breaker(&self) -> u64 {
        self.seed.iter().take(8).fold(0, |number, octet| (number << 8) | u64::from(*octet))
    }
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("count", &self.count).finish_non_exhaustive()
    }
}

fn draw(seed: &[u8], count: u64) -> [u8; 20] {
    Sha1::new()
        .chain_update(b"questions")
        .chain_update(seed)
        .chain_update(count.to_be_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_repeat_for_the_same_password_and_differ_for_another() {
        let ids = |password| {
            let mut asker = Asker::new(password);
            (0..100).map(|_| asker.transaction()).collect::<Vec<_>>()
        };
        let ours = ids("a password");
        assert_eq!(ours, ids("a password"));
        assert!(ids("another password").iter().all(|id| !ours.contains(id)));
        let distinct: std::collections::BTreeSet<_> = ours.iter().collect();
        assert_eq!(distinct.len(), 100);
    }

    #[test]
    fn few_questions_are_open_and_a_deaf_path_is_left_alone() {
        let now = Instant::now();
        let mut inquiry = Inquiry::default();
        for number in 0..MOST_UNANSWERED {
            assert!(inquiry.next(IDLE_PAUSE).is_some());
            inquiry.ask(now, [number; 12]);
        }
        assert_eq!(inquiry.next(IDLE_PAUSE), None);
        assert!(!inquiry.expects([0; 12]), "too old to be answered");
        assert!(inquiry.expects([MOST_UNANSWERED - 1; 12]));
        inquiry.heard();
        assert_eq!(inquiry.next(IDLE_PAUSE), Some(Due::At(now + IDLE_PAUSE)));
    }
}
