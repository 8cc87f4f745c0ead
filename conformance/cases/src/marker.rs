//! The text behind what a session sends, which no other connection sends.

use crate::list::find;

/// What every marker begins with, and what the probe sends.
pub(crate) const OURS: &[u8] = b"wsconform ";

/// The whole marker that these bytes begin with, or the beginning of what the probe sends.
pub(crate) fn marker_at(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(OURS)?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let number =
        rest.get(end + 1..end + 9).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    match (&rest[..end], number) {
        (b"asks:", _) => Some(&bytes[..OURS.len() + end]),
        (id, Some(_)) if find(str::from_utf8(id).ok()?).is_some() => {
            Some(&bytes[..OURS.len() + end + 9])
        }
        _ => None,
    }
}
