//! The course of the benchmark: one arrangement after the other, a call each.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use voxgate_caller::audible::first_audible;
use voxgate_caller::{SPEECH_RATE, Speech};

use super::figures::{Cycle, cycles};
use super::talk::talk;
use super::{ARRANGEMENTS, Arrangement, MODEL_DELAY, Options, configuration};
use crate::bench::gateway::{Gateway, free_udp_address};
use crate::provider_sim::{AnswerAudio, ProviderSim, SimConfig};

/// Longer than any answer is listened to.
const ANSWER: Duration = Duration::from_secs(12);

/// What was measured in one arrangement.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub arrangement: Arrangement,
    /// Every cycle, in order.
    pub cycles: Vec<Cycle>,
}

/// Runs all arrangements.
///
/// # Errors
/// The gateway cannot be started, a file is no speech, a call fails, or a cycle could not be measured. Slowness is no
/// error.
pub async fn run(options: &Options) -> anyhow::Result<Vec<Measured>> {
    let speech: Vec<Speech> = options
        .speech
        .iter()
        .map(|path| from_its_first_sound(path).with_context(|| path.display().to_string()))
        .collect::<Result<_, _>>()?;
    ensure!(!speech.is_empty(), "there is nothing to say");
    let answer = AnswerAudio::Tones { length: ANSWER, marked: false };
    let provider =
        ProviderSim::spawn(SimConfig { model_delay: MODEL_DELAY, answer, ..SimConfig::default() }).await?;
    let relay = free_udp_address()?;
    let gateway = Gateway::start(&options.gateway, &configuration(provider.addr()), relay, relay)?;
    let base_url = gateway.base_url();
    let mut measured = Vec::new();
    for arrangement in ARRANGEMENTS {
        say(&format!("{}: {} interruptions", arrangement.name, options.interruptions));
        let talked = Box::pin(talk(&base_url, arrangement, &speech, options.interruptions));
        let talked = talked.await.with_context(|| format!("{}\n{}", arrangement.name, gateway.log()))?;
        let cycles = cycles(&talked);
        ensure!(
            cycles.len() == options.interruptions,
            "{}: {} of {} interruptions could be measured",
            arrangement.name,
            cycles.len(),
            options.interruptions
        );
        measured.push(Measured { arrangement, cycles });
    }
    Ok(measured)
}

/// Speech that begins with its first audible sample, so that its start is the start of sound.
fn from_its_first_sound(path: &std::path::Path) -> anyhow::Result<Speech> {
    let speech = Speech::read_wav(path)?;
    let first = first_audible(speech.samples(), SPEECH_RATE).context("it is silent")?;
    Ok(Speech::from_samples(speech.samples()[first..].to_vec()))
}

/// A sign of life for the person who waits.
fn say(line: &str) {
    // A closed terminal does not end the benchmark.
    let _ = writeln!(std::io::stderr(), "{line}");
}
