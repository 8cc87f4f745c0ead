//! What proofs by Kani about other modules need of a buffer. See `checks/kani`.
use super::*;

impl OutBuffer {
    /// Sets the counts of a buffer without bytes: `unwritten` of the bytes fed are to be written.
    pub(in crate::proto::connection) fn count(&mut self, fed: u64, unwritten: u64) {
        (self.origin, self.end) = (fed.wrapping_sub(unwritten), unwritten as usize);
    }
}
