//! Dates in headers (RFC 9110 §5.6.7), of which only differences are used.
use core::str;

/// Reads a date, in seconds since 1970-01-01; a date before counts as that day. There are three
/// forms:
///
/// ```text
/// IMF-fixdate  Sun, 06 Nov 1994 08:49:37 GMT
/// RFC 850      Sunday, 06-Nov-94 08:49:37 GMT
/// asctime      Sun Nov  6 08:49:37 1994
/// ```
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    let mut parts = value
        .split(|byte| matches!(byte, b' ' | b'-' | b','))
        .filter(|part| !part.is_empty())
        .skip(1); // the day of the week adds nothing
    let first = parts.next()?;
    let second = parts.next()?;
    let third = parts.next()?;
    let fourth = parts.next()?;
    let zone = parts.next();
    if parts.next().is_some() {
        return None;
    }
    let is_asctime = first.first().is_some_and(u8::is_ascii_alphabetic);
    let [day, month, year, time] = match is_asctime {
        true => [second, first, fourth, third],
        false => [first, second, third, fourth],
    };
    let has_zone = zone == Some(b"GMT");
    if has_zone == is_asctime || is_asctime && zone.is_some() {
        return None;
    }
    let day = number(day, 1..=2)?;
    let month = month_of(month)?;
    let year = match year.len() {
        // A server of the year 2070 would have to send the other form.
        2 => number(year, 2..=2).map(|year| if year < 70 { 2000 + year } else { 1900 + year })?,
        _ => number(year, 4..=4)?,
    };
    let is_day = (1..=days_in(month, year)).contains(&day);
    let days = days_before(year, month) + day - 1;
    is_day.then_some(days * 86_400 + of_day(time)?)
}

/// 60 is a leap second.
fn of_day(time: &[u8]) -> Option<u64> {
    let mut parts = time.split(|&byte| byte == b':');
    let hour = number(parts.next()?, 2..=2)?;
    let minute = number(parts.next()?, 2..=2)?;
    let second = number(parts.next()?, 2..=2)?;
    let is_time = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8], length: core::ops::RangeInclusive<usize>) -> Option<u64> {
    let is_number = length.contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok()?.parse().ok().filter(|_| is_number)
}

/// The number of the month, from 0.
fn month_of(name: &[u8]) -> Option<u64> {
    let names: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let at = names.chunks(3).position(|month| month == name)?;
    u64::try_from(at).ok()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(month: u64, year: u64) -> u64 {
    match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn days_before(year: u64, month: u64) -> u64 {
    let year_days = (1970..year).map(|year| 365 + u64::from(is_leap(year)));
    year_days.sum::<u64>() + (0..month).map(|month| days_in(month, year)).sum::<u64>()
}
