//! Noise for measurements, the same every time.

use std::f32::consts::TAU;

const RATE: f32 = 16_000.0;

/// Numbers that look random (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn between(&mut self, least: f32, most: f32) -> f32 {
        least + self.unit() * (most - least)
    }

    /// Nearly normal, of variance one.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// What sounds around a caller. Levels in dB relative to full scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noise {
    None,
    White(f32),
    /// As loud in every octave, like rooms and cars.
    Pink(f32),
}

impl Noise {
    pub(super) fn over(self, samples: &[f32]) -> Vec<f32> {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (noise, level): (Vec<f32>, f32) = match self {
            Self::None => return samples.to_vec(),
            Self::White(level) => (samples.iter().map(|_| dice.normal()).collect(), level),
            Self::Pink(level) => (pink(&mut dice, samples.len()), level),
        };
        let power = noise.iter().map(|sample| sample * sample).sum::<f32>() / noise.len() as f32;
        let gain = 32_768.0 * 10_f32.powf(level / 20.0) / power.sqrt();
        samples
            .iter()
            .zip(noise)
            .map(|(sample, noise)| (sample + gain * noise).clamp(-32_768.0, 32_767.0))
            .collect()
    }
}

/// White noise through low passes an octave and more apart.
fn pink(dice: &mut Dice, length: usize) -> Vec<f32> {
    let mut rows = [0.0_f32; 6];
    let poles = [0.997_f32, 0.985, 0.95, 0.85, 0.55, 0.0];
    (0..length)
        .map(|_| {
            let white = dice.normal();
            for (row, pole) in rows.iter_mut().zip(poles) {
                *row = pole * *row + (1.0 - pole * pole).sqrt() * (1.0 - pole).sqrt() * white;
            }
            rows.iter().sum()
        })
        .collect()
}

/// Makes one disturbance.
type Maker = fn(&mut Dice) -> Vec<f32>;

/// Two minutes each of sounds that are no speech, and at least a second of quiet between them.
pub(super) fn disturbances() -> Vec<(&'static str, Vec<f32>)> {
    let makers: [(&str, Maker); 5] =
        [("clicks", click), ("knocks", knock), ("keys", key), ("tones", tone), ("breath", breath)];
    makers.map(|(name, make)| (name, minutes(make))).to_vec()
}

fn minutes(make: Maker) -> Vec<f32> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let length = 120.0 * RATE;
    let mut samples = vec![0.0; RATE as usize / 2];
    while (samples.len() as f32) < length {
        samples.extend(make(&mut dice));
        samples.resize(samples.len() + (dice.between(1.0, 1.6) * RATE) as usize, 0.0);
    }
    Noise::White(-65.0).over(&samples)
}

fn amplitude(dice: &mut Dice) -> f32 {
    32_768.0 * 10_f32.powf(dice.between(-40.0, -8.0) / 20.0)
}

fn click(dice: &mut Dice) -> Vec<f32> {
    let (length, amplitude) = (dice.between(0.002, 0.03) * RATE, 0.5 * amplitude(dice));
    (0..length as usize).map(|at| amplitude * dice.normal() * (-3.0 * at as f32 / length).exp()).collect()
}

fn knock(dice: &mut Dice) -> Vec<f32> {
    let (length, amplitude) = (dice.between(0.04, 0.15) * RATE, amplitude(dice));
    let (hz, ratio, damping) = (dice.between(90.0, 500.0), dice.between(1.5, 3.7), dice.between(30.0, 90.0));
    (0..length as usize)
        .map(|at| {
            let seconds = at as f32 / RATE;
            let tones = (TAU * hz * seconds).sin() + 0.4 * (TAU * hz * ratio * seconds).sin();
            amplitude * (-damping * seconds).exp() * (tones + 0.1 * dice.normal())
        })
        .collect()
}

fn key(dice: &mut Dice) -> Vec<f32> {
    let mut samples = click(dice);
    samples.resize(samples.len() + (dice.between(0.02, 0.06) * RATE) as usize, 0.0);
    samples.extend(knock(dice).iter().take(640).map(|sample| 0.5 * sample));
    samples
}

fn tone(dice: &mut Dice) -> Vec<f32> {
    let (length, hz, amplitude) =
        (dice.between(0.05, 0.5) * RATE, dice.between(200.0, 3_000.0), 0.7 * amplitude(dice));
    (0..length as usize).map(|at| amplitude * (TAU * hz * at as f32 / RATE).sin()).collect()
}

/// Noise around 1,500 Hz that swells and fades.
fn breath(dice: &mut Dice) -> Vec<f32> {
    let length = dice.between(0.15, 0.6) * RATE;
    let amplitude = 32_768.0 * 10_f32.powf(dice.between(-45.0, -25.0) / 20.0);
    let (mut low, mut band) = (0.0, 0.0);
    (0..length as usize)
        .map(|at| {
            let white = dice.normal();
            low += 0.55 * (white - low);
            band += 0.3 * (low - band);
            amplitude * 1.8 * (low - band) * (std::f32::consts::PI * at as f32 / length).sin().powi(2)
        })
        .collect()
}
