//! The sending half over a stream that buffers bytes itself until it is flushed, such as TLS.
use super::Sender;

impl Sender {
    /// Reports that the stream has no vectored writes. Payloads that would be written in place are
    /// copied instead, so that a header is never sent without its payload.
    pub(crate) fn set_flat(&mut self) {
        self.min_vectored = usize::MAX;
    }

    /// Reports that times from now on have a different epoch. A running deadline on writing begins
    /// anew at the next time told.
    pub(in crate::proto::connection) fn restart_clock(&mut self) {
        self.out.stall.restart();
        self.urgent.restart_clock();
    }

    /// Reports the number of bytes that the stream accepted and holds itself, because it refuses to
    /// send them; 0 if it has sent all. For a stream that holds bytes, such as a TLS session: call
    /// this after each attempt to write. Over another stream, do not call it.
    ///
    /// These bytes count as [buffered](Self::buffered_amount) and not as
    /// [written](Self::is_written). They start the deadline on writing, as a
    /// [refused write](crate::Connection::write_blocked) does. A smaller number than before is
    /// progress, so the deadline begins anew. Once a write has failed, the call does nothing.
    #[inline]
    pub fn set_unflushed(&mut self, bytes: usize) {
        if bytes < self.held_back() {
            self.out.stall.set(false);
        }
        self.ledger.set_unflushed(bytes, &self.out, self.urgent.first_len());
        self.out.stall.set(self.held_back() > 0);
    }

    /// How many bytes the stream accepted and has not flushed; 0 once nothing more is written.
    pub(crate) fn held_back(&self) -> usize {
        self.ledger.held_back()
    }

    /// Reports that nothing more is written. From now on bytes inside the stream count as written.
    pub(crate) fn set_ended(&mut self) {
        self.ledger.set_ended();
    }
}
