//! Conversations whose clients may come back: tokens, and who waits for whom.
//!
//! Every session has a token. A session that lost its client parks its conversation under it; a new session that presents the
//! token takes it. A client may notice the loss before the gateway does: then the old session is still running, is rung
//! for, and hands over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;
use voxgate_policy::key::{KeyHash, KeyIndex};
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::{ApiError, ParkedConversation};

/// What tokens begin with.
const PREFIX: &str = "vgr_";

/// Longest wait for a running session to hand over. It only has to notice that it is asked.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of parked conversations together.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// As much of a fingerprint as the book is searched by. The rest is compared in constant time.
type Place = [u8; 16];

/// Tells a running session to look at its ticket. Must return at once.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

enum State {
    /// The session runs.
    Running {
        bell: Option<Bell>,
        /// Who waits for the conversation.
        wanted: Option<oneshot::Sender<Resumed>>,
    },
    /// The session is gone.
    Parked { since: Instant, conversation: Box<ParkedConversation> },
}

struct Entry {
    fingerprint: Fingerprint,
    key: KeyIndex,
    state: State,
}

/// The hash of a token, the only form that is kept.
#[derive(Clone, Copy)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(token: &str) -> Self {
        Self(KeyHash::of(token).into_bytes())
    }

    fn place(self) -> Place {
        let mut place = Place::default();
        place.copy_from_slice(&self.0[..size_of::<Place>()]);
        place
    }

    /// Takes the same time wherever two fingerprints differ.
    fn is(self, other: Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The entries of the book, found by their place and then compared whole.
#[derive(Default)]
struct Book(HashMap<Place, Entry>);

impl Book {
    fn get(&self, fingerprint: Fingerprint) -> Option<&Entry> {
        self.0.get(&fingerprint.place()).filter(|entry| entry.fingerprint.is(fingerprint))
    }

    fn get_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut Entry> {
        self.0.get_mut(&fingerprint.place()).filter(|entry| entry.fingerprint.is(fingerprint))
    }

    fn insert(&mut self, fingerprint: Fingerprint, key: KeyIndex, state: State) {
        self.0.insert(fingerprint.place(), Entry { fingerprint, key, state });
    }

    fn remove(&mut self, fingerprint: Fingerprint) -> Option<Entry> {
        self.get(fingerprint)?;
        self.0.remove(&fingerprint.place())
    }
}

/// The book of conversations that may be resumed, shared by every listener of a process.
#[derive(Clone)]
pub struct Resumptions {
    book: Arc<Mutex<Book>>,
    limits: Arc<Mutex<Limits>>,
}

#[derive(Clone, Copy)]
struct Limits {
    window: Duration,
    most_parked: usize,
}

impl fmt::Debug for Resumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumptions").field("window", &self.limits().window).finish_non_exhaustive()
    }
}

impl Resumptions {
    /// Conversations stay parked for `window`, at most `most_parked` of them: beyond it the oldest go. With a window of
    /// zero nothing can be resumed.
    #[must_use]
    pub fn new(window: Duration, most_parked: usize) -> Self {
        Self { book: Arc::default(), limits: Arc::new(Mutex::new(Limits { window, most_parked })) }
    }

    /// From now on other limits hold, for conversations that are parked already too.
    pub fn set_limits(&self, window: Duration, most_parked: usize) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Limits { window, most_parked };
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of a new session, made of random bytes, and the session's end of it. `None` if nothing can be resumed.
    #[must_use]
    pub fn issue(&self, key: KeyIndex, random: [u8; 32]) -> Option<(String, ResumeTicket)> {
        if self.limits().window.is_zero() {
            return None;
        }
        let token =
            format!("{PREFIX}{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let fingerprint = Fingerprint::of(&token);
        self.with(|book| book.insert(fingerprint, key, State::Running { bell: None, wanted: None }));
        Some((token, ResumeTicket { fingerprint, resumptions: self.clone() }))
    }

    /// Takes the conversation of a token that was given out for this key. The token is used up once a session goes on
    /// with it.
    ///
    /// # Errors
    /// `resume_token_invalid` if there is none: unknown, another key's, used, expired, or of a session that ended in
    /// order.
    pub async fn take(&self, token: &str, key: KeyIndex) -> Result<Resumed, ApiError> {
        let fingerprint = Fingerprint::of(token);
        let handed_over = match self.claim(fingerprint, key, Instant::now()) {
            Some(Claim::Parked(conversation)) => return Ok(self.taken(fingerprint, key, *conversation)),
            Some(Claim::Running(bell, handed_over)) => {
                bell();
                handed_over
            }
            None => return Err(ApiError::resume_token_invalid()),
        };
        match tokio::time::timeout(HAND_OVER_TIMEOUT, handed_over).await {
            Ok(Ok(conversation)) => Ok(conversation),
            // It ended in order meanwhile, or stands still.
            _ => Err(ApiError::resume_token_invalid()),
        }
    }

    fn taken(&self, fingerprint: Fingerprint, key: KeyIndex, left: ParkedConversation) -> Resumed {
        Resumed { fingerprint, key, resumptions: self.clone(), conversation: Some(left) }
    }

    fn put_back(&self, fingerprint: Fingerprint, key: KeyIndex, conversation: ParkedConversation) {
        let now = Instant::now();
        let state = State::Parked { since: now, conversation: Box::new(conversation) };
        self.with(|book| book.insert(fingerprint, key, state));
        self.make_room(now);
    }

    fn claim(&self, fingerprint: Fingerprint, key: KeyIndex, now: Instant) -> Option<Claim> {
        let Limits { window, .. } = self.limits();
        self.with(|book| {
            let entry = book.get_mut(fingerprint).filter(|entry| entry.key == key)?;
            match &mut entry.state {
                State::Running { bell: Some(bell), wanted: wanted @ None } => {
                    let (sender, receiver) = oneshot::channel();
                    *wanted = Some(sender);
                    Some(Claim::Running(Arc::clone(bell), receiver))
                }
                State::Running { .. } => None,
                State::Parked { since, .. } => {
                    let is_late = now.saturating_duration_since(*since) >= window;
                    match book.remove(fingerprint)?.state {
                        State::Parked { conversation, .. } if !is_late => Some(Claim::Parked(conversation)),
                        _ => None,
                    }
                }
            }
        })
    }

    fn park(&self, fingerprint: Fingerprint, now: Instant, conversation: ParkedConversation) {
        let Some(Entry { key, state, .. }) = self.with(|book| book.remove(fingerprint)) else { return };
        if let State::Running { wanted: Some(wanted), .. } = state {
            // Whoever waited and does so no more leaves it behind, and it is parked.
            drop(wanted.send(self.taken(fingerprint, key, conversation)));
            return;
        }
        let state = State::Parked { since: now, conversation: Box::new(conversation) };
        self.with(|book| book.insert(fingerprint, key, state));
        self.make_room(now);
    }

    /// Forgets what is too old, then the oldest of what is too much.
    fn make_room(&self, now: Instant) {
        let Limits { window, most_parked } = self.limits();
        self.with(|book| {
            let mut parked: Vec<(Instant, Fingerprint, usize)> = book
                .0
                .values()
                .filter_map(|entry| match &entry.state {
                    State::Parked { since, conversation } => {
                        Some((*since, entry.fingerprint, conversation.bytes()))
                    }
                    State::Running { .. } => None,
                })
                .collect();
            parked.sort_unstable_by_key(|(since, ..)| std::cmp::Reverse(*since));
            let mut bytes = 0;
            for (place, (since, fingerprint, weight)) in parked.into_iter().enumerate() {
                bytes += weight;
                let is_late = now.saturating_duration_since(since) >= window;
                if is_late || place >= most_parked || bytes > MOST_BYTES {
                    book.remove(fingerprint);
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        // The book stays consistent whatever a panicking thread did between two entries.
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Claim {
    Parked(Box<ParkedConversation>),
    Running(Bell, oneshot::Receiver<Resumed>),
}

/// A conversation that was taken. Dropping it, because no session could go on with it, parks it again, and its token works
/// once more.
pub struct Resumed {
    fingerprint: Fingerprint,
    key: KeyIndex,
    resumptions: Resumptions,
    /// `None` once a session goes on with it.
    conversation: Option<ParkedConversation>,
}

impl Resumed {
    /// The settings in effect when its client was lost.
    #[must_use]
    pub fn settings(&self) -> Option<&SessionSettings> {
        self.conversation.as_ref().map(ParkedConversation::settings)
    }

    /// A session goes on with it. The token is used up, unless the session leaves the conversation to it again.
    #[must_use]
    pub fn go_on(mut self) -> Option<(ParkedConversation, UsedToken)> {
        let conversation = self.conversation.take()?;
        let (fingerprint, key) = (self.fingerprint, self.key);
        Some((conversation, UsedToken { fingerprint, key, resumptions: self.resumptions.clone() }))
    }
}

/// The token a session was resumed with.
pub struct UsedToken {
    fingerprint: Fingerprint,
    key: KeyIndex,
    resumptions: Resumptions,
}

impl UsedToken {
    /// The client never came: it may try again with this token.
    pub fn put_back(self, conversation: ParkedConversation) {
        self.resumptions.put_back(self.fingerprint, self.key, conversation);
    }
}

impl fmt::Debug for UsedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsedToken(..)")
    }
}

impl fmt::Debug for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumed(..)")
    }
}

impl Drop for Resumed {
    fn drop(&mut self) {
        if let Some(conversation) = self.conversation.take() {
            self.resumptions.put_back(self.fingerprint, self.key, conversation);
        }
    }
}

/// The running session's end of its token. Dropping it ends the token.
pub struct ResumeTicket {
    fingerprint: Fingerprint,
    resumptions: Resumptions,
}

impl fmt::Debug for ResumeTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeTicket(..)")
    }
}

impl ResumeTicket {
    /// What is rung when a new session wants the conversation.
    pub fn hang(&self, bell: Bell) {
        self.resumptions.with(|book| {
            if let Some(Entry { state: State::Running { bell: hung, .. }, .. }) =
                book.get_mut(self.fingerprint)
            {
                *hung = Some(bell);
            }
        });
    }

    /// Whether a new session waits for the conversation: this one has lost its client, whatever it believes.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.resumptions.with(|book| {
            let entry = book.get(self.fingerprint);
            matches!(entry, Some(Entry { state: State::Running { wanted: Some(_), .. }, .. }))
        })
    }

    /// The session lost its client; this is what it leaves.
    pub fn park(self, now: Instant, conversation: ParkedConversation) {
        self.resumptions.park(self.fingerprint, now, conversation);
    }
}

impl Drop for ResumeTicket {
    fn drop(&mut self) {
        self.resumptions.with(|book| {
            if matches!(book.get(self.fingerprint), Some(Entry { state: State::Running { .. }, .. })) {
                book.remove(self.fingerprint);
            }
        });
    }
}

#[cfg(test)]
mod tests;
