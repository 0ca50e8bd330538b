//! The utterances of a turn, and how they become its transcript.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use voxgate_protocol::audio::SampleCount;
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::{Eagerness, TurnDetection};

use super::listener::{Hearing, Listener};
use super::pool::{DecoderPool, Interim, InterimSink, Utterance, Words};
use super::{INPUT_RATE, LocalError};

/// How long a turn's words may take after the turn has ended: long enough for another caller's turn to end first.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Utterances of one turn that are kept; older ones are forgotten. Only a client that never commits has more.
const MOST_UTTERANCES: usize = 32;

/// A pause the gate swallows: its closing delay and the audio before its opening.
const SWALLOWED_PAUSE: Duration = Duration::from_millis(1_600);

/// The gateway's voice activity and the gate of this provider do not see the same edges; this much may lie between.
const SLACK: Duration = Duration::from_millis(500);

/// Words so far that may wait for the session; newer ones are dropped then, and asked for again soon.
const MOST_INTERIM: usize = 8;

#[derive(Debug)]
struct Piece {
    began: u64,
    ended: u64,
    words: Words,
}

/// The caller's audio since the last commit.
#[derive(Debug)]
pub(super) struct OpenTurn {
    listener: Listener,
    pieces: VecDeque<Piece>,
    open: Option<(u64, Utterance, Words)>,
    /// Utterances begun so far; the open one has this number.
    utterances: u64,
    interim: (mpsc::Sender<Interim>, mpsc::Receiver<Interim>),
}

impl OpenTurn {
    /// Nothing heard yet.
    pub(super) fn new() -> Self {
        Self {
            listener: Listener::new(),
            pieces: VecDeque::new(),
            open: None,
            utterances: 0,
            interim: mpsc::channel(MOST_INTERIM),
        }
    }

    /// Whether an utterance is being decoded.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes samples of 16 kHz. True if an utterance began in them.
    pub(super) fn hear(&mut self, samples: &[i16], pool: &DecoderPool) -> bool {
        let before = self.utterances;
        for hearing in self.listener.hear(samples) {
            match hearing {
                Hearing::Begin { position, samples } => {
                    self.utterances += 1;
                    let sink = InterimSink { utterance: self.utterances, sender: self.interim.0.clone() };
                    let (utterance, words) = pool.begin(sink);
                    utterance.hear(samples);
                    self.open = Some((position, utterance, words));
                }
                Hearing::Go(samples) => {
                    if let Some((_, utterance, _)) = &self.open {
                        utterance.hear(samples);
                    }
                }
                Hearing::Ask { inside_speech } => {
                    if let Some((_, utterance, _)) = &self.open {
                        utterance.ask(inside_speech);
                    }
                }
                Hearing::End { position } => self.close(position),
            }
        }
        self.utterances > before
    }

    /// Waits for words of the utterance that goes on. Cancelling the wait loses nothing.
    pub(super) async fn interim(&mut self) -> String {
        loop {
            match self.interim.1.recv().await {
                Some(interim) if self.open.is_some() && interim.utterance == self.utterances => {
                    return interim.words;
                }
                // Too late: that utterance is over.
                Some(_) => {}
                // Not while this turn holds a sender itself.
                None => std::future::pending().await,
            }
        }
    }

    /// Ends the utterance being decoded, so that its decoder is free.
    pub(super) fn end_utterance(&mut self) {
        if let Some(Hearing::End { position }) = self.listener.end() {
            self.close(position);
        }
    }

    fn close(&mut self, position: u64) {
        if let Some((began, utterance, words)) = self.open.take() {
            utterance.end();
            if self.pieces.len() == MOST_UTTERANCES {
                self.pieces.pop_front();
            }
            self.pieces.push_back(Piece { began, ended: position, words });
        }
    }

    /// Forgets the audio since the last commit.
    pub(super) fn clear(&mut self) {
        self.end_utterance();
        self.pieces.clear();
    }

    /// Ends the turn. What was heard long before its end belongs to no turn (a cough the gateway did not count as
    /// speech), unless the client ends turns by hand.
    pub(super) fn commit(
        &mut self,
        item_id: ItemId,
        detection: Option<&TurnDetection>,
        now: Instant,
    ) -> PendingTranscript {
        self.end_utterance();
        let spans: Vec<_> = self.pieces.iter().map(|piece| (piece.began, piece.ended)).collect();
        let first = first_of_turn(&spans, self.listener.position(), detection.map(longest_pause));
        let pieces: Vec<_> = self.pieces.drain(..).skip(first).collect();
        let samples = pieces.iter().map(|piece| piece.ended - piece.began).sum();
        PendingTranscript {
            item_id,
            audio: SampleCount(samples).duration_at(INPUT_RATE),
            committed: now,
            is_silence: false,
            waiting: pieces.into_iter().map(|piece| piece.words).collect(),
            heard: Vec::new(),
        }
    }
}

/// The longest pause inside a turn.
fn longest_pause(detection: &TurnDetection) -> Duration {
    match detection {
        TurnDetection::ServerVad(vad) => vad.silence,
        TurnDetection::Semantic(vad) => Duration::from_secs(match vad.eagerness {
            Eagerness::Low => 8,
            Eagerness::Medium | Eagerness::Auto => 4,
            Eagerness::High => 2,
        }),
    }
}

/// The index of the first span that belongs to a turn that ends at `end`; all positions in samples.
fn first_of_turn(spans: &[(u64, u64)], end: u64, pause: Option<Duration>) -> usize {
    let Some(pause) = pause else { return 0 };
    let between = INPUT_RATE.samples_in(pause.saturating_sub(SWALLOWED_PAUSE) + SLACK).0;
    let at_the_end = INPUT_RATE.samples_in(pause + SLACK).0;
    let (mut first, mut next, mut allowed) = (spans.len(), end, at_the_end);
    for (index, (began, ended)) in spans.iter().enumerate().rev() {
        if next.saturating_sub(*ended) > allowed {
            break;
        }
        (first, next, allowed) = (index, *began, between);
    }
    first
}

/// A turn that has ended and whose words are not all known yet.
#[derive(Debug)]
pub(super) struct PendingTranscript {
    /// The item of the turn.
    pub(super) item_id: ItemId,
    /// How much audio was decoded for it.
    pub(super) audio: Duration,
    /// When it ended.
    pub(super) committed: Instant,
    /// It is the silence of the idle timeout.
    pub(super) is_silence: bool,
    waiting: VecDeque<Words>,
    heard: Vec<String>,
}

impl PendingTranscript {
    /// Waits for the words. Cancelling the wait loses nothing.
    ///
    /// # Errors
    ///
    /// [`LocalError::Busy`] if no decoder was free in time, or what the decoder reports.
    pub(super) async fn words(&mut self) -> Result<String, LocalError> {
        while let Some(words) = self.waiting.front_mut() {
            let heard = timeout_at(self.committed + LONGEST_WAIT, words).await;
            self.waiting.pop_front();
            // The inner errors: the pool is gone, or the decoder refused.
            let heard = heard.map_err(|_| LocalError::Busy)?.map_err(|_| LocalError::Busy)??;
            if !heard.words.is_empty() {
                self.heard.push(heard.words);
            }
        }
        Ok(self.heard.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 16_000;

    #[test]
    fn a_cough_long_before_the_turn_does_not_belong_to_it() {
        let spans = [(SECOND, 2 * SECOND), (20 * SECOND, 22 * SECOND)];
        let pause = Some(Duration::from_millis(500));
        assert_eq!(first_of_turn(&spans, 22 * SECOND, pause), 1);
        assert_eq!(first_of_turn(&spans, 22 * SECOND, None), 0);
        // The idle timeout of a session commits silence.
        assert_eq!(first_of_turn(&spans, 40 * SECOND, pause), 2);
    }

    #[test]
    fn a_patient_turn_detection_keeps_what_was_said_before_a_pause() {
        let spans = [(0, 3 * SECOND), (5 * SECOND, 7 * SECOND)];
        assert_eq!(first_of_turn(&spans, 7 * SECOND, Some(Duration::from_secs(4))), 0);
        assert_eq!(first_of_turn(&spans, 7 * SECOND, Some(Duration::from_millis(500))), 1);
        assert_eq!(first_of_turn(&[], 0, Some(Duration::from_secs(1))), 0);
    }
}
