//! The peer's text, as errors, logs and `Debug` show it.
use core::fmt;

/// Bytes from the wire for people to look at: escaped, in one line, and at most 64 of them.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let (cut, more) = self.0.split_at_checked(SHOWN).unwrap_or((self.0, &[]));
        let more = if more.is_empty() { "" } else { ".." };
        write!(f, "{}{more}", cut.escape_ascii())
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
