//! The behaviour of `voxgate call`: one question, its answer, and what it took.

mod output;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::answer::{AnswerState, AnswerWatch};
use crate::call::{Call, CallOptions, Playing};
use crate::channels::CallNotice;
use crate::error::CallError;
use crate::mouth::Spoken;
use crate::picture;
use crate::speech::Speech;
use crate::turn::TurnMeasured;

use output::{Output, Progress};

/// The first event of every session.
const SESSION_CREATED: &str = "session.created";

/// How long the last sounds may be on their way after the gateway said that it sent them all.
const LAST_SOUNDS: Duration = Duration::from_millis(200);

/// How long the measured turn may come after the answer.
const TURN_MAY_COME: Duration = Duration::from_millis(1_500);

/// How often a wait is looked at, for the progress line.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What to ask and what to show.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Whom to call and how.
    pub call: CallOptions,
    /// The question: a WAV file; see [`Speech::read_wav`].
    pub wav: PathBuf,
    /// Where the answer goes as a WAV file, if anywhere.
    pub save: Option<PathBuf>,
    /// Where the waterfall of the answered turn goes as a picture (SVG), if anywhere.
    pub picture: Option<PathBuf>,
    /// Whether to show every event, one JSON object to a line.
    pub events: bool,
    /// Whether the result is one JSON object instead of text.
    pub json: bool,
    /// How long to keep listening after the answer is complete.
    pub keep_open: Duration,
    /// The limit from the end of the question to the end of the answer; also for the session to begin.
    pub answer_timeout: Duration,
}

impl RunOptions {
    /// Options with the defaults: nothing saved, text, no events, 60 s for the answer.
    #[must_use]
    pub fn new(call: CallOptions, wav: impl Into<PathBuf>) -> Self {
        Self {
            call,
            wav: wav.into(),
            save: None,
            picture: None,
            events: false,
            json: false,
            keep_open: Duration::ZERO,
            answer_timeout: Duration::from_secs(60),
        }
    }
}

/// What a finished run can tell.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The name of the call at the gateway.
    pub call_id: Option<String>,
    /// Milliseconds from dialling to each step that was reached, in order.
    pub steps_ms: Vec<(&'static str, f64)>,
    /// From the last word of the question to the first sound of the answer on the caller's own clock, in
    /// milliseconds; nothing if the answer made no sound.
    pub mouth_to_ear_ms: Option<f64>,
    /// What the gateway measured.
    pub turns: Vec<TurnMeasured>,
    /// Seconds of recorded sound, gaps included.
    pub heard_seconds: f64,
    /// Audio packets that never came in time.
    pub packets_lost: u64,
}

/// Makes the call: waits for the session, says the file, waits until the answer is complete and was heard, shows
/// transcripts, events and the waterfall on `out`, saves the recording and the picture and hangs up.
///
/// `progress` gets a line for every wait longer than two seconds. A recording is saved even if the answer fails.
///
/// # Errors
/// Every variant of [`CallError`]; [`CallError::exit_status`] is the status to leave the process with.
pub async fn run(
    options: RunOptions,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn Write + Send),
) -> Result<RunSummary, CallError> {
    let unplayable = |reason| CallError::Wav { path: options.wav.clone(), reason };
    let question = Speech::read_wav(&options.wav).map_err(unplayable)?;
    let mut output = Output::new(out, options.json, options.events);
    let mut progress = Progress::new(progress);
    let call = progress.while_waiting("connecting", Call::connect(options.call.clone())).await?;
    let mut conversation = Conversation::new(call, &options);
    let result = Box::pin(conversation.hold(question, &mut output, &mut progress)).await;
    let (saved, drawn) = (conversation.save(), conversation.draw());
    let summary = conversation.summary();
    output.turns(&summary.turns, conversation.mouth_to_ear())?;
    // The question was answered or not; a hang-up that fails changes nothing about that.
    if let Err(error) = conversation.call.hang_up().await {
        tracing::debug!(%error, "the hang-up was not confirmed");
    }
    result.and(saved).and(drawn)?;
    output.summary(&summary)?;
    Ok(summary)
}

/// One question and its answer.
struct Conversation<'a> {
    call: Call,
    options: &'a RunOptions,
    watch: AnswerWatch,
    last_event: String,
    question: Option<Spoken>,
    turns: Vec<TurnMeasured>,
}

impl<'a> Conversation<'a> {
    fn new(call: Call, options: &'a RunOptions) -> Self {
        let last_event = "none".to_owned();
        Self { call, options, watch: AnswerWatch::default(), last_event, question: None, turns: Vec::new() }
    }

    async fn hold(
        &mut self,
        question: Speech,
        output: &mut Output<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), CallError> {
        progress.begin("waiting for the session");
        let limit = Instant::now() + self.options.answer_timeout;
        self.listen_until(limit, output, progress, |this| this.last_event == SESSION_CREATED).await?;
        progress.begin("asking the question");
        let playing = self.call.play(question);
        self.listen_while_asking(playing, output, progress).await?;
        progress.begin("waiting for the answer");
        let limit = Instant::now() + self.options.answer_timeout;
        self.listen_until(limit, output, progress, Self::is_answered).await?;
        if let AnswerState::Failed(message) = self.watch.state(Instant::now()) {
            return Err(CallError::AnswerFailed { message });
        }
        progress.begin("listening to the end");
        self.listen_for(LAST_SOUNDS.max(self.options.keep_open), output, progress).await?;
        if self.options.call.voxgate_channel && self.turns.is_empty() {
            let limit = Instant::now() + TURN_MAY_COME;
            let turn = self.listen_until(limit, output, progress, |this| !this.turns.is_empty()).await;
            // Gateways other than voxgate measure no turns.
            ignore_missing_answer(turn)?;
        }
        Ok(())
    }

    async fn listen_while_asking(
        &mut self,
        mut playing: Playing,
        output: &mut Output<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), CallError> {
        loop {
            let notice = tokio::select! {
                spoken = &mut playing => {
                    let spoken = spoken.ok_or_else(|| CallError::Ended { reason: "the microphone stopped".to_owned() })?;
                    self.watch.question_ended(spoken.last_word_at.unwrap_or(spoken.finished_at));
                    self.question = Some(spoken);
                    return Ok(());
                }
                notice = tokio::time::timeout(LOOK_INTERVAL, self.call.next()) => notice,
            };
            self.take(notice, output, progress)?;
        }
    }

    /// Listens until something is so; [`CallError::NoAnswer`] at the limit.
    async fn listen_until(
        &mut self,
        limit: Instant,
        output: &mut Output<'_>,
        progress: &mut Progress<'_>,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), CallError> {
        let started = Instant::now();
        loop {
            if is_so(self) {
                return Ok(());
            }
            let now = Instant::now();
            if now >= limit {
                let last_event = self.last_event.clone();
                return Err(CallError::NoAnswer { waited: now - started, last_event });
            }
            let next_look =
                [Some(now + LOOK_INTERVAL), Some(limit), self.watch.deadline().filter(|at| *at > now)];
            let next_look = next_look.into_iter().flatten().min().unwrap_or(limit);
            let notice = tokio::time::timeout_at(next_look.into(), self.call.next()).await;
            self.take(notice, output, progress)?;
        }
    }

    async fn listen_for(
        &mut self,
        duration: Duration,
        output: &mut Output<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), CallError> {
        let limit = Instant::now() + duration;
        ignore_missing_answer(self.listen_until(limit, output, progress, |_| false).await)
    }

    /// Takes a notice, or nothing if none came in time.
    fn take(
        &mut self,
        notice: Result<Option<CallNotice>, tokio::time::error::Elapsed>,
        output: &mut Output<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), CallError> {
        progress.look()?;
        let Ok(notice) = notice else { return Ok(()) };
        match notice {
            Some(CallNotice::Event(event)) => {
                event.kind().clone_into(&mut self.last_event);
                self.watch.handle(&event.json, event.received_at);
                output.event(&event.json)?;
                if let Some(reason) = fatal_error(&event.json) {
                    return Err(CallError::Ended { reason });
                }
            }
            Some(CallNotice::Turn(turn)) => self.turns.push(turn),
            Some(CallNotice::Ended(reason)) => return Err(CallError::Ended { reason }),
            None => return Err(CallError::Ended { reason: "the call is over".to_owned() }),
        }
        Ok(())
    }

    fn is_answered(&self) -> bool {
        self.watch.state(Instant::now()) != AnswerState::Open
    }

    /// The answer's first sound: an onset, or, if the answer came without a pause after other sound, any sound.
    fn mouth_to_ear(&self) -> Option<Duration> {
        let last_word_at = self.question?.last_word_at?;
        let heard = self.call.heard();
        let ear = heard
            .onset_after(last_word_at)
            .or_else(|| heard.with(|recording| recording.first_audible_after(last_word_at)))?;
        Some(ear.saturating_duration_since(last_word_at))
    }

    fn draw(&self) -> Result<(), CallError> {
        let (Some(path), Some(turn)) = (&self.options.picture, self.turns.last()) else { return Ok(()) };
        let unwritable =
            |error: std::io::Error| CallError::Save { path: path.clone(), reason: error.to_string() };
        std::fs::write(path, picture::svg(turn, self.mouth_to_ear())).map_err(unwritable)
    }

    fn save(&self) -> Result<(), CallError> {
        let Some(path) = &self.options.save else { return Ok(()) };
        let unwritable = |reason: String| CallError::Save { path: path.clone(), reason };
        let file = std::fs::File::create(path).map_err(|error| unwritable(error.to_string()))?;
        let recording = self.call.heard().recording();
        recording.write_wav(std::io::BufWriter::new(file)).map_err(|error| unwritable(error.to_string()))
    }

    fn summary(&self) -> RunSummary {
        let steps = self.call.timings();
        let recording = self.call.heard();
        RunSummary {
            call_id: self.call.id().map(str::to_owned),
            steps_ms: steps.reached().map(|(step, after)| (step.as_str(), milliseconds(after))).collect(),
            mouth_to_ear_ms: self.mouth_to_ear().map(milliseconds),
            turns: self.turns.clone(),
            heard_seconds: recording.with(|recording| recording.duration().as_secs_f64()),
            packets_lost: recording.with(|recording| recording.lost),
        }
    }
}

/// An `error` after which the session does not go on.
fn fatal_error(event: &Value) -> Option<String> {
    let error = (event["type"] == "error").then(|| &event["error"])?;
    let code = error["code"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or(code);
    matches!(code, "session_expired" | "insufficient_quota").then(|| message.to_owned())
}

fn ignore_missing_answer(result: Result<(), CallError>) -> Result<(), CallError> {
    match result {
        Err(CallError::NoAnswer { .. }) => Ok(()),
        other => other,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    // Tenths of microseconds say nothing and make the JSON unreadable.
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
