//! The state of the writes to the stream below TLS.
use std::io;

/// The state that a TLS stream keeps about the stream below, which takes the ciphertext.
#[derive(Debug, Default)]
pub struct Below {
    /// The stream below took ciphertext, and was not flushed since then.
    pub dirty: bool,
    /// The stream below took ciphertext of the current write.
    taken: bool,
    /// The error of a write that returned success. The next call returns the error.
    failed: Option<io::Error>,
}

impl Below {
    /// Says that a new write has sealed its plaintext, and that none of its ciphertext is written
    /// yet.
    #[inline]
    pub fn begin(&mut self) {
        self.taken = false;
    }

    /// Says that the stream below took ciphertext.
    #[inline]
    pub fn took(&mut self) {
        (self.dirty, self.taken) = (true, true);
    }

    /// Checks that the stream below did not fail in an earlier write that returned success.
    ///
    /// # Errors
    ///
    /// The error of that write, once.
    #[inline]
    pub fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Says that the stream below failed in a write. If the stream took any of the write's
    /// ciphertext before, the write counts as successful.
    ///
    /// # Errors
    ///
    /// The same error, if the stream took no ciphertext of the write. Otherwise the next
    /// [`check`](Self::check) returns the error.
    #[cold]
    pub fn fail(&mut self, error: io::Error) -> io::Result<()> {
        if !self.taken {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }
}
