//! What the generator counted.

use std::time::Duration;

/// What one measurement found.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Packets sent while it was counted.
    pub sent: u64,
    /// Packets that came while it was counted.
    pub delivered: u64,
    /// How long it was counted.
    pub length: Duration,
    /// Processor time of the contender meanwhile.
    pub processor: Duration,
    /// Times from sending to receiving in nanoseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Sample {
    /// The latency in microseconds below which a share of the packets lie.
    #[must_use]
    pub fn latency_micros(&self, share: f64) -> Option<f64> {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(rank.max(1) - 1).map(|nanos| f64::from(*nanos) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_one_of_the_measured_ones() {
        let latencies = (1..=1_000).map(|micros| micros * 1_000).collect();
        let (length, processor) = (Duration::from_secs(1), Duration::from_millis(500));
        let sample = Sample { sent: 2_000, delivered: 1_000, length, processor, latencies };
        assert_eq!(sample.latency_micros(0.5), Some(500.0));
        assert_eq!(sample.latency_micros(0.999), Some(999.0));
        let none = Sample { delivered: 0, latencies: Vec::new(), ..sample };
        assert_eq!(none.latency_micros(0.5), None);
    }
}
