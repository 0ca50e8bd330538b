//! Days and budget windows of UTC.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Date, Month};

const SECONDS_PER_HOUR: u64 = 3_600;
const SECONDS_PER_DAY: u64 = 24 * SECONDS_PER_HOUR;

/// The Julian day of 1970-01-01.
const JULIAN_EPOCH: i32 = 2_440_588;

/// A text that is no day.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a day is written as 2026-11-21")]
pub struct MalformedDay;

/// A day of UTC. Days begin at midnight UTC wherever the caller is, so that every node draws the same line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcDay(Date);

impl UtcDay {
    /// The day of a time since the Unix epoch. Times beyond the year 9999 are in its last day.
    #[must_use]
    pub fn of(now: Duration) -> Self {
        let days = i32::try_from(now.as_secs() / SECONDS_PER_DAY).unwrap_or(i32::MAX);
        let julian = JULIAN_EPOCH.saturating_add(days);
        Self(Date::from_julian_day(julian).unwrap_or(Date::MAX))
    }

    /// When it begins, since the Unix epoch.
    #[must_use]
    pub fn begins_at(self) -> Duration {
        let days = self.0.to_julian_day().saturating_sub(JULIAN_EPOCH);
        Duration::from_secs(u64::try_from(days).unwrap_or(0) * SECONDS_PER_DAY)
    }

    /// Reads `2026-11-21`.
    ///
    /// # Errors
    /// [`MalformedDay`] for anything else.
    pub fn parse(text: &str) -> Result<Self, MalformedDay> {
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedDay);
        };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return Err(MalformedDay);
        }
        let month: u8 = month.parse().map_err(|_| MalformedDay)?;
        let month = Month::try_from(month).map_err(|_| MalformedDay)?;
        let year = year.parse().map_err(|_| MalformedDay)?;
        let day = day.parse().map_err(|_| MalformedDay)?;
        Date::from_calendar_date(year, month, day).map(Self).map_err(|_| MalformedDay)
    }

    fn first_of_month(self) -> Self {
        Self(self.0.replace_day(1).unwrap_or(self.0))
    }

    fn month_index(self) -> i64 {
        i64::from(self.0.year()) * 12 + i64::from(u8::from(self.0.month()))
    }
}

impl TryFrom<String> for UtcDay {
    type Error = MalformedDay;

    fn try_from(text: String) -> Result<Self, MalformedDay> {
        Self::parse(&text)
    }
}

impl From<UtcDay> for String {
    fn from(day: UtcDay) -> Self {
        day.to_string()
    }
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

impl fmt::Debug for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How long a budget lasts before it begins anew. All borders are those of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// From each full hour.
    Hour,
    /// From midnight.
    Day,
    /// From the first of the month, midnight.
    Month,
    /// Never anew.
    Total,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::Total];

    /// The word in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Numbers the windows, so that two times are in the same one if and only if their numbers are equal.
    #[must_use]
    pub fn index(self, now: Duration) -> i64 {
        let whole = |seconds: u64| i64::try_from(now.as_secs() / seconds).unwrap_or(i64::MAX);
        match self {
            Self::Hour => whole(SECONDS_PER_HOUR),
            Self::Day => whole(SECONDS_PER_DAY),
            Self::Month => UtcDay::of(now).month_index(),
            Self::Total => 0,
        }
    }

    /// When the window this time is in began, since the Unix epoch.
    #[must_use]
    pub fn begins_at(self, now: Duration) -> Duration {
        let whole = |seconds: u64| Duration::from_secs(now.as_secs() / seconds * seconds);
        match self {
            Self::Hour => whole(SECONDS_PER_HOUR),
            Self::Day => whole(SECONDS_PER_DAY),
            Self::Month => UtcDay::of(now).first_of_month().begins_at(),
            Self::Total => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(days: u64, seconds: u64) -> Duration {
        Duration::from_secs(days * SECONDS_PER_DAY + seconds)
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(UtcDay::of(at(20_778, 0)).to_string(), "2026-11-21");
        assert_eq!(UtcDay::of(at(20_778, SECONDS_PER_DAY - 1)).to_string(), "2026-11-21");
        assert_eq!(UtcDay::of(at(20_779, 0)).to_string(), "2026-11-22");
        assert_eq!(UtcDay::of(Duration::ZERO).to_string(), "1970-01-01");
        assert_eq!(UtcDay::of(Duration::MAX).to_string(), "9999-12-31");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let day = UtcDay::of(at(20_778, 0));
        assert_eq!(UtcDay::parse(&day.to_string()), Ok(day));
        for text in ["", "2026-11", "2026-02-30", "26-1-1", "2026-11-21-1", "2026/11/21"] {
            assert_eq!(UtcDay::parse(text), Err(MalformedDay), "{text}");
        }
    }

    #[test]
    fn a_window_changes_exactly_at_its_border() {
        let last_of_november = at(20_787, SECONDS_PER_DAY - 1);
        let first_of_december = at(20_788, 0);
        for window in [Window::Hour, Window::Day, Window::Month] {
            assert_ne!(window.index(last_of_november), window.index(first_of_december), "{window:?}");
        }
        assert_eq!(Window::Total.index(last_of_november), Window::Total.index(first_of_december));
        assert_eq!(Window::Month.index(at(20_778, 0)), Window::Month.index(last_of_november));
        assert_eq!(Window::Day.index(at(20_787, 0)), Window::Day.index(last_of_november));
        for window in [Window::Hour, Window::Day, Window::Month, Window::Total] {
            assert!(window.begins_at(first_of_december) <= first_of_december);
            let begin = window.begins_at(last_of_november);
            assert_eq!(window.index(begin), window.index(last_of_november), "{window:?}");
            let before = begin.checked_sub(Duration::from_nanos(1));
            assert!(before.is_none_or(|before| window.index(before) < window.index(begin)), "{window:?}");
        }
    }
}
