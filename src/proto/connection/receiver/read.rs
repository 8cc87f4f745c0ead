//! What is known of the last read besides its bytes.
use super::Receiver;
use crate::proto::time::Time;

/// The last read.
#[derive(Default)]
pub(super) struct LastRead {
    /// When it was made, if the caller said so.
    pub(super) at: Option<Time>,
    /// How many messages have been handed out since.
    pub(super) handed_out: u32,
}

impl Receiver {
    /// [`commit`](Self::commit), and when the bytes came, for [`Info::read_at`](crate::Info::read_at).
    ///
    /// # Panics
    ///
    /// If `n` is more than there was room for.
    #[inline]
    pub fn commit_at(&mut self, n: usize, time: Time) {
        self.read.at = Some(time);
        self.commit(n);
    }

    /// When the last read was made, if the caller said so.
    pub(in crate::proto::connection) fn read_at(&self) -> Option<Time> {
        self.read.at
    }
}
