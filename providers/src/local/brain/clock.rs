//! The time of day as somebody would say it.

use std::time::Duration;

/// Date and time at the caller's or the server's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Minutes since midnight, 0 to 1439.
    pub minute_of_day: u16,
    /// 0 is Sunday.
    pub weekday: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// For example 2026.
    pub year: i64,
    /// Whether this is UTC, which the answer then says.
    pub is_utc: bool,
}

impl LocalTime {
    /// The time at an offset from UTC.
    #[must_use]
    pub fn at(since_unix_epoch: Duration, utc_offset_minutes: i16) -> Self {
        let minutes =
            i64::try_from(since_unix_epoch.as_secs() / 60).unwrap_or(0) + i64::from(utc_offset_minutes);
        let days = minutes.div_euclid(1_440);
        let (year, month, day) = civil_from_days(days);
        Self {
            minute_of_day: minutes.rem_euclid(1_440) as u16,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7) as u8,
            day,
            month,
            year,
            is_utc: utc_offset_minutes == 0,
        }
    }

    /// "It is four fifteen in the afternoon."
    pub(super) fn spoken_time(&self) -> String {
        let (hour, minute) = (self.minute_of_day / 60, self.minute_of_day % 60);
        let part = match hour {
            0..=4 => "at night",
            5..=11 => "in the morning",
            12..=17 => "in the afternoon",
            _ => "in the evening",
        };
        let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
        let place = if self.is_utc { ", universal time" } else { "" };
        match minute {
            0 => format!("It is {hour} o'clock {part}{place}."),
            1..=9 => format!("It is {hour} oh {minute} {part}{place}."),
            _ => format!("It is {hour} {minute} {part}{place}."),
        }
    }

    /// "Today is Saturday, November 21, 2026."
    pub(super) fn spoken_date(&self) -> String {
        const WEEKDAYS: [&str; 7] =
            ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let weekday = WEEKDAYS[usize::from(self.weekday) % 7];
        let month = MONTHS[usize::from(self.month.saturating_sub(1)) % 12];
        format!("Today is {weekday}, {month} {}, {}.", self.day, self.year)
    }
}

/// Year, month and day of a count of days since 1 January 1970, in the Gregorian calendar. Counts in eras of 400
/// years (146 097 days) that begin on 1 March, so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_dates() {
        let at = |seconds, offset| LocalTime::at(Duration::from_secs(seconds), offset);
        assert_eq!(at(0, 0).spoken_date(), "Today is Thursday, January 1, 1970.");
        assert_eq!(at(951_782_400, 0).spoken_date(), "Today is Tuesday, February 29, 2000.");
        assert_eq!(at(1_795_254_180, 0).spoken_date(), "Today is Saturday, November 21, 2026.");
        assert_eq!(at(1_795_254_180, 0).spoken_time(), "It is 9 43 in the morning, universal time.");
        assert_eq!(at(1_795_254_180, 60).spoken_time(), "It is 10 43 in the morning.");
        assert_eq!(at(43_500, 1).spoken_time(), "It is 12 oh 6 in the afternoon.");
        assert_eq!(at(0, -1).spoken_date(), "Today is Wednesday, December 31, 1969.");
    }
}
