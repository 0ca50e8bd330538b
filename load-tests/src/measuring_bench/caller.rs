//! One caller, who asks the same question every few seconds whatever is answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::time::sleep_until;
use voxgate_caller::{Call, CallNotice, CallOptions, Speech};

use crate::bench::gateway::KEY;

/// From one question to the next: question, pause and answer together take less, so that nobody is interrupted.
pub const PERIOD: Duration = Duration::from_secs(5);

/// What a caller was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Answers that are over.
    pub answers: u64,
    /// Turns that were measured.
    pub turns: u64,
}

impl Told {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { answers: self.answers + other.answers, turns: self.turns + other.turns }
    }
}

/// A connected caller.
#[derive(Debug)]
pub struct Caller(Call);

impl Caller {
    /// Dials; its packets leave at `beat` and multiples of 20 ms from it. With `reports` it also opens the channel `voxgate`, reports
    /// every second and answers what it is asked.
    ///
    /// # Errors
    /// The call cannot be connected.
    pub async fn connect(base_url: &str, beat: Instant, reports: bool) -> anyhow::Result<Self> {
        let mut options = CallOptions::new(base_url, KEY);
        options.voxgate_channel = reports;
        options.beat = Some(beat);
        // Under callgrind a handshake takes its time.
        options.timeout = Duration::from_mins(1);
        options.session = Some(json!({ "type": "realtime", "model": "measured" }));
        Ok(Self(Box::pin(Call::connect(options)).await.context("a call cannot be connected")?))
    }

    /// Asks from `begin` on until `until`.
    ///
    /// # Errors
    /// The gateway reports an error, or the call ends.
    pub async fn converse(
        &mut self,
        question: &Speech,
        begin: Instant,
        until: Instant,
    ) -> anyhow::Result<Told> {
        let (mut told, mut next) = (Told::default(), begin);
        loop {
            tokio::select! {
                () = sleep_until(until.into()) => return Ok(told),
                () = sleep_until(next.into()) => {
                    drop(self.0.play(question.clone()));
                    next += PERIOD;
                }
                notice = self.0.next() => match notice {
                    Some(CallNotice::Event(event)) if event.kind() == "error" => {
                        bail!("the gateway says {}", event.json)
                    }
                    Some(CallNotice::Event(event)) => told.answers += u64::from(event.kind() == "response.done"),
                    Some(CallNotice::Turn(_)) => told.turns += 1,
                    Some(CallNotice::Ended(reason)) => bail!("a call ended: {reason}"),
                    None => bail!("a call ended"),
                },
            }
        }
    }

    /// Ends the call.
    ///
    /// # Errors
    /// The gateway refuses.
    pub async fn hang_up(self) -> anyhow::Result<()> {
        Ok(self.0.hang_up().await?)
    }
}
