//! Another sample rate for what is whole already, such as a file.

use rubato::audioadapter_buffers::SizeError;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, ResampleError, Resampler as _, ResamplerConstructionError};
use thiserror::Error;
use voxgate_protocol::audio::SampleRate;

/// Input samples per block: long ones filter well, and a whole recording has no delay to keep small.
const BLOCK: usize = 1_024;

/// Why a recording keeps its rate.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// No ratio between the two rates, such as from 0 Hz.
    #[error(transparent)]
    Rates(#[from] ResamplerConstructionError),
    /// Too long for this machine.
    #[error(transparent)]
    Length(#[from] SizeError),
    /// The samples were refused.
    #[error(transparent)]
    Samples(#[from] ResampleError),
}

/// Converts one mono recording with `from_hz` samples per second, without delay.
///
/// # Errors
/// Every variant of [`RecordingError`].
pub fn convert(mono: &[f32], from_hz: u32, to: SampleRate) -> Result<Vec<f32>, RecordingError> {
    if from_hz == to.hz() {
        return Ok(mono.to_vec());
    }
    let mut fft = Fft::<f32>::new(from_hz as usize, to.hz() as usize, BLOCK, 1, FixedSync::Input)?;
    let input = InterleavedSlice::new(mono, 1, mono.len())?;
    Ok(fft.process_all(&input, mono.len(), None)?.take_data())
}
