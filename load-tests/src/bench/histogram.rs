//! The gateway's own histograms, read from its metrics page.

use serde_json::{Value, json};

/// A cumulative Prometheus histogram, or the difference of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds and how many observations lay at or below each, in order; the last bound is
    /// infinite.
    buckets: Vec<(f64, u64)>,
    sum: f64,
}

impl Histogram {
    /// Finds a histogram without labels in the text form of Prometheus; an unknown one is empty.
    #[must_use]
    pub fn read(page: &str, name: &str) -> Self {
        let bucket = format!("{name}_bucket{{le=\"");
        let total = format!("{name}_sum ");
        let mut histogram = Self::default();
        for line in page.lines() {
            if let Some((bound, count)) = line.strip_prefix(&bucket).and_then(|rest| rest.split_once("\"} "))
            {
                let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
                if let (Ok(bound), Ok(count)) = (bound, count.parse()) {
                    histogram.buckets.push((bound, count));
                }
            } else if let Some(sum) = line.strip_prefix(&total).and_then(|sum| sum.parse().ok()) {
                histogram.sum = sum;
            }
        }
        histogram
    }

    /// What was observed since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            earlier.buckets.iter().find(|(known, _)| *known == bound).map_or(0, |(_, count)| *count)
        };
        let buckets = self
            .buckets
            .iter()
            .map(|(bound, count)| (*bound, count.saturating_sub(before(*bound))))
            .collect();
        Self { buckets, sum: self.sum - earlier.sum }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if self.buckets.is_empty() {
            return other.clone();
        }
        let more = |bound: f64| {
            other.buckets.iter().find(|(known, _)| *known == bound).map_or(0, |(_, count)| *count)
        };
        let buckets = self.buckets.iter().map(|(bound, count)| (*bound, count + more(*bound))).collect();
        Self { buckets, sum: self.sum + other.sum }
    }

    /// How many observations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// The value in seconds below which a share of the observations lie, interpolated within its bucket;
    /// nothing without observations. In the last bucket it is that bucket's lower bound, and the truth is
    /// greater.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let rank = share * count as f64;
        let (mut lower, mut below) = (0.0, 0);
        for (bound, cumulative) in self.buckets.iter().filter(|_| count > 0) {
            if *cumulative as f64 >= rank && *cumulative > below {
                if bound.is_infinite() {
                    return Some(lower);
                }
                let part = (rank - below as f64) / (cumulative - below) as f64;
                return Some(lower + (bound - lower) * part.max(0.0));
            }
            (lower, below) = (*bound, *cumulative);
        }
        None
    }

    /// For the record: every bucket with its own count.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut below = 0;
        let buckets: Vec<Value> = self
            .buckets
            .iter()
            .map(|(bound, cumulative)| {
                let own = cumulative - std::mem::replace(&mut below, *cumulative);
                json!([if bound.is_finite() { json!(bound) } else { json!("+Inf") }, own])
            })
            .collect();
        json!({ "count": self.count(), "sum_seconds": self.sum, "buckets": buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP x_seconds A time.
x_seconds_bucket{le=\"0.001\"} 10
x_seconds_bucket{le=\"0.002\"} 30
x_seconds_bucket{le=\"+Inf\"} 40
x_seconds_sum 0.5
x_seconds_count 40
x_seconds_other_bucket{le=\"0.001\"} 7
";

    #[test]
    fn quantiles_are_interpolated_and_open_ended_ones_give_their_lower_bound() {
        let histogram = Histogram::read(PAGE, "x_seconds");
        assert_eq!(histogram.count(), 40);
        assert!((histogram.quantile(0.5).unwrap() - 0.0015).abs() < 1e-9);
        assert!((histogram.quantile(0.125).unwrap() - 0.0005).abs() < 1e-9);
        assert_eq!(histogram.quantile(0.99), Some(0.002));
        assert_eq!(Histogram::read(PAGE, "y_seconds").quantile(0.5), None);
    }

    #[test]
    fn a_difference_counts_only_what_came_between_and_a_sum_both() {
        let later = PAGE.replace(" 30", " 35").replace(" 40", " 46").replace("sum 0.5", "sum 0.75");
        let (earlier, later) = (Histogram::read(PAGE, "x_seconds"), Histogram::read(&later, "x_seconds"));
        let between = later.since(&earlier);
        assert_eq!(between.buckets, [(0.001, 0), (0.002, 5), (f64::INFINITY, 6)]);
        assert_eq!(between.and(&earlier), later);
        assert_eq!(Histogram::default().and(&later), later);
    }
}
