//! What the stream below has done with the ciphertext that it was given.
use std::io;

#[derive(Default)]
pub(super) struct Below {
    /// It took some that it has not been asked to flush.
    pub(super) dirty: bool,
    /// It took some in this write.
    left: bool,
    /// How it failed in a write that is over: for the next call.
    failed: Option<io::Error>,
}

impl Below {
    /// Plaintext has been sealed for a write, and is to be sent.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.left = false;
    }

    /// It took some.
    #[inline]
    pub(super) fn took(&mut self) {
        (self.dirty, self.left) = (true, true);
    }

    /// Whether it failed before.
    #[inline]
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// It failed in a write, which has written what was sealed if any of it has left.
    #[cold]
    pub(super) fn fail(&mut self, error: io::Error) -> io::Result<()> {
        if !self.left {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }
}
