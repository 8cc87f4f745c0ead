//! A helper for the proofs by Kani of other modules. See `checks/kani`.
use super::*;

impl OutBuffer {
    /// Sets the counts as if `fed` bytes had been fed and `unwritten` of them still waited, but
    /// stores no bytes.
    pub(in crate::proto::connection) fn count(&mut self, fed: u64, unwritten: u64) {
        (self.origin, self.end) = (fed.wrapping_sub(unwritten), unwritten as usize);
    }
}
