//! What takes an operating system.
use super::Backoff;
use crate::{
    drive::Error,
    proto::entropy::{Entropy, system::SystemEntropy},
};
use core::time::Duration;
use std::io;

impl Backoff {
    /// With a seed from the operating system.
    ///
    /// # Errors
    ///
    /// As [`SystemEntropy::new`](crate::SystemEntropy::new).
    pub fn new() -> io::Result<Self> {
        let mut seed = [0; 8];
        SystemEntropy::new()?.fill(&mut seed);
        Ok(Self::seeded(u64::from_ne_bytes(seed)))
    }

    /// The delay after an attempt, or a connection, that ended with an error, or `None` if another
    /// attempt would not help, or was one too many; see [`Error::is_retryable`].
    ///
    /// The Retry-After of the server's refusal is obeyed, as by
    /// [`after_refusal`](Self::after_refusal); that of a proxy, beside its answer to CONNECT, is
    /// not: [`ConnectRefused`](crate::handshake::HandshakeError::ConnectRefused) has the status
    /// alone.
    pub fn after_error(&mut self, error: &Error) -> Option<Duration> {
        match error {
            Error::Refused(refusal) => self.after_refusal(refusal.status, refusal.retry_after()),
            error if error.is_retryable() => self.next(),
            _ => None,
        }
    }
}
