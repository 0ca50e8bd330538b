//! The ONNX file: what it must take and give, and running it.
//!
//! The file is the operator's and as trusted as the configuration: the runtime keeps memory safe whatever is in it, but
//! bounds neither time nor memory of a run. Nothing a caller sends reaches its parser.

use std::fmt;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rten::{DataType, Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueType};
use voxgate_media::resample::Resampler;
use voxgate_media::turn::{LOG_MEL_BANDS, LOG_MEL_HOP, LOG_MEL_RATE, LogMel, TurnListener};
use voxgate_protocol::audio::{Pcm, SampleCount, SampleRate};

use super::outline::has_graph;

/// The largest file: thirty times the usual, and less than a machine has memory.
const LARGEST_FILE: u64 = 512 * 1024 * 1024;

/// The rate models hear at.
const RATE: SampleRate = LOG_MEL_RATE;

/// Samples a model may hear at once: below a second there is no sentence in it, above half a minute no caller waits for it.
const WINDOWS: std::ops::RangeInclusive<usize> = 16_000..=480_000;

/// Samples a model hears whose file leaves the length open: 8 s, as those of the Smart Turn family.
const USUAL_WINDOW: usize = 128_000;

/// What a model must take.
const INPUTS: &str = "it must take one input of 32-bit floats, either a log-mel spectrogram [1, 80, frames] of 10 ms frames \
    or samples [1, samples] at 16 kHz, of 1 s to 30 s";

/// Why a file is no model for the end of turns.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path} is larger than 512 MiB", path = .0.display())]
    TooLarge(PathBuf),
    /// The runtime does not understand it.
    #[error("{path} is no ONNX model in one file that can be run here: {reason}", path = .path.display())]
    NotAModel {
        /// Which file.
        path: PathBuf,
        /// What the runtime says.
        reason: String,
    },
    /// It takes something else.
    #[error("{path} does not fit: {INPUTS}; it takes {found}", path = .path.display())]
    Inputs {
        /// Which file.
        path: PathBuf,
        /// Its inputs.
        found: String,
    },
    /// It gives something else.
    #[error("{path} does not fit: it must give one probability from 0 to 1 that the turn is over; to silence it gives {found}", path = .path.display())]
    Output {
        /// Which file.
        path: PathBuf,
        /// What came of a first run.
        found: String,
    },
}

/// What a model hears.
#[derive(Debug)]
enum Heard {
    Spectrogram(LogMel),
    /// So many samples, from -1 to 1.
    Samples(usize),
}

/// A model that is ready to run.
pub(crate) struct TurnModel {
    model: Model,
    input: NodeId,
    output: NodeId,
    heard: Heard,
    threads: Arc<ThreadPool>,
}

impl fmt::Debug for TurnModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnModel").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl TurnModel {
    /// Reads a file, checks what it takes, and runs it once on silence. Each run may use so many threads.
    ///
    /// # Errors
    /// [`ModelError`], a sentence for the operator.
    pub(crate) fn load(path: &Path, threads: usize) -> Result<Self, ModelError> {
        let bytes = read(path)?;
        let not_a_model = |reason: String| ModelError::NotAModel { path: path.to_owned(), reason };
        if !has_graph(&bytes) {
            return Err(not_a_model("it is something else, or not whole".to_owned()));
        }
        let parsed = catch_unwind(|| ModelOptions::with_all_ops().load(bytes));
        let model = parsed
            .map_err(|_| not_a_model("the runtime panicked".to_owned()))?
            .map_err(|error| not_a_model(error.to_string()))?;
        let wrong_inputs = || ModelError::Inputs { path: path.to_owned(), found: describe_inputs(&model) };
        let (&[input], &[output, ..]) = (model.input_ids(), model.output_ids()) else {
            return Err(wrong_inputs());
        };
        let info = model.node_info(input).ok_or_else(wrong_inputs)?;
        let is_float = info.dtype() == Some(ValueType::Tensor(DataType::Float));
        let shape = info.shape().filter(|_| is_float);
        let heard = shape.and_then(|shape| heard(&shape)).ok_or_else(wrong_inputs)?;
        let threads = Arc::new(ThreadPool::with_num_threads(threads));
        let ready = Self { model, input, output, heard, threads };
        let silence = Pcm { rate: RATE, samples: Vec::new() };
        match ready.run(&silence) {
            Ok(_) => Ok(ready),
            Err(found) => Err(ModelError::Output { path: path.to_owned(), found }),
        }
    }

    /// The most it hears.
    pub(crate) fn window(&self) -> Duration {
        let samples = match &self.heard {
            Heard::Spectrogram(log_mel) => log_mel.samples(),
            Heard::Samples(samples) => *samples,
        };
        SampleCount(samples as u64).duration_at(RATE)
    }

    /// The probability, or what came instead.
    fn run(&self, speech: &Pcm) -> Result<f32, String> {
        let speech = at_model_rate(speech).ok_or("audio of a rate that does not convert to 16 kHz")?;
        let (shape, figures) = match &self.heard {
            Heard::Spectrogram(log_mel) => {
                let frames = log_mel.samples() / LOG_MEL_HOP;
                (vec![1, LOG_MEL_BANDS, frames], log_mel.spectrogram(&speech))
            }
            Heard::Samples(count) => (vec![1, *count], last(&speech, *count)),
        };
        let input = Value::from_shape(shape, figures).map_err(|error| error.to_string())?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        let ran = catch_unwind(AssertUnwindSafe(|| {
            self.model.run(vec![(self.input, input.into())], &[self.output], Some(options))
        }));
        let outputs = ran.map_err(|_| "a panic".to_owned())?.map_err(|error| error.to_string())?;
        probability(outputs.into_iter().next())
    }
}

impl TurnListener for TurnModel {
    fn estimate(&self, speech: &Pcm) -> Option<f32> {
        self.run(speech).ok()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let unreadable = |source| ModelError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ModelError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// What an input of this shape hears, if a model of the end of turns may take it.
fn heard(shape: &[Dimension]) -> Option<Heard> {
    let fixed = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Symbolic(_) => None,
    };
    let (batch, samples, make): (_, _, fn(usize) -> Heard) = match shape {
        [batch, bands, frames] if fixed(bands) == Some(LOG_MEL_BANDS) => {
            let samples =
                fixed(frames).map_or(Some(USUAL_WINDOW), |frames| frames.checked_mul(LOG_MEL_HOP))?;
            (batch, samples, |samples| Heard::Spectrogram(LogMel::new(samples / LOG_MEL_HOP)))
        }
        [batch, samples] => (batch, fixed(samples).unwrap_or(USUAL_WINDOW), Heard::Samples),
        _ => return None,
    };
    let is_one = fixed(batch).is_none_or(|size| size == 1);
    (is_one && WINDOWS.contains(&samples)).then(|| make(samples))
}

fn describe_inputs(model: &Model) -> String {
    let inputs = model.input_ids().iter().filter_map(|id| model.node_info(*id)).map(|input| {
        let name = input.name().unwrap_or("?");
        let shape = input.shape().map_or_else(|| "any shape".to_owned(), |shape| format!("{shape:?}"));
        let kind = input.dtype().map_or_else(|| "any type".to_owned(), |kind| format!("{kind:?}"));
        format!("{name}: {kind} {shape}")
    });
    let inputs: Vec<String> = inputs.take(8).collect();
    if inputs.is_empty() { "nothing".to_owned() } else { inputs.join(", ") }
}

fn at_model_rate(speech: &Pcm) -> Option<Vec<i16>> {
    let mut resampler = Resampler::new(speech.rate, RATE).ok()?;
    let mut samples = resampler.push(&speech.samples);
    samples.extend(resampler.flush());
    let delay = RATE.samples_in(resampler.delay()).0 as usize;
    Some(samples.split_off(delay.min(samples.len())))
}

/// The last samples from -1 to 1, with silence in front if there are fewer.
fn last(speech: &[i16], count: usize) -> Vec<f32> {
    let heard = &speech[speech.len().saturating_sub(count)..];
    let silence = std::iter::repeat_n(0.0, count - heard.len());
    silence.chain(heard.iter().map(|sample| f32::from(*sample) / 32_768.0)).collect()
}

fn probability(output: Option<Value>) -> Result<f32, String> {
    let Some(Value::FloatTensor(tensor)) = output else {
        return Err("no 32-bit floats".to_owned());
    };
    let figures = tensor.into_data();
    match figures.as_slice() {
        [figure] if (0.0..=1.0).contains(figure) => Ok(*figure),
        [figure] => Err(format!("{figure}")),
        figures => Err(format!("{} figures", figures.len())),
    }
}

#[cfg(test)]
mod tests;
