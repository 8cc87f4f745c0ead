//! The sending half over a stream that flushes.
use super::Sender;

impl Sender {
    /// Says that the stream has no vectored writes: what would be written from where it lies is
    /// copied instead, so that a header never travels alone.
    pub(crate) fn set_flat(&mut self) {
        self.min_vectored = usize::MAX;
    }

    /// Says that the times told from now on have another epoch.
    pub(in crate::proto::connection) fn restart_clock(&mut self) {
        self.out.stall.restart();
        self.urgent.restart_clock();
    }

    /// Says how many of the bytes that it took the stream refuses to flush; 0 if none.
    #[inline]
    pub(crate) fn unflushed(&mut self, bytes: usize) {
        self.ledger.set_unflushed(bytes, &self.out, self.urgent.first_len());
        self.out.stall.set(bytes > 0);
    }

    /// How many those are.
    pub(crate) fn held_back(&self) -> usize {
        self.ledger.held_back()
    }

    /// Says that nothing more is written.
    pub(crate) fn over(&mut self) {
        self.ledger.over();
    }
}
