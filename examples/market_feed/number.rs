//! Numbers of a command line.
use std::{ffi::OsString, fmt, ops::RangeInclusive, str::FromStr};

/// The value of `--name`, within bounds.
///
/// # Errors
///
/// What was expected.
pub fn number<T>(name: &str, value: OsString, within: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let text = value.to_string_lossy();
    text.parse().ok().filter(|n| within.contains(n)).ok_or_else(|| {
        let (from, to) = within.into_inner();
        format!("--{name} {text}: expected a number from {from} to {to}")
    })
}
