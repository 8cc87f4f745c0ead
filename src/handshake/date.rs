//! Dates in headers (RFC 9110 §5.6.7): the form that is sent, IMF-fixdate. The two obsolete forms,
//! which no current server sends, are not dates here.
use super::head;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for anything else,
/// and for what lies before. Says nothing about whether it was a Sunday.
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    let Ok(
        &[_, _, _, b',', b' ', d0, d1, b' ', m0, m1, m2, b' ', y0, y1, y2, y3, b' ', ref time @ ..],
    ) = <&[u8; 29]>::try_from(value)
    else {
        return None;
    };
    let &[h0, h1, b':', n0, n1, b':', s0, s1, b' ', b'G', b'M', b'T'] = time else { return None };
    let month = MONTHS.iter().position(|name| *name == [m0, m1, m2])? as u64;
    let year = digits(&[y0, y1, y2, y3])?;
    let (day, hour) = (digits(&[d0, d1])?, digits(&[h0, h1])?);
    let (minute, second) = (digits(&[n0, n1])?, digits(&[s0, s1])?);
    // 60: a leap second.
    if !(1970..=9999).contains(&year)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    Some(((days(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// Days from 1970 to the first of a month, which is 0 for January.
fn days(year: u64, month: u64) -> u64 {
    // Years begin with March here, so that the leap day is the last of its year.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 - 719_468
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().all(u8::is_ascii_digit).then(|| head::text(bytes).parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Mon, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
            ("Sun, +6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:60:00 GMT", None),
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
            ("Sat, 31 Dec 2016 23:59:61 GMT", None),
            ("Sat, 31 Dec 2016 23:59:99 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(seconds(date.as_bytes()), expected, "{date}");
        }
    }
}
