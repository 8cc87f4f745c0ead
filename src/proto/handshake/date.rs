//! Dates in headers (RFC 9110 §5.6.7), in the form IMF-fixdate.
use alloc::{format, string::String};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 9110 §6.6.1.
pub(super) const NAME: &str = "Date";

/// From Thursday on, the weekday of 1 January 1970.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// The last second of the year 9999, in seconds since 1970.
const LAST: u64 = 253_402_300_799;

/// Writes a date given in seconds since 1970. `None` after the year 9999, because a date has four
/// digits for the year.
pub(super) fn text(seconds: u64) -> Option<String> {
    if seconds > LAST {
        return None;
    }
    let day = seconds / 86_400;
    let time = seconds % 86_400;
    // 400 years have 146,097 days, so this estimate is wrong by at most one; the right year is the
    // latest that begins on `day` or earlier. No `?` below ever returns `None`.
    let about = 1970 + day * 400 / 146_097;
    let year = [about + 1, about, about - 1].into_iter().find(|&year| days(year, 0) <= day)?;
    let month = (0..12).rev().find(|&month| days(year, month) <= day)?;
    let weekday = WEEKDAYS.get((day % 7) as usize)?;
    let name = MONTHS.get(month as usize)?;
    let day = day - days(year, month) + 1;
    let hour = time / 3600;
    let minute = time / 60 % 60;
    let second = time % 60;
    Some(format!("{weekday}, {day:02} {name} {year} {hour:02}:{minute:02}:{second:02} GMT"))
}

/// The days from 1 January 1970 to the first of a month; `month` is 0 for January.
fn days(year: u64, month: u64) -> u64 {
    // Years begin with March here, so that a leap day is the last day of a year, and the lengths of
    // the months repeat every five months, which have 153 days. 719,468 days lie between 1 March of
    // year 0 and 1 January 1970.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::{LAST, text};
    use alloc::format;

    /// Compares `text` with a calendar that is counted day by day.
    #[test]
    #[cfg_attr(miri, ignore = "half a million dates")]
    fn every_day_until_9999_has_its_date() {
        const NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let mut day = 0;
        let mut weekday = 4;
        for year in 1970..=9999 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, len) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().enumerate()
            {
                let len = len + u64::from(month == 1 && leap);
                for d in 1..=len {
                    // To save time, only the first day and the last two days of each month are
                    // checked after 2109. Every day of 2100, which is no leap year, is checked.
                    if year < 2110 || d < 2 || d > len - 2 {
                        let name = &MONTHS[3 * month..3 * month + 3];
                        let date = format!("{}, {d:02} {name} {year} 00:00:00 GMT", NAMES[weekday]);
                        assert_eq!(text(day * 86_400), Some(date));
                    }
                    day += 1;
                    weekday = (weekday + 1) % 7;
                }
            }
        }
        assert_eq!(day * 86_400 - 1, LAST);
        assert_eq!(text(LAST).as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!((text(LAST + 1), text(u64::MAX)), (None, None));
    }
}
