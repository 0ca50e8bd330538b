//! Money, in whole billionths of a dollar.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nano-dollars in a dollar.
const PER_DOLLAR: i64 = 1_000_000_000;

/// Decimal places of a dollar that a nano-dollar can show.
const PLACES: usize = 9;

/// An amount in nano-dollars: 10⁻⁹ US dollars, never a fraction of one.
///
/// Every published price of a token is a whole number of nano-dollars ($0.005 per million tokens is 5 of them). 64 bits
/// hold nine billion dollars and fit the integer columns of every database; products of a price and a quantity are
/// taken in 128 bits. It is signed, since a correction takes away. There is no unchecked arithmetic: a sum that does not
/// fit is the caller's to decide about.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoDollars(i64);

/// A text that is no amount of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MalformedAmount;

impl fmt::Display for MalformedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an amount is dollars with up to nine decimal places, such as 0.40, and below nine billion",
        )
    }
}

impl std::error::Error for MalformedAmount {}

impl NanoDollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than can be spent.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount of nano-dollars.
    #[must_use]
    pub const fn new(nano: i64) -> Self {
        Self(nano)
    }

    /// Whole dollars; `None` beyond nine billion.
    #[must_use]
    pub const fn dollars(dollars: i64) -> Option<Self> {
        match dollars.checked_mul(PER_DOLLAR) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// Nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum, if it fits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// The difference, if it fits.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// The sum, or the nearest amount there is. For limits and comparisons, where an amount beyond all bounds means the
    /// same as the largest one; never for what is owed.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or the nearest amount there is. See [`NanoDollars::saturating_add`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What takes this amount away.
    #[must_use]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// Whether nothing, or less, is left.
    #[must_use]
    pub const fn is_spent(self) -> bool {
        self.0 <= 0
    }

    /// Reads dollars, such as `0.40`, `12` or `-0.000000005`, without a detour over binary fractions.
    ///
    /// # Errors
    /// [`MalformedAmount`] for other texts, for more than nine decimal places and for what does not fit.
    pub fn from_dollars(text: &str) -> Result<Self, MalformedAmount> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(places) || places.len() > PLACES {
            return Err(MalformedAmount);
        }
        let whole: i64 = whole.parse().map_err(|_| MalformedAmount)?;
        let places: i64 = format!("{places:0<PLACES$}").parse().map_err(|_| MalformedAmount)?;
        let nano = whole.checked_mul(PER_DOLLAR).and_then(|nano| nano.checked_add(places));
        nano.map(|nano| Self(sign * nano)).ok_or(MalformedAmount)
    }

    /// For charts and metrics only, where the last digit does not matter. No decision and no sum may use it.
    #[must_use]
    pub fn as_shown_dollars(self) -> f64 {
        self.0 as f64 / PER_DOLLAR as f64
    }
}

/// Dollars with all nine places: what is written is what [`NanoDollars::from_dollars`] reads.
impl fmt::Display for NanoDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nano = self.0.unsigned_abs();
        let per_dollar = PER_DOLLAR.unsigned_abs();
        write!(f, "{sign}{}.{:0PLACES$}", nano / per_dollar, nano % per_dollar)
    }
}

impl fmt::Debug for NanoDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_last_place() {
        for (text, nano) in
            [("0.40", 400_000_000), ("32", 32_000_000_000), ("-0.000000005", -5), ("0.1", 100_000_000)]
        {
            assert_eq!(NanoDollars::from_dollars(text), Ok(NanoDollars::new(nano)), "{text}");
        }
        for text in ["", ".", "1.", ".5", "1.0000000001", "1e3", "+1", "--1", "1 ", "9300000000", "$1"] {
            assert_eq!(NanoDollars::from_dollars(text), Err(MalformedAmount), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for nano in [0, 1, -1, 999_999_999, -1_000_000_001, i64::MAX, i64::MIN + 1] {
            let amount = NanoDollars::new(nano);
            assert_eq!(NanoDollars::from_dollars(&amount.to_string()), Ok(amount));
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_no_sum() {
        assert_eq!(NanoDollars::MAX.checked_add(NanoDollars::new(1)), None);
        assert_eq!(NanoDollars::MAX.saturating_add(NanoDollars::new(1)), NanoDollars::MAX);
        assert_eq!(NanoDollars::new(i64::MIN).checked_neg(), None);
        assert_eq!(NanoDollars::dollars(10_000_000_000), None);
    }
}
