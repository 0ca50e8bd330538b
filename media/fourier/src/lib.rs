//! Whatever needs a fast Fourier transform: other sample rates, and spectra.
//!
//! The transforms of `rustfft` are generic, so a compiler makes hundreds of them anew in every crate that names one. Here they are
//! made once: what this crate offers is generic in nothing.
pub mod recording;
pub mod resample;
pub mod spectrum;
