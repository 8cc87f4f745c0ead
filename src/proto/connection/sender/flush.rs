//! The sending half over a stream that buffers bytes itself until it is flushed, such as TLS.
use super::Sender;

impl Sender {
    /// Reports that the stream has no vectored writes. Payloads that would be written in place are
    /// copied instead, so that a header is never sent without its payload.
    pub(crate) fn set_flat(&mut self) {
        self.min_vectored = usize::MAX;
    }

    /// Reports that times from now on have a different epoch.
    pub(in crate::proto::connection) fn restart_clock(&mut self) {
        self.out.stall.restart();
        self.urgent.restart_clock();
    }

    /// Reports the number of bytes that the stream accepted and refuses to flush; 0 if it has
    /// flushed all.
    #[inline]
    pub(crate) fn unflushed(&mut self, bytes: usize) {
        self.ledger.set_unflushed(bytes, &self.out, self.urgent.first_len());
        self.out.stall.set(bytes > 0);
    }

    /// How many bytes the stream accepted and has not flushed.
    pub(crate) fn held_back(&self) -> usize {
        self.ledger.held_back()
    }

    /// Reports that nothing more is written.
    pub(crate) fn set_ended(&mut self) {
        self.ledger.set_ended();
    }
}
