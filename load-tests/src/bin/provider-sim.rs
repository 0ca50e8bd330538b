//! A simulated speech provider on a port of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use voxgate_load_tests::provider_sim::{AnswerAudio, ProviderSim, SimConfig, SimFault};

/// Speaks the OpenAI Realtime API over WebSockets at /v1/realtime, without a model behind it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// Refuse every other bearer token with 401.
    #[arg(long, env = "PROVIDER_SIM_KEY", hide_env_values = true)]
    required_key: Option<String>,
    /// What the simulator claims to have heard; without it, it says how long and loud the turn was.
    #[arg(long)]
    transcript: Option<String>,
    /// What it answers; {n} becomes the number of the response, {session} that of the session, {context} all it knows.
    #[arg(long)]
    answer_text: Option<String>,
    /// A mono 16-bit WAV file at 24 kHz as answer, instead of tones.
    #[arg(long)]
    answer_wav: Option<PathBuf>,
    /// Length of the tones, in milliseconds.
    #[arg(long, default_value_t = 3_000)]
    answer_ms: u64,
    /// Begin each answer with a tone whose pitch tells its number.
    #[arg(long)]
    marked: bool,
    /// From the end of a turn to its transcript, in milliseconds.
    #[arg(long, default_value_t = 50)]
    recognition_delay_ms: u64,
    /// From the start of a response to its first audio, in milliseconds.
    #[arg(long, default_value_t = 200)]
    model_delay_ms: u64,
    /// How many times faster than real time audio is sent.
    #[arg(long, default_value_t = 8.0)]
    speed: f64,
    /// End sessions after this many seconds.
    #[arg(long)]
    session_limit_s: Option<u64>,
    /// The response that a fault strikes, counted from 1 in each session.
    #[arg(long, default_value_t = 1)]
    fault_at: u32,
    #[command(flatten)]
    fault: Fault,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Fault {
    /// Refuse WebSocket requests with this HTTP status.
    #[arg(long)]
    refuse: Option<u16>,
    /// Fall silent after this much of the answer, in milliseconds.
    #[arg(long)]
    stall_after_ms: Option<u64>,
    /// Close the connection after this much of the answer, in milliseconds.
    #[arg(long)]
    close_after_ms: Option<u64>,
    /// Send an error event with this code instead of an answer.
    #[arg(long)]
    error_at_response: Option<String>,
    /// End the response as failed with this code.
    #[arg(long)]
    fail_response: Option<String>,
}

impl Fault {
    fn into_fault(self) -> Option<SimFault> {
        let message = || "A configured failure of the simulator.".to_owned();
        let Self { refuse, stall_after_ms, close_after_ms, error_at_response, fail_response } = self;
        refuse
            .map(SimFault::RefuseUpgrade)
            .or_else(|| stall_after_ms.map(|ms| SimFault::StallAfter(Duration::from_millis(ms))))
            .or_else(|| close_after_ms.map(|ms| SimFault::CloseAfter(Duration::from_millis(ms))))
            .or_else(|| error_at_response.map(|code| SimFault::ErrorAtResponse { code, message: message() }))
            .or_else(|| fail_response.map(|code| SimFault::FailResponse { code, message: message() }))
    }
}

impl Arguments {
    fn into_config(self) -> anyhow::Result<SimConfig> {
        anyhow::ensure!(self.speed > 0.0, "--speed must be greater than zero");
        let answer = match &self.answer_wav {
            Some(path) => AnswerAudio::from_wav(path)?,
            None => AnswerAudio::Tones { length: Duration::from_millis(self.answer_ms), marked: self.marked },
        };
        let usual = SimConfig::default();
        Ok(SimConfig {
            listen: self.listen,
            required_key: self.required_key,
            transcript: self.transcript,
            recognition_delay: Duration::from_millis(self.recognition_delay_ms),
            model_delay: Duration::from_millis(self.model_delay_ms),
            speed: self.speed,
            answer,
            answer_text: self.answer_text.unwrap_or(usual.answer_text),
            fault: self.fault.into_fault(),
            fault_at: self.fault_at,
            session_limit: self.session_limit_s.map(Duration::from_secs),
            ..SimConfig::default()
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let simulator = ProviderSim::spawn(Arguments::parse().into_config()?).await?;
    tracing::info!(base_url = %simulator.base_url(), "the simulated provider listens");
    tokio::signal::ctrl_c().await?;
    simulator.shutdown().await;
    Ok(())
}
