//! What one side costs more than the other, with how sure that is.

/// 97.5 % quantiles of Student's t distribution for 1 to 30 degrees of freedom (any table, for example NIST/SEMATECH,
/// e-Handbook of Statistical Methods, 1.3.6.7.2).
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A mean and the 95 % confidence interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half the width of the interval: the truth lies between `mean - error` and `mean + error` in 95 of 100 runs.
    pub error: f64,
}

impl Mean {
    /// Of values that do not depend on each other; nothing of fewer than two.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let freedom = values.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        // Beyond the table the last entry is a little too wide, never too narrow.
        let student = STUDENT[freedom.min(STUDENT.len()) - 1];
        let error = student * (squares / freedom as f64 / count).sqrt();
        Some(Self { mean, error })
    }

    /// The greatest value that is still likely.
    #[must_use]
    pub fn most(self) -> f64 {
        self.mean + self.error
    }
}

/// What the first of each pair is more than the second, as a share of the second; nothing of fewer than two pairs.
///
/// Compared within a pair, so that what hits both sides of a round alike drops out.
#[must_use]
pub fn more(pairs: &[(f64, f64)]) -> Option<Mean> {
    let shares: Vec<f64> = pairs.iter().map(|(with, without)| with / without - 1.0).collect();
    Mean::of(&shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() < 1e-9
    }

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // Standard deviation 1, three values: 4.303 / √3.
        let mean = Mean::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!(is_near(mean.mean, 2.0) && is_near(mean.error, 4.303 / 3_f64.sqrt()), "{mean:?}");
        assert!(is_near(mean.most(), 2.0 + mean.error));
        assert_eq!((Mean::of(&[1.0]), Mean::of(&[])), (None, None), "one value says nothing of the spread");
    }

    #[test]
    fn more_values_than_the_table_has_make_no_interval_narrower_than_it_is() {
        let values: Vec<f64> = (0..100).map(|number| f64::from(number % 2)).collect();
        let deviation = (100.0 * 0.25 / 99.0_f64).sqrt();
        let normal = 1.96 * deviation / 10.0;
        let error = Mean::of(&values).unwrap().error;
        assert!(error > normal && error < normal * 1.05, "{error} {normal}");
    }

    #[test]
    fn what_hits_both_sides_of_a_round_alike_drops_out() {
        let share = more(&[(101.0, 100.0), (303.0, 300.0), (10.1, 10.0)]).unwrap();
        assert!(is_near(share.mean, 0.01) && share.error < 1e-9, "{share:?}");
    }
}
