use core::fmt::{self, Write};

/// At most 64 bytes from the wire, escaped and in one line, so that a peer can neither forge lines
/// of a log nor fill the log.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl Shown<'_> {
    /// Only the kind of quote in which the caller encloses the bytes is escaped.
    fn show(&self, f: &mut fmt::Formatter<'_>, quote: Option<u8>) -> fmt::Result {
        const SHOWN: usize = 64;
        let (cut, more) = self.0.split_at_checked(SHOWN).unwrap_or((self.0, &[]));
        for &byte in cut {
            match byte {
                b'\'' | b'"' if quote != Some(byte) => f.write_char(byte.into())?,
                _ => write!(f, "{}", byte.escape_ascii())?,
            }
        }
        f.write_str(if more.is_empty() { "" } else { ".." })
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, None)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.show(f, Some(b'"'))?;
        f.write_char('"')
    }
}
