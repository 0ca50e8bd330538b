//! How late the machine is with the beginning and the end of speech, and how often it is wrong.
//!
//! Recordings whose sound is known to 5 ms go through detector and machine in packets of 20 ms, in several noises; as late as
//! the last packet that was needed is the decision. Without levels the machine has the detector alone: that is what
//! the levels are compared with.

use std::path::Path;

use voxgate_protocol::settings::ServerVad;

use super::noise::{Noise, disturbances};
use super::*;
use crate::voice::VoiceActivity;

const RATE: SampleRate = SampleRate::HZ_16000;
const PACKET: usize = 320;
const WINDOW: usize = 80;
const WINDOW_MS: f64 = 5.0;

/// Silence before and after each recording.
const LEAD: usize = 16_000;
const TAIL: usize = 40_000;

/// The level voices are brought to, in dB relative to full scale, and what is taken for audible in them.
const VOICE_DBFS: f32 = -26.0;
const AUDIBLE_DBFS: f32 = -46.0;
const FAINT_DBFS: f32 = -56.0;

struct Recording {
    name: String,
    samples: Vec<f32>,
    /// The level of each 5 ms.
    levels: Vec<f32>,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let mut reader = hound::WavReader::open(path).unwrap();
        assert_eq!(reader.spec().sample_rate, RATE.hz());
        let samples: Vec<f32> = reader.samples::<i16>().map(|sample| f32::from(sample.unwrap())).collect();
        let heard = levels(&samples);
        let loudest = heard.iter().copied().fold(SILENCE, f32::max);
        let active: Vec<f32> = heard.into_iter().filter(|level| *level > loudest - 30.0).collect();
        let power = active.iter().map(|level| 10_f32.powf(level / 10.0)).sum::<f32>() / active.len() as f32;
        let gain = 10_f32.powf((VOICE_DBFS - 10.0 * power.log10()) / 20.0);
        let mut whole = vec![0.0; LEAD];
        whole.extend(samples.iter().map(|sample| sample * gain));
        whole.extend([0.0; TAIL]);
        let levels = levels(&whole);
        Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), samples: whole, levels }
    }

    /// Milliseconds at which the first sound above a level begins and the last one before a time ends.
    fn sounds(&self, above: f32, before: f64) -> (f64, f64) {
        let windows = || (0..).zip(&self.levels).filter(|(_, level)| **level > above);
        let first = windows().next().unwrap().0;
        let last = windows().filter(|(index, _)| f64::from(*index) * WINDOW_MS < before).last();
        (f64::from(first) * WINDOW_MS, f64::from(last.map_or(first, |(index, _)| index) + 1) * WINDOW_MS)
    }
}

const SILENCE: f32 = -120.0;

/// The level of each 5 ms without hum and rumble: recordings of people have some.
fn levels(samples: &[f32]) -> Vec<f32> {
    let (mut before, mut filtered) = (0.0, 0.0);
    let sound: Vec<f32> = samples
        .iter()
        .map(|sample| {
            filtered = sample - before + 0.94 * filtered;
            before = *sample;
            filtered / 32_768.0
        })
        .collect();
    let power = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>() / WINDOW as f32;
    sound.chunks_exact(WINDOW).map(|window| (10.0 * power(window).log10()).max(SILENCE)).collect()
}

fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/turns");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    paths.sort();
    paths.iter().map(|path| Recording::read(path)).collect()
}

/// What the machine decides with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ears {
    Detector,
    DetectorAndLevels,
}

/// The detector's verdicts, each with the end of the packet that completed it.
fn verdicts(samples: &[f32]) -> Vec<(f64, VoiceFrame)> {
    let mut voice = VoiceActivity::new(RATE).unwrap();
    let mut verdicts = Vec::new();
    for (packet, samples) in samples.chunks_exact(PACKET).enumerate() {
        let samples: Vec<i16> = samples.iter().map(|sample| sample.round() as i16).collect();
        let at = (packet + 1) as f64 * 20.0;
        verdicts.extend(voice.push(&samples).into_iter().map(|frame| (at, frame)));
    }
    verdicts
}

/// Milliseconds at which the machine decided that speech began, and that it ended.
fn decisions(verdicts: &[(f64, VoiceFrame)], ears: Ears, pause: Duration) -> (Vec<f64>, Vec<f64>) {
    let vad = ServerVad { silence: pause, ..ServerVad::default() };
    let mut machine = TurnMachine::new(&TurnDetection::ServerVad(vad), RATE);
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for (at, frame) in verdicts {
        let halves = if ears == Ears::Detector { [0.0; 2] } else { frame.halves };
        machine.push(VoiceFrame { halves, ..*frame });
        while let Some(event) = machine.poll_event() {
            match event {
                TurnEvent::SpeechStarted { .. } => starts.push(*at),
                TurnEvent::SpeechStopped { .. } => stops.push(*at),
                TurnEvent::Paused { .. } | TurnEvent::IdleTimeout { .. } => {}
            }
        }
    }
    (starts, stops)
}

/// What was measured in one noise.
#[derive(Debug, Default)]
struct Figures {
    /// Milliseconds from the first sound to the decision.
    starts: Vec<f64>,
    /// Milliseconds from the last sound to the decision, less the pause.
    ends: Vec<f64>,
    /// The same from the last faint sound.
    faint_ends: Vec<f64>,
    /// Turns that ended before the caller had been silent for the pause.
    false_ends: usize,
    false_starts: usize,
    /// Recordings without a turn.
    unheard: usize,
    minutes: f64,
}

impl Figures {
    fn of(recordings: &[Recording], noise: Noise, ears: Ears, pause: Duration) -> Self {
        let mut figures = Self::default();
        for recording in recordings {
            let samples = noise.over(&recording.samples);
            figures.minutes += samples.len() as f64 / f64::from(RATE.hz()) / 60.0;
            let (starts, stops) = decisions(&verdicts(&samples), ears, pause);
            figures.take(recording, &starts, &stops, pause.as_secs_f64() * 1_000.0);
        }
        figures
    }

    fn take(&mut self, recording: &Recording, starts: &[f64], stops: &[f64], pause: f64) {
        let (first, last) = recording.sounds(AUDIBLE_DBFS, f64::MAX);
        let begins: Vec<f64> =
            starts.iter().copied().filter(|at| (first..last + 200.0).contains(at)).collect();
        self.false_starts += starts.len() - begins.len();
        match begins.first() {
            Some(at) => self.starts.push(at - first),
            None => self.unheard += 1,
        }
        for stop in stops {
            let silent = stop - recording.sounds(AUDIBLE_DBFS, *stop).1;
            if *stop < last && silent < pause {
                self.false_ends += 1;
                println!("false end: {} {stop} after {silent}", recording.name);
            }
        }
        if let Some(stop) = stops.iter().find(|stop| **stop >= last) {
            self.ends.push(stop - last - pause);
            self.faint_ends.push(stop - recording.sounds(FAINT_DBFS, *stop).1 - pause);
        }
    }
}

/// The nearest rank.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn print(name: &str, figures: &Figures) {
    let at = |values: &[f64]| {
        format!(
            "{:>4.0} {:>4.0} {:>4.0}",
            quantile(values, 0.0),
            quantile(values, 0.5),
            quantile(values, 0.99)
        )
    };
    println!(
        "{name:34} {} | {} | {} | {:>5} {:>6.2} {:>6.2} {:>3}",
        at(&figures.starts),
        at(&figures.ends),
        at(&figures.faint_ends),
        figures.false_ends,
        figures.false_ends as f64 / figures.minutes,
        figures.false_starts as f64 / figures.minutes,
        figures.unheard,
    );
}

/// Noises, and whether they are so far below the voice that its end is heard.
const NOISES: [(&str, Noise, bool); 6] = [
    ("no noise", Noise::None, true),
    ("hiss, -70 dBFS", Noise::White(-70.0), true),
    ("a quiet room, -60 dBFS", Noise::Pink(-60.0), true),
    ("an office, -52 dBFS", Noise::Pink(-52.0), false),
    ("a loud room, -46 dBFS", Noise::Pink(-46.0), false),
    ("a car, -38 dBFS", Noise::Pink(-38.0), false),
];

/// Prints the figures; `cargo nextest run -p voxgate-media --no-capture lateness`.
#[test]
fn the_end_of_speech_is_decided_soon_after_the_pause_and_words_are_not_cut() {
    let recordings = recordings();
    println!(
        "{:34} {:14} | {:14} | {:14} | false ends   starts lost\n{:34} {}",
        "least, p50, p99 in ms", "start", "end -46 dBFS", "end -56 dBFS", "", "per minute"
    );
    for pause in [200, 300, 500].map(Duration::from_millis) {
        for (name, noise, is_quiet) in NOISES {
            let before = Figures::of(&recordings, noise, Ears::Detector, pause);
            let now = Figures::of(&recordings, noise, Ears::DetectorAndLevels, pause);
            print(&format!("{name}, {pause:?}, detector"), &before);
            print(&format!("{name}, {pause:?}, levels"), &now);
            let what = format!("{name}, {pause:?}");
            assert!(now.false_ends <= before.false_ends && now.unheard == 0, "{what}: {now:?}");
            assert!(quantile(&now.ends, 0.5) <= quantile(&before.ends, 0.5), "{what}: {now:?}");
            assert!(mean(&now.starts) <= mean(&before.starts), "{what}: {now:?}");
            if is_quiet {
                assert!(quantile(&now.ends, 0.5) <= 60.0, "{what}: {now:?}");
                assert!(quantile(&now.faint_ends, 0.99) <= 60.0, "{what}: {now:?}");
            }
        }
    }
}

/// Clicks, knocks, keys, tones and breath, two minutes of each, with pauses that separate turns.
#[test]
fn noises_begin_hardly_more_turns_with_levels_than_without() {
    let (mut before, mut now) = (0, 0);
    for (name, samples) in disturbances() {
        let verdicts = verdicts(&samples);
        let [alone, levels] = [Ears::Detector, Ears::DetectorAndLevels]
            .map(|ears| decisions(&verdicts, ears, Duration::from_millis(500)).0.len());
        println!("{name:8} detector {alone:>3}, levels {levels:>3}");
        before += alone;
        now += levels;
    }
    assert!(now * 100 <= before * 105, "{before} before, {now} now");
}
