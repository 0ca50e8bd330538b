//! One caller of the benchmark: speaks without pause and asks for one answer after the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::time::{sleep, timeout};
use voxgate_caller::{Call, CallOptions, CallTimings, Speech, Step};

use super::gateway::KEY;
use super::provider::MODEL_PREFIX;
use super::wire::Wire;

/// The longest wait for anything a healthy gateway does at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two answers, so that each begins a new talkspurt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(60);

/// Pauses differ by this step in turn, so that the callers' answers do not fall into step.
const PAUSE_STEP: Duration = Duration::from_millis(13);
const PAUSE_STEPS: usize = 8;

/// A connected caller.
#[derive(Debug)]
pub struct Caller {
    call: Call,
    /// The number of the session.
    pub session: usize,
    /// The RTP stream of the caller.
    pub ssrc: u32,
}

impl Caller {
    /// Dials and hears a first answer.
    ///
    /// One at a time: the caller's stream is told from the others by being new on the wire.
    ///
    /// # Errors
    /// The call cannot be connected, or no answer is heard.
    pub async fn connect(base_url: &str, session: usize, wire: &mut Wire) -> anyhow::Result<Self> {
        let mut options = CallOptions::new(base_url, KEY);
        options.session = Some(json!({
            "type": "realtime",
            "model": format!("{MODEL_PREFIX}{session}"),
            // The provider listens for turns as usual, but neither answers nor interrupts by itself: both
            // directions are busy.
            "audio": { "input": { "turn_detection": {
                "type": "server_vad", "create_response": false, "interrupt_response": false,
            } } },
        }));
        let mut call =
            Call::connect(options).await.with_context(|| format!("caller {session} cannot connect"))?;
        ask_for_answer(&mut call).await?;
        let ssrc = timeout(PATIENCE, wire.newcomers.recv()).await;
        let Ok(Some(ssrc)) = ssrc else { bail!("caller {session} sends no audio through the tap") };
        Ok(Self { call, session, ssrc })
    }

    /// When the steps of connecting were reached.
    #[must_use]
    pub fn timings(&self) -> CallTimings {
        self.call.timings()
    }

    /// The time of the POST of the offer.
    #[must_use]
    pub fn offered(&self) -> Option<Instant> {
        self.timings().at(Step::OfferSent)
    }

    /// Speaks, and asks for answers until a time; what is still being said then is cut.
    ///
    /// # Errors
    /// An answer does not come.
    pub async fn converse(mut self, speech: Speech, until: Instant) -> anyhow::Result<Self> {
        // Whether all of it could be said does not matter.
        drop(self.call.play(speech));
        let mut turn = self.session;
        while Instant::now() < until {
            ask_for_answer(&mut self.call).await.with_context(|| format!("caller {}", self.session))?;
            let steps = u32::try_from(turn % PAUSE_STEPS).unwrap_or_default();
            sleep(SHORTEST_PAUSE + PAUSE_STEP * steps).await;
            turn += 3;
        }
        self.call.fall_silent();
        Ok(self)
    }

    /// Ends the call.
    ///
    /// # Errors
    /// The gateway refuses.
    pub async fn hang_up(self) -> anyhow::Result<()> {
        Ok(self.call.hang_up().await?)
    }
}

async fn ask_for_answer(call: &mut Call) -> anyhow::Result<()> {
    call.send_event(&json!({ "type": "response.create" })).await?;
    call.wait_for("output_audio_buffer.stopped", PATIENCE).await?;
    Ok(())
}
