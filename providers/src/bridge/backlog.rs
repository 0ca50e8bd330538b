//! Commands that wait for the provider.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{Pcm, SampleCount};
use voxgate_protocol::bridge::BridgeCommand;

/// Commands that are not audio are few; a client that writes this many while the provider does not listen is
/// cut off.
const MAXIMUM_COMMANDS: usize = 4_096;

/// Most audio that waits, however new: a client that sends recordings instead of a voice may be this far ahead.
const MOST_AUDIO: Duration = Duration::from_mins(10);

/// Commands in order, with a limit on how long audio may wait.
///
/// Late audio is worth less than recent audio: what waited longer than the limit goes, the oldest first. How much
/// audio came says nothing about its age, since a WebSocket client may send a minute of it at once. Every other command
/// keeps its place, so that a commit still closes the turn it was meant for.
#[derive(Debug)]
pub struct Backlog {
    waiting: VecDeque<(Instant, BridgeCommand)>,
    audio: Duration,
    limit: Duration,
}

/// The provider has not listened for so long that commands would have to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAXIMUM_COMMANDS} commands wait for the provider")]
pub struct BacklogFull;

impl Backlog {
    /// An empty backlog in which audio waits no longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { waiting: VecDeque::new(), audio: Duration::ZERO, limit }
    }

    /// Changes the limit; it takes effect with the next command.
    pub const fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Puts a command behind the others and says how many samples had to go for it.
    ///
    /// # Errors
    /// [`BacklogFull`] if too many commands other than audio wait.
    pub fn push(&mut self, now: Instant, command: BridgeCommand) -> Result<SampleCount, BacklogFull> {
        if let BridgeCommand::Audio(pcm) = &command {
            self.audio += pcm.duration();
        }
        self.waiting.push_back((now, command));
        let mut dropped = SampleCount::default();
        while let Some(pcm) = self.remove_late_audio(now) {
            dropped += pcm.len();
        }
        if self.waiting.len() > MAXIMUM_COMMANDS { Err(BacklogFull) } else { Ok(dropped) }
    }

    /// The next command.
    pub fn pop(&mut self) -> Option<BridgeCommand> {
        let (_, command) = self.waiting.pop_front()?;
        if let BridgeCommand::Audio(pcm) = &command {
            self.audio = self.audio.saturating_sub(pcm.duration());
        }
        Some(command)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How much audio waits.
    #[must_use]
    pub const fn audio(&self) -> Duration {
        self.audio
    }

    fn remove_late_audio(&mut self, now: Instant) -> Option<Pcm> {
        let is_audio = |(_, command): &(Instant, BridgeCommand)| matches!(command, BridgeCommand::Audio(_));
        let index = self.waiting.iter().position(is_audio)?;
        let (since, _) = self.waiting.get(index)?;
        if now.saturating_duration_since(*since) <= self.limit && self.audio <= MOST_AUDIO {
            return None;
        }
        let Some((_, BridgeCommand::Audio(pcm))) = self.waiting.remove(index) else { return None };
        self.audio = self.audio.saturating_sub(pcm.duration());
        Some(pcm)
    }
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::audio::SampleRate;

    use super::*;

    fn frame(value: i16) -> BridgeCommand {
        BridgeCommand::Audio(Pcm { rate: SampleRate::HZ_24000, samples: vec![value; 480] })
    }

    const LIMIT: Duration = Duration::from_millis(40);

    #[test]
    fn audio_that_waited_too_long_goes_and_is_counted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut backlog = Backlog::new(LIMIT);
        assert_eq!(backlog.push(at(0), frame(1)), Ok(SampleCount(0)));
        assert_eq!(backlog.push(at(20), frame(2)), Ok(SampleCount(0)));
        assert_eq!(backlog.push(at(40), frame(3)), Ok(SampleCount(0)));
        assert_eq!(backlog.push(at(60), frame(4)), Ok(SampleCount(480)));
        assert_eq!(backlog.audio(), Duration::from_millis(60));
        assert_eq!(backlog.pop(), Some(frame(2)));
        assert_eq!(backlog.pop(), Some(frame(3)));
        assert_eq!(backlog.pop(), Some(frame(4)));
        assert!(backlog.is_empty());
        assert_eq!(backlog.audio(), Duration::ZERO);
    }

    #[test]
    fn a_recording_sent_at_once_is_kept_whole() {
        let now = Instant::now();
        let mut backlog = Backlog::new(LIMIT);
        let minute = Pcm::silence(SampleRate::HZ_24000, Duration::from_mins(1));
        for _ in 0..10 {
            assert_eq!(backlog.push(now, BridgeCommand::Audio(minute.clone())), Ok(SampleCount(0)));
        }
        assert_eq!(backlog.push(now, frame(1)), Ok(minute.len()), "memory is bounded all the same");
    }

    #[test]
    fn a_command_that_is_not_audio_keeps_its_place() {
        let start = Instant::now();
        let mut backlog = Backlog::new(LIMIT);
        backlog.push(start, frame(1)).unwrap();
        backlog.push(start, BridgeCommand::ClearInput).unwrap();
        backlog.push(start + 2 * LIMIT, frame(2)).unwrap();
        assert_eq!(backlog.pop(), Some(BridgeCommand::ClearInput));
        assert_eq!(backlog.pop(), Some(frame(2)));
    }

    #[test]
    fn commands_without_end_are_refused() {
        let now = Instant::now();
        let mut backlog = Backlog::new(LIMIT);
        for _ in 0..MAXIMUM_COMMANDS {
            backlog.push(now, BridgeCommand::ClearInput).unwrap();
        }
        assert_eq!(backlog.push(now, BridgeCommand::ClearInput), Err(BacklogFull));
    }
}
