//! Commands that wait for the provider.

use std::collections::VecDeque;
use std::time::Duration;

use voxgate_protocol::audio::{Pcm, SampleCount};
use voxgate_protocol::bridge::BridgeCommand;

/// Commands that are not audio are few; a client that writes this many while the provider does not listen is
/// cut off.
const MAXIMUM_COMMANDS: usize = 4_096;

/// Commands in order, with a limit on how much audio may wait.
///
/// Late audio is worth less than recent audio: beyond the limit the oldest goes first. Every other command keeps its
/// place, so that a commit still closes the turn it was meant for.
#[derive(Debug)]
pub struct Backlog {
    waiting: VecDeque<BridgeCommand>,
    audio: Duration,
    limit: Duration,
}

/// The provider has not listened for so long that commands would have to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAXIMUM_COMMANDS} commands wait for the provider")]
pub struct BacklogFull;

impl Backlog {
    /// An empty backlog that holds at most `limit` of audio.
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
    pub fn push(&mut self, command: BridgeCommand) -> Result<SampleCount, BacklogFull> {
        if let BridgeCommand::Audio(pcm) = &command {
            self.audio += pcm.duration();
        }
        self.waiting.push_back(command);
        let mut dropped = SampleCount::default();
        while self.audio > self.limit {
            let Some(pcm) = self.remove_oldest_audio() else { break };
            dropped += pcm.len();
        }
        if self.waiting.len() > MAXIMUM_COMMANDS { Err(BacklogFull) } else { Ok(dropped) }
    }

    /// The next command.
    pub fn pop(&mut self) -> Option<BridgeCommand> {
        let command = self.waiting.pop_front()?;
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

    fn remove_oldest_audio(&mut self) -> Option<Pcm> {
        let index = self.waiting.iter().position(|command| matches!(command, BridgeCommand::Audio(_)))?;
        let Some(BridgeCommand::Audio(pcm)) = self.waiting.remove(index) else { return None };
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

    #[test]
    fn beyond_the_limit_the_oldest_audio_goes_and_is_counted() {
        let mut backlog = Backlog::new(Duration::from_millis(40));
        assert_eq!(backlog.push(frame(1)), Ok(SampleCount(0)));
        assert_eq!(backlog.push(frame(2)), Ok(SampleCount(0)));
        assert_eq!(backlog.push(frame(3)), Ok(SampleCount(480)));
        assert_eq!(backlog.audio(), Duration::from_millis(40));
        assert_eq!(backlog.pop(), Some(frame(2)));
        assert_eq!(backlog.pop(), Some(frame(3)));
        assert!(backlog.is_empty());
        assert_eq!(backlog.audio(), Duration::ZERO);
    }

    #[test]
    fn a_command_that_is_not_audio_keeps_its_place() {
        let mut backlog = Backlog::new(Duration::from_millis(20));
        backlog.push(frame(1)).unwrap();
        backlog.push(BridgeCommand::ClearInput).unwrap();
        backlog.push(frame(2)).unwrap();
        assert_eq!(backlog.pop(), Some(BridgeCommand::ClearInput));
        assert_eq!(backlog.pop(), Some(frame(2)));
    }

    #[test]
    fn commands_without_end_are_refused() {
        let mut backlog = Backlog::new(Duration::from_millis(20));
        for _ in 0..MAXIMUM_COMMANDS {
            backlog.push(BridgeCommand::ClearInput).unwrap();
        }
        assert_eq!(backlog.push(BridgeCommand::ClearInput), Err(BacklogFull));
    }
}
