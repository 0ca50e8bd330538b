//! Spectra of windows of samples.

use std::sync::Arc;

use realfft::RealFftPlanner;
pub use realfft::RealToComplex;
pub use realfft::num_complex::Complex;

/// The transform of a window of so many samples into half as many bins and one, not scaled. It may be shared; its own
/// functions make the buffers it works on.
#[must_use]
pub fn forward(window: usize) -> Arc<dyn RealToComplex<f32>> {
    RealFftPlanner::new().plan_fft_forward(window)
}
