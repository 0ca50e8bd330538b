//! One caller who interrupts every answer with the next question.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::time::timeout;
use voxgate_caller::recording::HeardFrame;
use voxgate_caller::{Call, CallNotice, CallOptions, ServerEvent, Speech, Spoken};

use super::{Arrangement, PAUSE};
use crate::bench::gateway::KEY;

/// The longest wait for anything a healthy gateway does.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of an answer is heard before it is interrupted: this, and a little more each time, so that interruptions
/// fall on every phase of a packet.
const LEAST_HEARD: Duration = Duration::from_millis(900);
const STEP: Duration = Duration::from_millis(37);
const STEPS: u32 = 20;

/// What happened in a call.
#[derive(Debug, Default)]
pub struct Talk {
    /// The questions, each but the first an interruption.
    pub questions: Vec<Spoken>,
    /// `input_audio_buffer.speech_started` and `conversation.item.truncated`.
    pub events: Vec<ServerEvent>,
    /// Every packet that was heard.
    pub frames: Vec<HeardFrame>,
}

/// Calls, interrupts as often as asked, and hangs up.
///
/// # Errors
/// The call cannot be connected, an answer does not come, or an interruption is never told.
pub async fn talk(
    base_url: &str,
    arrangement: Arrangement,
    speech: &[Speech],
    interruptions: usize,
) -> anyhow::Result<Talk> {
    let mut options = CallOptions::new(base_url, KEY);
    options.voxgate_channel = arrangement.reports;
    options.session = Some(json!({
        "type": "realtime",
        "model": arrangement.model,
        "audio": { "input": { "turn_detection": {
            "type": "server_vad", "silence_duration_ms": PAUSE.as_millis() as u64,
        } } },
    }));
    let call = Box::pin(Call::connect(options)).await.context("the call cannot be connected")?;
    let mut talker = Talker { call, talk: Talk::default() };
    for number in 0..=interruptions {
        talker.ask(speech[number % speech.len()].clone()).await?;
        talker.told(number).await.with_context(|| format!("interruption {number} was never told"))?;
        if number == interruptions {
            break;
        }
        let onset = talker.answer().await.with_context(|| format!("question {number} is not answered"))?;
        let heard = LEAST_HEARD + STEP * (number as u32 % STEPS);
        talker.listen_until(onset + heard).await?;
    }
    let Talker { call, mut talk } = talker;
    talk.frames = call.heard().with(|recording| recording.frames().to_vec());
    call.hang_up().await?;
    Ok(talk)
}

struct Talker {
    call: Call,
    talk: Talk,
}

impl Talker {
    async fn ask(&mut self, speech: Speech) -> anyhow::Result<()> {
        let mut playing = self.call.play(speech);
        loop {
            tokio::select! {
                spoken = &mut playing => {
                    self.talk.questions.push(spoken.context("the call ended")?);
                    return Ok(());
                }
                notice = self.call.next() => self.take(notice)?,
            }
        }
    }

    /// Waits until so many truncations were told.
    async fn told(&mut self, truncations: usize) -> anyhow::Result<()> {
        let work = async {
            while self.talk.events.iter().filter(|event| is_truncation(event)).count() < truncations {
                let notice = self.call.next().await;
                self.take(notice)?;
            }
            Ok(())
        };
        timeout(PATIENCE, work).await.context("in vain")?
    }

    /// Waits for the answer to the last question and says when it began.
    async fn answer(&mut self) -> anyhow::Result<Instant> {
        let asked = self.talk.questions.last().context("nothing was asked")?;
        let since = asked.last_word_at.context("the question is silent")?;
        let heard = self.call.heard();
        let work = async {
            let mut onset = std::pin::pin!(heard.wait_for_onset(since));
            loop {
                tokio::select! {
                    at = &mut onset => return Ok(at),
                    notice = self.call.next() => self.take(notice)?,
                }
            }
        };
        timeout(PATIENCE, work).await.context("in vain")?
    }

    async fn listen_until(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => return Ok(()),
                notice = self.call.next() => self.take(notice)?,
            }
        }
    }

    fn take(&mut self, notice: Option<CallNotice>) -> anyhow::Result<()> {
        match notice {
            Some(CallNotice::Event(event)) if event.kind() == "error" => {
                bail!("the gateway says {}", event.json)
            }
            Some(CallNotice::Event(event)) if is_speech(&event) || is_truncation(&event) => {
                self.talk.events.push(event);
            }
            Some(CallNotice::Event(_) | CallNotice::Turn(_)) => {}
            Some(CallNotice::Ended(reason)) => bail!("the call ended: {reason}"),
            None => bail!("the call ended"),
        }
        Ok(())
    }
}

/// Whether the gateway tells that the caller began to speak.
#[must_use]
pub fn is_speech(event: &ServerEvent) -> bool {
    event.kind() == "input_audio_buffer.speech_started"
}

/// Whether the gateway tells how much of an answer was heard.
#[must_use]
pub fn is_truncation(event: &ServerEvent) -> bool {
    event.kind() == "conversation.item.truncated"
}
