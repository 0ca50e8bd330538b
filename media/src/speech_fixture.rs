//! A spoken sentence for tests, made with a speech synthesiser: "Hello there. I would like to book a table for two."

use voxgate_protocol::audio::{Pcm, SampleRate};

use crate::resample::Resampler;

/// The sentence, about 3.2 s, at a rate.
pub(crate) fn speech_at(rate: SampleRate) -> Pcm {
    let bytes: &[u8] = include_bytes!("../tests/data/speech-16khz.wav");
    let mut reader = hound::WavReader::new(bytes).unwrap();
    assert_eq!(reader.spec().sample_rate, 16_000);
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    let mut resampler = Resampler::new(SampleRate::HZ_16000, rate).unwrap();
    let mut output = resampler.push(&samples);
    output.extend(resampler.flush());
    Pcm { rate, samples: output }
}
