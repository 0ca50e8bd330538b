//! Conversations whose clients may come back: tokens, and who waits for whom.
//!
//! Every session has a token. A session that lost its client parks its conversation under it; a new session that presents the
//! token takes it. A client may notice the loss before the gateway does: then the old session is still running, is rung
//! for, and hands over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use voxgate_policy::key::{KeyHash, KeyIndex};
use voxgate_realtime::{ApiError, ParkedConversation};

/// What tokens begin with.
const PREFIX: &str = "vgr_";

/// Longest wait for a running session to hand over. It only has to notice that it is asked.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of parked conversations together.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// Tells a running session to look at its ticket. Must return at once.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

enum State {
    /// The session runs.
    Running {
        bell: Option<Bell>,
        /// Who waits for the conversation.
        wanted: Option<oneshot::Sender<ParkedConversation>>,
    },
    /// The session is gone.
    Parked { since: Instant, conversation: Box<ParkedConversation> },
}

struct Entry {
    key: KeyIndex,
    state: State,
}

/// The hash of a token, the only form that is kept. Looking it up takes a time that says nothing about the token.
type Fingerprint = [u8; 32];

/// The book of conversations that may be resumed, shared by every listener of a process.
#[derive(Clone)]
pub struct Resumptions {
    book: Arc<Mutex<HashMap<Fingerprint, Entry>>>,
    window: Duration,
    most_parked: usize,
}

impl fmt::Debug for Resumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumptions").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Resumptions {
    /// Conversations stay parked for `window`, at most `most_parked` of them: beyond it the oldest go. With a window of
    /// zero nothing can be resumed.
    #[must_use]
    pub fn new(window: Duration, most_parked: usize) -> Self {
        Self { book: Arc::default(), window, most_parked }
    }

    /// The token of a new session, made of random bytes, and the session's end of it. `None` if nothing can be resumed.
    #[must_use]
    pub fn issue(&self, key: KeyIndex, random: [u8; 32]) -> Option<(String, ResumeTicket)> {
        if self.window.is_zero() {
            return None;
        }
        let token =
            format!("{PREFIX}{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let fingerprint = KeyHash::of(&token).into_bytes();
        let state = State::Running { bell: None, wanted: None };
        self.with(|book| book.insert(fingerprint, Entry { key, state }));
        Some((token, ResumeTicket { fingerprint, resumptions: self.clone() }))
    }

    /// Takes the conversation of a token that was given out for this key. The token is used up by it.
    ///
    /// # Errors
    /// `resume_token_invalid` if there is none: unknown, another key's, used, expired, or of a session that ended in
    /// order.
    pub async fn take(&self, token: &str, key: KeyIndex) -> Result<ParkedConversation, ApiError> {
        let fingerprint = KeyHash::of(token).into_bytes();
        let handed_over = match self.claim(fingerprint, key, Instant::now()) {
            Some(Claim::Parked(conversation)) => return Ok(*conversation),
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

    /// Parks a conversation again whose new session could not start.
    pub fn put_back(&self, token: &str, key: KeyIndex, conversation: ParkedConversation) {
        let state = State::Parked { since: Instant::now(), conversation: Box::new(conversation) };
        self.with(|book| book.insert(KeyHash::of(token).into_bytes(), Entry { key, state }));
        self.make_room(Instant::now());
    }

    fn claim(&self, fingerprint: Fingerprint, key: KeyIndex, now: Instant) -> Option<Claim> {
        self.with(|book| {
            let entry = book.get_mut(&fingerprint).filter(|entry| entry.key == key)?;
            match &mut entry.state {
                State::Running { bell: Some(bell), wanted: wanted @ None } => {
                    let (sender, receiver) = oneshot::channel();
                    *wanted = Some(sender);
                    Some(Claim::Running(Arc::clone(bell), receiver))
                }
                State::Running { .. } => None,
                State::Parked { since, .. } => {
                    let is_late = now.saturating_duration_since(*since) >= self.window;
                    match book.remove(&fingerprint)?.state {
                        State::Parked { conversation, .. } if !is_late => Some(Claim::Parked(conversation)),
                        _ => None,
                    }
                }
            }
        })
    }

    fn park(&self, fingerprint: Fingerprint, now: Instant, conversation: ParkedConversation) {
        self.with(|book| {
            let Some(Entry { key, state }) = book.remove(&fingerprint) else { return };
            let left = match state {
                State::Running { wanted: Some(wanted), .. } => wanted.send(conversation).err(),
                _ => Some(conversation),
            };
            if let Some(conversation) = left {
                let state = State::Parked { since: now, conversation: Box::new(conversation) };
                book.insert(fingerprint, Entry { key, state });
            }
        });
        self.make_room(now);
    }

    /// Forgets what is too old, then the oldest of what is too much.
    fn make_room(&self, now: Instant) {
        self.with(|book| {
            let mut parked: Vec<(Instant, Fingerprint, usize)> = book
                .iter()
                .filter_map(|(fingerprint, entry)| match &entry.state {
                    State::Parked { since, conversation } => {
                        Some((*since, *fingerprint, conversation.bytes()))
                    }
                    State::Running { .. } => None,
                })
                .collect();
            parked.sort_unstable_by_key(|(since, ..)| std::cmp::Reverse(*since));
            let mut bytes = 0;
            for (place, (since, fingerprint, weight)) in parked.into_iter().enumerate() {
                bytes += weight;
                let is_late = now.saturating_duration_since(since) >= self.window;
                if is_late || place >= self.most_parked || bytes > MOST_BYTES {
                    book.remove(&fingerprint);
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Fingerprint, Entry>) -> T) -> T {
        // The book stays consistent whatever a panicking thread did between two entries.
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Claim {
    Parked(Box<ParkedConversation>),
    Running(Bell, oneshot::Receiver<ParkedConversation>),
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
                book.get_mut(&self.fingerprint)
            {
                *hung = Some(bell);
            }
        });
    }

    /// Whether a new session waits for the conversation: this one has lost its client, whatever it believes.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.resumptions.with(|book| {
            let entry = book.get(&self.fingerprint);
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
            if matches!(book.get(&self.fingerprint), Some(Entry { state: State::Running { .. }, .. })) {
                book.remove(&self.fingerprint);
            }
        });
    }
}

#[cfg(test)]
mod tests;
