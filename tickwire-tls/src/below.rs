//! What the stream below has done with the ciphertext that it was given.
use std::io;

/// What a stream of TLS has to know of the stream below it.
#[derive(Debug, Default)]
pub struct Below {
    /// It took some that it has not been asked to flush.
    pub dirty: bool,
    /// It took some in this write.
    left: bool,
    /// How it failed in a write that is over: for the next call.
    failed: Option<io::Error>,
}

impl Below {
    /// Plaintext has been sealed for a write, and is to be sent.
    #[inline]
    pub fn begin(&mut self) {
        self.left = false;
    }

    /// It took some.
    #[inline]
    pub fn took(&mut self) {
        (self.dirty, self.left) = (true, true);
    }

    /// Whether it failed before.
    ///
    /// # Errors
    ///
    /// How, once.
    #[inline]
    pub fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// It failed in a write, which has written what was sealed if any of it has left.
    ///
    /// # Errors
    ///
    /// The same, if none has; else [`check`](Self::check) returns it.
    #[cold]
    pub fn fail(&mut self, error: io::Error) -> io::Result<()> {
        if !self.left {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }
}
